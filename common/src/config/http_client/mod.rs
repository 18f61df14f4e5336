//! The HTTP client settings of a job or of a discovery: `basic_auth`, `tls_config` and their like.

mod oauth2;
mod proxy;
mod read;
mod tls;

use std::{collections::BTreeMap, fmt, path::PathBuf};

pub use oauth2::{Grant, OAuth2Config, SignatureAlgorithm};
pub use proxy::ProxyConfig;

/// A secret. Never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A value that is written in the config or read from a file at every use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source<T> {
    /// Written in the config.
    Inline(T),
    /// In a file (absolute), read again at every use and trimmed.
    File(PathBuf),
}

/// How requests are authorized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `basic_auth`.
    Basic {
        /// The user.
        username: Source<String>,
        /// The password; none is the empty one.
        password: Option<Source<Secret>>,
    },
    /// `authorization` and `bearer_token`: `Authorization: <kind> <credentials>`.
    Header {
        /// `Bearer` unless the config says otherwise.
        kind: String,
        /// What follows it.
        credentials: Option<Source<Secret>>,
    },
    /// `oauth2`: with a token that is fetched from somewhere else.
    OAuth2(Box<OAuth2Config>),
}

/// A TLS protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.0
    Tls10,
    /// TLS 1.1
    Tls11,
    /// TLS 1.2
    Tls12,
    /// TLS 1.3
    Tls13,
}

/// `tls_config`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct TlsConfig {
    /// Certificate authorities in PEM.
    pub ca: Option<Source<String>>,
    /// The client's certificate in PEM.
    pub cert: Option<Source<String>>,
    /// The client's key in PEM.
    pub key: Option<Source<Secret>>,
    /// The name to expect in the server's certificate.
    pub server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_verify: bool,
    /// The lowest version to speak.
    pub min_version: Option<TlsVersion>,
    /// The highest version to speak.
    pub max_version: Option<TlsVersion>,
}

/// One header of `http_headers`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct HeaderValues {
    /// Values written openly.
    pub values: Vec<String>,
    /// Values that are secret.
    pub secrets: Vec<Secret>,
    /// Files (absolute) that hold values.
    pub files: Vec<PathBuf>,
}

/// The HTTP client settings of a job or of a discovery. Paths are absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpClientConfig {
    /// How requests are authorized.
    pub auth: Option<Auth>,
    /// TLS settings.
    pub tls: TlsConfig,
    /// Whether redirects are followed.
    pub follow_redirects: bool,
    /// Whether HTTP/2 may be negotiated.
    pub enable_http2: bool,
    /// How targets are reached through a proxy.
    pub proxy: ProxyConfig,
    /// Headers added to every request.
    pub http_headers: BTreeMap<String, HeaderValues>,
}

impl Default for HttpClientConfig {
    fn default() -> Self {
        Self {
            auth: None,
            tls: TlsConfig::default(),
            follow_redirects: true,
            enable_http2: true,
            proxy: ProxyConfig::default(),
            http_headers: BTreeMap::new(),
        }
    }
}
