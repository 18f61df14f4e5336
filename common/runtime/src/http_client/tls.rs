//! `tls_config` as rustls understands it.

use std::{
    fs,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, OnceLock},
};

use narthex_common::config::http_client::{Secret, Source, TlsConfig, TlsVersion};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto::CryptoProvider, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};

use super::{
    ClientError,
    connect::Tls,
    failure,
    trust::{AnyCertificate, GoTrust},
};

/// What the settings and the files they name hold right now.
pub(super) struct TlsMaterial {
    ca: Option<Vec<u8>>,
    cert: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
}

impl TlsMaterial {
    /// Reads the files.
    pub(super) fn read(settings: &TlsConfig) -> Result<Self, ClientError> {
        Ok(Self {
            ca: settings.ca.as_ref().map(|ca| pem(ca, String::as_str, "CA cert")).transpose()?,
            cert: settings.cert.as_ref().map(|cert| pem(cert, String::as_str, "client cert")).transpose()?,
            key: settings.key.as_ref().map(|key| pem(key, Secret::expose, "client key")).transpose()?,
        })
    }

    /// Tells one state of the files from another, within this process.
    pub(super) fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.ca, &self.cert, &self.key).hash(&mut hasher);
        hasher.finish()
    }
}

fn pem<T>(source: &Source<T>, text: impl Fn(&T) -> &str, what: &str) -> Result<Vec<u8>, ClientError> {
    match source {
        Source::Inline(value) => Ok(text(value).as_bytes().to_vec()),
        Source::File(path) => fs::read(path).map_err(|e| {
            let why = failure::open(path, &e);
            ClientError(format!("unable to read {what}: unable to read file {}: {why}", path.display()))
        }),
    }
}

/// Whether anything may change under the settings.
pub(super) fn has_files(settings: &TlsConfig) -> bool {
    matches!(settings.ca, Some(Source::File(_)))
        || matches!(settings.cert, Some(Source::File(_)))
        || matches!(settings.key, Some(Source::File(_)))
}

/// The settings with what was read.
pub(super) fn read(settings: &TlsConfig, material: &TlsMaterial, http2: bool) -> Result<Tls, ClientError> {
    let mut config = client_config(settings, material)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let to_proxy = Arc::new(config.clone());
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(Tls { to_target: Arc::new(config), to_proxy, server_name: server_name(settings)? })
}

/// The name that a server's certificate must have, if it is not the host's.
fn server_name(settings: &TlsConfig) -> Result<Option<ServerName<'static>>, ClientError> {
    let Some(name) = settings.server_name.as_deref().filter(|name| !name.is_empty()) else { return Ok(None) };
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| ClientError(format!("tls_config: server_name {name:?} is neither a host name nor an address")))?;
    Ok(Some(name))
}

fn client_config(settings: &TlsConfig, material: &TlsMaterial) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(settings)?)
        .map_err(|e| ClientError(format!("tls: {e}")))?
        .dangerous();
    let builder = if settings.insecure_skip_verify {
        if material.ca.is_some() {
            // As in Prometheus it must be one all the same.
            trust(settings, material, Arc::clone(&provider))?;
        }
        builder.with_custom_certificate_verifier(Arc::new(AnyCertificate::new(provider)))
    } else {
        builder.with_custom_certificate_verifier(Arc::new(trust(settings, material, provider)?))
    };
    match (&material.cert, &material.key) {
        (Some(cert), Some(key)) => {
            let unusable = |why: String| {
                let (cert, key) = (described(settings.cert.as_ref()), described(settings.key.as_ref()));
                ClientError(format!("unable to use specified client cert ({cert}) & key ({key}): {why}"))
            };
            let chain = certificates(cert).map_err(unusable)?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|_| unusable("tls: failed to find any PEM data in key input".to_owned()))?;
            builder.with_client_auth_cert(chain, key).map_err(|e| unusable(failure::tls(&e)))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(_), None) | (None, Some(_)) => {
            Err(ClientError("exactly one of cert and key is configured, both or none are needed".to_owned()))
        }
    }
}

/// Where a value comes from, as Prometheus says it.
fn described<T>(source: Option<&Source<T>>) -> String {
    match source {
        Some(Source::File(path)) => format!("file {}", path.display()),
        Some(Source::Inline(_)) | None => "inline".to_owned(),
    }
}

fn versions(settings: &TlsConfig) -> Result<Vec<&'static SupportedProtocolVersion>, ClientError> {
    let (min, max) = (settings.min_version, settings.max_version);
    // Without a minimum Go's is TLS 1.2, and nothing is left here as there.
    if max.is_some_and(|max| max < TlsVersion::Tls12) && min.is_some_and(|min| min < TlsVersion::Tls12) {
        return Err(ClientError(
            "tls_config: max_version allows only TLS 1.0 and 1.1, which are not supported; TLS 1.2 is the lowest"
                .to_owned(),
        ));
    }
    let allowed = |version| min.is_none_or(|min| min <= version) && max.is_none_or(|max| version <= max);
    let mut versions = Vec::with_capacity(2);
    if allowed(TlsVersion::Tls13) {
        versions.push(&version::TLS13);
    }
    if allowed(TlsVersion::Tls12) {
        versions.push(&version::TLS12);
    }
    if versions.is_empty() {
        return Err(ClientError("tls: no supported versions satisfy MinVersion and MaxVersion".to_owned()));
    }
    Ok(versions)
}

fn trust(settings: &TlsConfig, material: &TlsMaterial, provider: Arc<CryptoProvider>) -> Result<GoTrust, ClientError> {
    let unusable = |why: String| {
        ClientError(format!("unable to use specified CA cert {}: {why}", described(settings.ca.as_ref())))
    };
    let Some(ca) = &material.ca else {
        return GoTrust::new(system_roots(), Vec::new(), provider).map_err(unusable);
    };
    let trusted = certificates(ca).map_err(unusable)?;
    let mut roots = RootCertStore::empty();
    // As Go does, what cannot serve as an authority is passed over as long as something can.
    let (usable, _) = roots.add_parsable_certificates(trusted.iter().cloned());
    if usable == 0 {
        return Err(unusable("no certificate in it can be used".to_owned()));
    }
    GoTrust::new(Arc::new(roots), trusted, provider).map_err(unusable)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("failed to find any PEM data in certificate input".to_owned()),
        Err(e) => Err(format!("malformed PEM: {e}")),
    }
}

/// The authorities this machine trusts, read once: Go does the same.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let roots = ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            tracing::debug!(errors = ?found.errors, "this machine trusts no certificate authority; HTTPS needs a CA");
        }
        Arc::new(roots)
    });
    Arc::clone(roots)
}
