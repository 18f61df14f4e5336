//! `tls_server_config` read and validated.

use super::{
    super::{
        fields::{Fault, Fields, string_in},
        http_client::{Secret, Source, TlsVersion},
        paths::BaseDir,
        yaml::Node,
    },
    CipherSuite, ClientAuth, Curve, TlsServerConfig,
};

/// The suites of TLS 1.2 by Go's names.
const CIPHER_SUITES: [(&str, CipherSuite); 6] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::EcdheEcdsaAes128GcmSha256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::EcdheEcdsaAes256GcmSha384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::EcdheEcdsaChacha20Poly1305Sha256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::EcdheRsaAes128GcmSha256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::EcdheRsaAes256GcmSha384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::EcdheRsaChacha20Poly1305Sha256),
];

/// Suites of TLS 1.3: Go takes their names, and offers all of them whatever is listed.
const TLS13_SUITES: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// Suites that Go's `tls.CipherSuites` has or had, and that are not spoken here.
const UNSAFE_SUITES: [&str; 8] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// Reads it; none when it says nothing.
pub(super) fn read(node: &Node, dir: BaseDir<'_>, http2: bool) -> Result<Option<TlsServerConfig>, Fault> {
    let fields = Fields::of(node, "web.TLSConfig")?;
    if node.as_map().is_none_or(<[_]>::is_empty) {
        return Ok(None);
    }
    let cert = inline_or_file(&fields, dir, ["cert", "cert_file"], |pem| pem)?;
    let key = inline_or_file(&fields, dir, ["key", "key_file"], Secret::new)?;
    let client_ca = inline_or_file(&fields, dir, ["client_ca", "client_ca_file"], |pem| pem)?;
    let client_auth = client_auth(&fields)?;
    let client_allowed_sans = client_allowed_sans(&fields, client_auth)?;
    let (min_version, max_version) = versions(&fields)?;
    let cipher_suites = cipher_suites(&fields)?;
    let prefer_server_cipher_suites = fields.bool("prefer_server_cipher_suites", true)?;
    let curves = fields.list("curve_preferences", "[]web.Curve")?.iter().map(curve).collect::<Result<_, _>>()?;
    fields.finish()?;

    let refuse = |field, message: &str| Err(Fault::new(fields_line(node, field), message));
    let Some(cert) = cert else { return refuse("cert_file", "missing one of cert or cert_file") };
    let Some(key) = key else { return refuse("key_file", "missing one of key or key_file") };
    if client_ca.is_some() && client_auth == ClientAuth::None {
        return refuse("client_ca_file", "client CA's have been configured without a Client Auth Policy");
    }
    if client_ca.is_none() && client_auth.is_verified() {
        // Go would then trust every authority that the machine trusts, that is, anybody who can get a certificate.
        let message = "verifying client certificates needs client_ca or client_ca_file, the authority that issues them";
        return refuse("client_auth_type", message);
    }
    let needed = [CipherSuite::EcdheRsaAes128GcmSha256, CipherSuite::EcdheEcdsaAes128GcmSha256];
    if let Some(suites) = &cipher_suites
        && http2
        && min_version < TlsVersion::Tls13
        && !needed.iter().any(|suite| suites.contains(suite))
    {
        let message = "http2: TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher (need at \
                       least one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)";
        return refuse("cipher_suites", message);
    }
    Ok(Some(TlsServerConfig {
        cert,
        key,
        client_auth,
        client_ca,
        client_allowed_sans,
        min_version,
        max_version,
        cipher_suites,
        prefer_server_cipher_suites,
        curves,
    }))
}

/// The line of a field, or of the whole when it is not written.
fn fields_line(node: &Node, field: &str) -> usize {
    node.get(field).map_or(node.line, |field| field.line)
}

fn inline_or_file<T>(
    fields: &Fields<'_>,
    dir: BaseDir<'_>,
    [name, file_name]: [&'static str; 2],
    inline: impl FnOnce(String) -> T,
) -> Result<Option<Source<T>>, Fault> {
    let (text, file) = (fields.string(name, "")?, fields.string(file_name, "")?);
    match (text.is_empty(), file.is_empty()) {
        (true, true) => Ok(None),
        (false, true) => Ok(Some(Source::Inline(inline(text)))),
        (true, false) => Ok(Some(Source::File(dir.join(&file)))),
        (false, false) => Err(Fault::new(
            fields.line_of(file_name),
            format!("at most one of {name} & {file_name} must be configured"),
        )),
    }
}

fn client_auth(fields: &Fields<'_>) -> Result<ClientAuth, Fault> {
    Ok(match fields.string("client_auth_type", "")?.as_str() {
        "" | "NoClientCert" => ClientAuth::None,
        "RequestClientCert" => ClientAuth::Request,
        // The second is an older name.
        "RequireAnyClientCert" | "RequireClientCert" => ClientAuth::RequireAny,
        "VerifyClientCertIfGiven" => ClientAuth::VerifyIfGiven,
        "RequireAndVerifyClientCert" => ClientAuth::RequireAndVerify,
        other => return Err(Fault::new(fields.line_of("client_auth_type"), format!("invalid ClientAuth: {other}"))),
    })
}

fn client_allowed_sans(fields: &Fields<'_>, client_auth: ClientAuth) -> Result<Vec<String>, Fault> {
    let refuse = |message: String| Err(Fault::new(fields.line_of("client_allowed_sans"), message));
    if fields.get_filled("client_allowed_sans").is_none() {
        return Ok(Vec::new());
    }
    let names = fields.strings("client_allowed_sans")?;
    if names.is_empty() {
        return refuse("client_allowed_sans allows nobody; leave it out to allow every name".to_owned());
    }
    if !client_auth.is_required() {
        let message = "client_allowed_sans requires client_auth_type to be one of RequireAnyClientCert or \
                       RequireAndVerifyClientCert";
        return refuse(message.to_owned());
    }
    match names.iter().find(|name| name.contains('@') && !name.contains("://")) {
        Some(email) => refuse(format!(
            "client_allowed_sans: {email:?}: names, addresses and URIs are looked at, e-mail \
                                       addresses are not"
        )),
        None => Ok(names),
    }
}

fn versions(fields: &Fields<'_>) -> Result<(TlsVersion, TlsVersion), Fault> {
    let min = version(fields, "min_version", TlsVersion::Tls12)?;
    let max = version(fields, "max_version", TlsVersion::Tls13)?;
    if max < min {
        let message = "tls: no supported versions satisfy MinVersion and MaxVersion";
        return Err(Fault::new(fields.line_of("max_version"), message));
    }
    Ok((min, max))
}

fn version(fields: &Fields<'_>, name: &'static str, default: TlsVersion) -> Result<TlsVersion, Fault> {
    let refuse = |message: String| Err(Fault::new(fields.line_of(name), message));
    match fields.string(name, "")?.as_str() {
        "" if fields.get_filled(name).is_none() => Ok(default),
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        old @ ("TLS10" | "TLS11") => {
            refuse(format!("{name}: {old} is not supported here, TLS12 is the lowest; RFC 8996 retired it in 2021"))
        }
        other => refuse(format!("unknown TLS version: {other}")),
    }
}

fn cipher_suites(fields: &Fields<'_>) -> Result<Option<Vec<CipherSuite>>, Fault> {
    let names = fields.list("cipher_suites", "[]web.Cipher")?;
    let mut suites = Vec::new();
    for node in names {
        let name = string_in(node, "cipher_suites")?;
        if let Some((_, suite)) = CIPHER_SUITES.iter().find(|(known, _)| *known == name) {
            suites.push(*suite);
        } else if UNSAFE_SUITES.contains(&name.as_str()) {
            let message = format!("cipher suite {name} is not supported here: only ECDHE with GCM or ChaCha20 is");
            return Err(Fault::at(node, message));
        } else if !TLS13_SUITES.contains(&name.as_str()) {
            return Err(Fault::at(node, format!("unknown cipher: {name}")));
        }
    }
    Ok((!names.is_empty()).then_some(suites))
}

fn curve(node: &Node) -> Result<Curve, Fault> {
    match string_in(node, "curve_preferences")?.as_str() {
        "X25519" => Ok(Curve::X25519),
        "CurveP256" => Ok(Curve::P256),
        "CurveP384" => Ok(Curve::P384),
        "CurveP521" => {
            Err(Fault::at(node, "curve CurveP521 is not supported here: X25519, CurveP256 and CurveP384 are"))
        }
        other => Err(Fault::at(node, format!("unknown curve: {other}"))),
    }
}
