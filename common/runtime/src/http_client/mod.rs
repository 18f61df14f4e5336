//! The HTTP client that a job's or a discovery's `http_client_config` asks for: used for scrapes, probes and http_sd.
//!
//! It behaves as Prometheus' own client (prometheus/common `config/http_config.go` on Go's `net/http`) does wherever a
//! target could see a difference: which credentials go where, what follows a redirect, which certificates are good.
//!
//! Not built yet, and refused with a clear error when the client is made: `oauth2`, proxies other than `http://` ones,
//! and TLS below 1.2.

mod credentials;
mod dial;
mod failure;
mod past;
mod proxy;
mod redirect;
mod send_once;
mod settings_file;
mod tls;
mod trust;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioTimer},
};
use narthex_common::config::{HttpClientConfig, http_client::Auth};

pub use self::settings_file::{ClientSettings, ReloadingClient};
pub(crate) use self::trust::is_an_authority;
use self::{
    credentials::Credentials,
    dial::Connector,
    past::{Past, Remembering},
    proxy::Proxies,
    redirect::{Hops, MAX_REQUESTS},
    tls::TlsMaterial,
};

/// How long an unused connection is kept: Prometheus' own figure, longer than most scrape intervals.
const IDLE_CONNECTIONS_ARE_KEPT: Duration = Duration::from_secs(5 * 60);
/// As many connections as Prometheus keeps to one host.
const MAX_IDLE_CONNECTIONS_PER_HOST: usize = 1000;
/// How long the TLS files last read are trusted to be unchanged: certificates are renewed days before they end, and
/// reading them anew for each of thousands of scrapes a second would be waste.
const TLS_FILES_ARE_TRUSTED: Duration = Duration::from_secs(3);

/// As many headers as an answer may have. Go bounds only their bytes; a hundred, which is hyper's own bound, is what a
/// target behind several gateways may well reach.
const MAX_HEADERS: usize = 1000;

/// How much of an answer is read at once, and the largest head of one. hyper reads up to 400 KiB, which cost a sidecar
/// 100 MB when many bodies came at a time; what reading more often costs is not to be seen in its CPU time.
const BUFFER_BYTES: usize = 16 << 10;

/// Attempts on connections that turn out to be closed. Several may have been closed at once, say by a proxy between.
const MAX_ATTEMPTS: u32 = 6;

/// A client with one set of settings. Cheap to clone; connections are kept and shared.
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
    proxies: Arc<Proxies>,
    transport: Mutex<Transport>,
}

/// Connections made with one state of the TLS files.
#[derive(Clone)]
struct Transport {
    client: Client<Remembering<HttpsConnector<Connector>>, Full<Bytes>>,
    made_with: u64,
    checked: Instant,
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
    /// A client for the given settings.
    ///
    /// # Errors
    /// When the settings cannot be used: a CA file is missing, `oauth2` is asked for.
    pub fn new(config: &HttpClientConfig) -> Result<Self, ClientError> {
        if matches!(config.auth, Some(Auth::OAuth2)) {
            return Err(ClientError("oauth2 is not supported yet; use authorization or basic_auth".to_owned()));
        }
        let proxies = Arc::new(Proxies::new(config)?);
        let transport = Transport::new(config, &proxies, &TlsMaterial::read(&config.tls)?)?;
        Ok(Self(Arc::new(Inner { config: config.clone(), proxies, transport: Mutex::new(transport) })))
    }

    /// Sends a GET with the client's credentials and headers added, and follows redirects when told to. There is no
    /// time limit here: dropping the future cancels the request. The body comes as it was sent, still compressed.
    ///
    /// The request's URL must be absolute. Its headers go out as they are, except `Host`, which follows from the URL.
    /// An `Authorization` among them is kept and the client's own is not added.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        let transport = self.current_transport().await?;
        let credentials = Credentials::read(&self.0.config).await?;
        let (asked, _) = request.into_parts();
        let mut hops = Hops::from(asked.uri)?;
        for _ in 0..MAX_REQUESTS {
            let mut headers = asked.headers.clone();
            headers.remove(header::HOST);
            credentials.add_to(&mut headers, &hops)?;
            if let Some(authorization) = self.0.proxies.authorization_for(hops.current()) {
                headers.insert(header::PROXY_AUTHORIZATION, authorization);
            }
            if let Some(host) = explicit_default_port(hops.current()) {
                headers.insert(header::HOST, host);
            }
            let mut hop = Request::new(Full::default());
            hop.method_mut().clone_from(&asked.method);
            *hop.uri_mut() = hops.current().clone();
            *hop.headers_mut() = headers;
            let response = transport.exchange(hop).await.map_err(|reason| hops.failed(reason))?;
            if !self.0.config.follow_redirects || !hops.follow(&response)? {
                return Ok(response);
            }
        }
        Err(hops.too_many())
    }

    /// The connections to use: new ones once a TLS file has changed.
    async fn current_transport(&self) -> Result<Transport, ClientError> {
        let last = self.0.transport.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !tls::has_files(&self.0.config.tls) || last.checked.elapsed() < TLS_FILES_ARE_TRUSTED {
            return Ok(last);
        }
        let settings = self.0.config.tls.clone();
        let material = tokio::task::spawn_blocking(move || TlsMaterial::read(&settings))
            .await
            .map_err(|e| ClientError(format!("read TLS files: {e}")))??;
        let current = if material.hash() == last.made_with {
            Transport { checked: Instant::now(), ..last }
        } else {
            Transport::new(&self.0.config, &self.0.proxies, &material)?
        };
        self.0.transport.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&current);
        Ok(current)
    }
}

impl Transport {
    fn new(config: &HttpClientConfig, proxies: &Arc<Proxies>, material: &TlsMaterial) -> Result<Self, ClientError> {
        let connector = HttpsConnector::new(
            Connector::new(Arc::clone(proxies)),
            tls::client_config(&config.tls, material, config.enable_http2)?,
            false,
            tls::server_name(&config.tls)?,
        );
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTIONS_ARE_KEPT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS_PER_HOST)
            // As Go writes header names. Case means nothing, except to some exporters on small devices.
            .http1_title_case_headers(true)
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(BUFFER_BYTES)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .build(Remembering(connector));
        Ok(Self { client, made_with: material.hash(), checked: Instant::now() })
    }
}

impl Transport {
    /// One request and its answer. A server may close an idle connection in the very moment in which a request goes
    /// out on it; then, as Go does, it is sent again on another. Otherwise a target whose keep-alive is about as long
    /// as the scrape interval would be down now and then.
    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, ClientError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let past = Past::default();
            match past.of_opened_by(self.client.request(request.clone())).await {
                Ok(response) => {
                    if let Some(past) = response.extensions().get::<Past>() {
                        past.set_answered();
                    }
                    return Ok(response);
                }
                Err(e) if attempt < MAX_ATTEMPTS && Past::had_answered(&e) && !failure::is_malformed_answer(&e) => {}
                Err(e) => {
                    let known = past.why_it_broke().map(failure::one_line);
                    return Err(known.unwrap_or_else(|| failure::of_a_request(&e)));
                }
            }
        }
    }
}

/// The `Host` of a URL that spells its scheme's default port out. Go sends it as written, hyper would shorten it.
fn explicit_default_port(uri: &Uri) -> Option<HeaderValue> {
    let is_default =
        matches!((uri.scheme_str(), uri.port_u16()), (Some("http"), Some(80)) | (Some("https"), Some(443)));
    is_default.then(|| HeaderValue::from_str(uri.authority()?.as_str()).ok()).flatten()
}
