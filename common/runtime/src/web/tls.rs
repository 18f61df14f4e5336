//! `tls_server_config` as rustls understands it.

use std::{fs, path::Path, sync::Arc};

use anyhow::{Context as _, anyhow, ensure};
use narthex_common::config::{
    http_client::{Secret, Source, TlsVersion},
    web::{CipherSuite, ClientAuth, Curve, TlsServerConfig},
};
use rustls::{
    ServerConfig, SupportedCipherSuite, SupportedProtocolVersion,
    crypto::{
        CryptoProvider, SupportedKxGroup,
        ring::{cipher_suite, kx_group},
    },
    version,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use super::client_certificates::ClientCertificates;

/// What the files that the settings name hold right now.
#[derive(PartialEq, Eq)]
pub(super) struct TlsMaterial {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl TlsMaterial {
    pub(super) fn read(settings: &TlsServerConfig) -> anyhow::Result<Self> {
        Ok(Self {
            cert: pem(&settings.cert, String::as_str, "cert_file")?,
            key: pem(&settings.key, Secret::expose, "key_file")?,
            client_ca: settings.client_ca.as_ref().map(|ca| pem(ca, String::as_str, "client_ca_file")).transpose()?,
        })
    }
}

fn pem<T>(source: &Source<T>, text: impl Fn(&T) -> &str, field: &str) -> anyhow::Result<Vec<u8>> {
    match source {
        Source::Inline(value) => Ok(text(value).as_bytes().to_vec()),
        Source::File(path) => {
            fs::read(path).with_context(|| format!("read {field} {} of tls_server_config", path.display()))
        }
    }
}

/// Where a value was written, for errors.
fn shown<T>(source: &Source<T>, inline: &str, file: &str) -> String {
    match source {
        Source::Inline(_) => format!("{inline} of tls_server_config"),
        Source::File(path) => format!("{file} {} of tls_server_config", Path::display(path)),
    }
}

/// The settings with what was read.
pub(super) fn server_config(
    settings: &TlsServerConfig,
    material: &TlsMaterial,
    http2: bool,
) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(provider(settings));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings))
        .context("choose the versions of TLS")?;
    let builder = if settings.client_auth == ClientAuth::None {
        builder.with_no_client_auth()
    } else {
        let in_ca =
            || settings.client_ca.as_ref().map_or_else(String::new, |ca| shown(ca, "client_ca", "client_ca_file"));
        let authorities = match &material.client_ca {
            Some(pem) => certificates(pem).with_context(in_ca)?,
            None => Vec::new(),
        };
        let clients =
            ClientCertificates::new(settings.client_auth, authorities, &settings.client_allowed_sans, provider);
        builder.with_client_cert_verifier(Arc::new(clients.with_context(in_ca)?))
    };
    let chain = certificates(&material.cert).with_context(|| shown(&settings.cert, "cert", "cert_file"))?;
    // What rustls says of a key could repeat some of it.
    let key = PrivateKeyDer::from_pem_slice(&material.key)
        .map_err(|_| anyhow!("there is no private key in PEM"))
        .with_context(|| shown(&settings.key, "key", "key_file"))?;
    let pair = || {
        let cert = shown(&settings.cert, "cert", "cert_file");
        format!("use {cert} with {}", shown(&settings.key, "key", "key_file"))
    };
    let in_our_words = |error| {
        if matches!(error, rustls::Error::InconsistentKeys(_)) {
            anyhow!("tls: private key does not match public key")
        } else {
            anyhow!(error)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(in_our_words).with_context(pair)?;
    config.ignore_client_order = settings.prefer_server_cipher_suites;
    config.alpn_protocols = if http2 { vec![b"h2".to_vec(), b"http/1.1".to_vec()] } else { vec![b"http/1.1".to_vec()] };
    Ok(config)
}

fn certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|_| anyhow!("it is malformed PEM"))?;
    ensure!(!certificates.is_empty(), "there is no certificate in PEM");
    Ok(certificates)
}

fn versions(settings: &TlsServerConfig) -> Vec<&'static SupportedProtocolVersion> {
    let spoken = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    let is_allowed = |version| settings.min_version <= version && version <= settings.max_version;
    spoken.into_iter().filter(|(version, _)| is_allowed(*version)).map(|(_, version)| version).collect()
}

/// The suites and groups that are to be spoken. Those of TLS 1.3 cannot be chosen, as in Go.
fn provider(settings: &TlsServerConfig) -> CryptoProvider {
    let mut provider = rustls::crypto::ring::default_provider();
    if let Some(chosen) = &settings.cipher_suites {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        provider.cipher_suites.extend(chosen.iter().copied().map(suite));
    }
    if !settings.curves.is_empty() {
        provider.kx_groups = settings.curves.iter().copied().map(group).collect();
    }
    provider
}

const fn suite(suite: CipherSuite) -> SupportedCipherSuite {
    match suite {
        CipherSuite::EcdheEcdsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaChacha20Poly1305Sha256 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes128GcmSha256 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaAes256GcmSha384 => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaChacha20Poly1305Sha256 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group(curve: Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::X25519 => kx_group::X25519,
        Curve::P256 => kx_group::SECP256R1,
        Curve::P384 => kx_group::SECP384R1,
    }
}
