//! `--web.config.file`: how a web server of ours is protected, in the format of Prometheus' exporter-toolkit.
//!
//! What its `docs/web-configuration.md` says holds here too. Stricter, because a protection that is not there must not
//! look as if it were: what this server cannot do is refused (`rate_limit`, TLS below 1.2, the curve P-521, suites that
//! are no AEAD), a `tls_server_config` that says anything needs a certificate, one thing cannot be given in two ways,
//! and whoever verifies client certificates must say by which authority.

mod read;
#[cfg(test)]
mod tests;
mod tls;

use std::collections::BTreeMap;

use super::http_client::{Secret, Source, TlsVersion};

/// How a web server is protected. Paths are absolute, or relative to the directory of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebConfig {
    /// `tls_server_config`: none is plain HTTP.
    pub tls: Option<TlsServerConfig>,
    /// Whether HTTP/2 may be negotiated, which needs TLS.
    pub http2: bool,
    /// Headers added to every answer.
    pub headers: BTreeMap<String, String>,
    /// Who may ask, with the bcrypt hash of the password. None asks for no password.
    pub users: BTreeMap<String, Secret>,
}

/// `tls_server_config`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsServerConfig {
    /// The server's certificate, and those between it and its authority, in PEM.
    pub cert: Source<String>,
    /// Its key in PEM.
    pub key: Source<Secret>,
    /// Which certificates clients must show.
    pub client_auth: ClientAuth,
    /// The authorities of clients in PEM: there whenever [`ClientAuth::is_verified`].
    pub client_ca: Option<Source<String>>,
    /// Names one of which a client's certificate must have, letter by letter. None is any.
    pub client_allowed_sans: Vec<String>,
    /// The lowest version to speak.
    pub min_version: TlsVersion,
    /// The highest version to speak.
    pub max_version: TlsVersion,
    /// The suites of TLS 1.2, most preferred first; unless given all that are safe.
    pub cipher_suites: Option<Vec<CipherSuite>>,
    /// Whether the server's order of suites counts, and not the client's.
    pub prefer_server_cipher_suites: bool,
    /// Groups for the key exchange, most preferred first. None is all.
    pub curves: Vec<Curve>,
}

/// Which certificates clients must show, by the names of Go's `tls.ClientAuthType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// `NoClientCert`.
    None,
    /// `RequestClientCert`: they are asked for one and need not have any; whatever they show will do.
    Request,
    /// `RequireAnyClientCert`: they need one, any will do.
    RequireAny,
    /// `VerifyClientCertIfGiven`: they need none, but one they show must be of the authority.
    VerifyIfGiven,
    /// `RequireAndVerifyClientCert`: they need one of the authority.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether a certificate that is shown must be of the authority.
    #[must_use]
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether a client without a certificate is turned away.
    #[must_use]
    pub const fn is_required(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

/// A cipher suite of TLS 1.2 that this server can speak. Those of TLS 1.3 cannot be chosen, as in Go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum CipherSuite {
    EcdheEcdsaAes128GcmSha256,
    EcdheEcdsaAes256GcmSha384,
    EcdheEcdsaChacha20Poly1305Sha256,
    EcdheRsaAes128GcmSha256,
    EcdheRsaAes256GcmSha384,
    EcdheRsaChacha20Poly1305Sha256,
}

/// A group for the key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the standard")]
pub enum Curve {
    X25519,
    P256,
    P384,
}
