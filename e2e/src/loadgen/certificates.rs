//! Certificates for targets with TLS: an authority, a server and a client.

use std::{fs, path::Path};

use anyhow::Context as _;
use narthex_runtime::files::write_atomic;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, date_time_ymd,
};

/// Writes `ca.pem`, `server.pem`, `server.key` (for 127.0.0.1, ::1 and localhost), `client.pem` and `client.key` into a
/// directory, which is made. What is there already is left alone, so that it can be trusted over restarts.
///
/// # Errors
/// When they cannot be made or written.
pub fn write_unless_there(directory: &Path) -> anyhow::Result<()> {
    let names = ["ca.pem", "server.pem", "server.key", "client.pem", "client.key"];
    if names.iter().all(|name| directory.join(name).exists()) {
        return Ok(());
    }
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;

    let authority = Authority::new("narthex-loadgen authority")?;
    let (server, server_key) = authority.issue(&["127.0.0.1", "::1", "localhost"], Validity::Now)?;
    let (client, client_key) = authority.issue(&["client"], Validity::Now)?;
    for (name, pem) in names.iter().zip([authority.pem(), server, server_key, client, client_key]) {
        write_atomic(&directory.join(name), pem.as_bytes(), None)?;
    }
    Ok(())
}

/// When a certificate is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Now and for long.
    Now,
    /// In the year 2020 only.
    Over,
    /// From the year 3000 on.
    NotYet,
}

/// Who issues certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When its key or certificate cannot be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for host names and addresses, and its key.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn issue(&self, names: &[&str], validity: Validity) -> anyhow::Result<(String, String)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        match validity {
            Validity::Now => {}
            Validity::Over => {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = date_time_ymd(2021, 1, 1);
            }
            Validity::NotYet => params.not_before = date_time_ymd(3000, 1, 1),
        }
        Ok((params.signed_by(&key, &self.0)?.pem(), key.serialize_pem()))
    }
}
