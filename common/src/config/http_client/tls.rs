//! `tls_config` read and validated.

use super::{
    super::{
        fields::{Fault, Fields},
        paths::BaseDir,
    },
    Secret, TlsConfig, TlsVersion,
    read::ThreeWays,
};

/// Reads the `tls_config` among other fields.
pub(super) fn read(fields: &Fields<'_>, dir: BaseDir<'_>) -> Result<TlsConfig, Fault> {
    let Some(node) = fields.get_filled("tls_config") else { return Ok(TlsConfig::default()) };
    let fields = Fields::of(node, "config.plain")?;
    let ca = ThreeWays::read(&fields, ["ca", "ca_file", "ca_ref"])?;
    let cert = ThreeWays::read(&fields, ["cert", "cert_file", "cert_ref"])?;
    let key = ThreeWays::read(&fields, ["key", "key_file", "key_ref"])?;
    let server_name = fields.string("server_name", "")?;
    let insecure_skip_verify = fields.bool("insecure_skip_verify", false)?;
    let (min_version, max_version) = (version(&fields, "min_version")?, version(&fields, "max_version")?);
    fields.finish()?;

    ca.at_most_one("at most one of ca, ca_file & ca_ref must be configured")?;
    cert.at_most_one("at most one of cert, cert_file & cert_ref must be configured")?;
    key.at_most_one("at most one of key and key_file must be configured")?;
    match (cert.ways() > 0, key.ways() > 0) {
        (true, false) => {
            let message = "exactly one of key or key_file must be configured when a client certificate is configured";
            return Err(Fault::at(node, message));
        }
        (false, true) => {
            let message = "exactly one of cert or cert_file must be configured when a client key is configured";
            return Err(Fault::at(node, message));
        }
        (true, true) | (false, false) => {}
    }
    // Prometheus notices this when it builds the client, and then does not scrape the job at all.
    if let (Some(min), Some(max)) = (min_version, max_version)
        && max < min
    {
        let message =
            "tls_config.max_version must be greater than or equal to tls_config.min_version if both are specified";
        return Err(Fault::at(node, message));
    }
    Ok(TlsConfig {
        ca: ca.into_source(dir, |pem| pem)?,
        cert: cert.into_source(dir, |pem| pem)?,
        key: key.into_source(dir, Secret::new)?,
        server_name: (!server_name.is_empty()).then_some(server_name),
        insecure_skip_verify,
        min_version,
        max_version,
    })
}

fn version(fields: &Fields<'_>, name: &'static str) -> Result<Option<TlsVersion>, Fault> {
    if fields.get_filled(name).is_none() {
        return Ok(None);
    }
    match fields.string(name, "")?.as_str() {
        "TLS10" => Ok(Some(TlsVersion::Tls10)),
        "TLS11" => Ok(Some(TlsVersion::Tls11)),
        "TLS12" => Ok(Some(TlsVersion::Tls12)),
        "TLS13" => Ok(Some(TlsVersion::Tls13)),
        other => Err(Fault::new(fields.line_of(name), format!("unknown TLS version: {other}"))),
    }
}
