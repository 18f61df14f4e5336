//! The HTTP client that a job's or a discovery's `http_client_config` asks for: used for scrapes, probes and http_sd.
//!
//! It behaves as Prometheus' own client (prometheus/common `config/http_config.go` on Go's `net/http`) does wherever a
//! target could see a difference: which credentials go where, what follows a redirect, which certificates are good.
//!
//! A `tls_config` that allows nothing but TLS 1.0 and 1.1 is refused with a clear error when the client is made: rustls
//! speaks neither.

mod connect;
mod connections;
mod credentials;
mod failure;
mod oauth2;
mod proxy;
mod redirect;
mod send_once;
mod settings_file;
mod tls;
mod trust;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use narthex_common::config::{HttpClientConfig, http_client::Auth};
use tokio::time::Instant;

use self::{
    connect::with_patience,
    connections::Connections,
    credentials::Credentials,
    oauth2::Tokens,
    redirect::{Hops, MAX_REQUESTS},
};

pub use self::connect::{BorrowedConnection, TimeLimits};
pub use self::proxy::ProxyEnvironment;
pub use self::settings_file::{ClientSettings, ReloadingClient};
pub(crate) use self::trust::is_an_authority;

/// A client with one set of settings. Cheap to clone; connections and tokens are kept and shared.
#[derive(Clone)]
pub struct JobClient(Arc<Inner>);

impl fmt::Debug for JobClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The settings know by themselves what is secret in them.
        f.debug_struct("JobClient").field("config", &self.0.config).finish_non_exhaustive()
    }
}

struct Inner {
    config: HttpClientConfig,
    connections: Connections,
    tokens: Option<Tokens>,
}

/// Why a request got no answer. Its text is one line without secrets, in Go's words where Go has some
/// (`dial tcp 10.0.0.1:80: connect: connection refused`), because it becomes the `lastError` that users know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClientError(pub String);

/// Why a request got no answer, and what was being asked for then. Its text is that of the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unanswered {
    /// Why.
    pub reason: ClientError,
    /// Where a redirect had led by then: Go names that URL, or that `Location` if it was one too many, instead of the one
    /// that was given. Without a user.
    pub elsewhere: Option<String>,
}

impl From<ClientError> for Unanswered {
    fn from(reason: ClientError) -> Self {
        Self { reason, elsewhere: None }
    }
}

/// Chooses the process' TLS implementation (ring). To be called first thing in `main`, for libraries that ask for a
/// default; this client does not depend on it. Calling it again does nothing.
pub fn install_tls_provider() {
    // The only failure is that one is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

impl JobClient {
    /// A client for the given settings. A proxy that the environment names is that of this process' environment.
    ///
    /// # Errors
    /// When the settings cannot be used, say because a CA file is missing.
    pub fn new(config: &HttpClientConfig) -> Result<Self, ClientError> {
        Self::in_environment(config, &ProxyEnvironment::of_this_process())
    }

    /// The same in another environment.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn in_environment(config: &HttpClientConfig, environment: &ProxyEnvironment) -> Result<Self, ClientError> {
        let connections = Connections::new(&config.tls, &config.proxy, config.enable_http2, environment)?;
        let tokens = match &config.auth {
            Some(Auth::OAuth2(oauth2)) => Some(Tokens::new(oauth2, environment)),
            Some(Auth::Basic { .. } | Auth::Header { .. }) | None => None,
        };
        Ok(Self(Arc::new(Inner { config: config.clone(), connections, tokens })))
    }

    /// [`Self::send`] with a limit to the time until the answer begins. The addresses of a host share it: one that does
    /// not answer leaves time for the others.
    ///
    /// # Errors
    /// When no answer came until `give_up_at`, or never will.
    pub async fn send_until(
        &self,
        request: Request<Empty<Bytes>>,
        give_up_at: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.send_within(request, TimeLimits { shared_until: give_up_at, give_up_at }).await
    }

    /// [`Self::send_until`] for whoever waits a little longer than the one it asks for.
    ///
    /// # Errors
    /// As there.
    pub async fn send_within(
        &self,
        request: Request<Empty<Bytes>>,
        limits: TimeLimits,
    ) -> Result<Response<Incoming>, Unanswered> {
        let sending = with_patience(Some(limits), self.send(request));
        match tokio::time::timeout_at(limits.give_up_at, sending).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError("context deadline exceeded".to_owned()).into()),
        }
    }

    /// Sends a GET with the client's credentials and headers added, and follows redirects when told to. There is no
    /// time limit here: dropping the future cancels the request. The body comes as it was sent, still compressed.
    ///
    /// The request's URL must be absolute. Its headers go out as they are, except `Host`, which follows from the URL.
    /// An `Authorization` among them is kept and the client's own is not added, unless that is a token of OAuth2.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let transport = self.0.connections.current().await?;
        let (asked, _) = request.into_parts();
        let credentials = self.credentials(&asked.headers).await?;
        let mut hops = Hops::from(asked.uri)?;
        for _ in 0..MAX_REQUESTS {
            let mut hop = Request::new(Full::default());
            hop.method_mut().clone_from(&asked.method);
            *hop.uri_mut() = hops.current().clone();
            *hop.headers_mut() = self.headers(asked.headers.clone(), &credentials, &hops)?;
            let response = transport.exchange(hop).await.map_err(|reason| hops.failed(reason))?;
            if !self.0.config.follow_redirects || !hops.follow(&response)? {
                return Ok(response);
            }
        }
        Err(hops.too_many())
    }

    /// Everything the client adds to a request that brings these headers along.
    async fn credentials(&self, asked: &HeaderMap) -> Result<Credentials, ClientError> {
        let mut credentials = Credentials::read(&self.0.config).await?;
        if let Some(tokens) = &self.0.tokens {
            credentials.set_token(tokens.authorization(asked.get(header::USER_AGENT)).await?);
        }
        Ok(credentials)
    }

    /// The headers of one request: what was asked with and what is added.
    fn headers(
        &self,
        mut headers: HeaderMap,
        credentials: &Credentials,
        hops: &Hops,
    ) -> Result<HeaderMap, ClientError> {
        headers.remove(header::HOST);
        credentials.add_to(&mut headers, hops)?;
        if let Some(authorization) = self.0.connections.proxies().authorization_for(hops.current()) {
            headers.insert(header::PROXY_AUTHORIZATION, authorization.clone());
        }
        if let Some(host) = explicit_default_port(hops.current()) {
            headers.insert(header::HOST, host);
        }
        if let Some(referer) = hops.referer() {
            headers.insert(header::REFERER, referer.clone());
        }
        Ok(headers)
    }
}

/// The `Host` of a URL that spells its scheme's default port out. Go sends it as written, hyper would shorten it.
fn explicit_default_port(uri: &Uri) -> Option<HeaderValue> {
    let is_default =
        matches!((uri.scheme_str(), uri.port_u16()), (Some("http"), Some(80)) | (Some("https"), Some(443)));
    is_default.then(|| HeaderValue::from_str(uri.authority()?.as_str()).ok()).flatten()
}
