//! Certificates for targets with TLS: an authority, a server and a client.

use std::{fs, path::Path};

use anyhow::Context as _;
use narthex_runtime::files::write_atomic;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

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

    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "narthex-loadgen authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let (server, server_key) = issue(&authority, &["127.0.0.1", "::1", "localhost"])?;
    let (client, client_key) = issue(&authority, &["client"])?;
    for (name, pem) in names.iter().zip([authority.pem(), server, server_key, client, client_key]) {
        write_atomic(&directory.join(name), pem.as_bytes(), None)?;
    }
    Ok(())
}

fn issue(authority: &CertifiedIssuer<'_, KeyPair>, names: &[&str]) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, *name);
    }
    Ok((params.signed_by(&key, authority)?.pem(), key.serialize_pem()))
}
