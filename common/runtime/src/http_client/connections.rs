//! A client's connections: kept, shared, and opened anew when what they were opened with has changed.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, Client},
    rt::TokioTimer,
};
use narthex_common::config::http_client::{ProxyConfig, TlsConfig};

use super::{
    ClientError,
    connect::{Connector, Drivers, Past, Remembering},
    failure,
    proxy::{Proxies, ProxyEnvironment},
    tls::{self, TlsMaterial},
};

/// How long an unused connection is kept: Prometheus' own figure, longer than most scrape intervals.
const IDLE_CONNECTIONS_ARE_KEPT: Duration = Duration::from_secs(5 * 60);
/// As many connections as Prometheus keeps to one host.
const MAX_IDLE_CONNECTIONS_PER_HOST: usize = 1000;
/// How long the TLS files last read are trusted to be unchanged: certificates are renewed days before they end, and
/// reading them anew for each of thousands of scrapes a second would be waste.
const TLS_FILES_ARE_TRUSTED: Duration = Duration::from_secs(3);
/// When an HTTP/2 connection that says nothing is asked whether it is alive, as Prometheus does: all requests to a host
/// share one, and would go on failing on a dead one.
const HTTP2_SILENCE: Duration = Duration::from_secs(60);
/// How long the answer may take (Go's `PingTimeout`).
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(15);
/// As many headers as an answer may have. Go bounds only their bytes; a hundred, which is hyper's own bound, is what a
/// target behind several gateways may well reach.
const MAX_HEADERS: usize = 1000;
/// How much of an answer is read at once, and the largest head of one. hyper reads up to 400 KiB, which cost a sidecar
/// 100 MB when many bodies came at a time; a quarter of that size costs it a fifth more of CPU time than this one.
const BUFFER_BYTES: usize = 32 << 10;
/// Attempts on connections that turn out to be closed. Several may have been closed at once, say by a proxy between.
const MAX_ATTEMPTS: u32 = 6;

/// What is sent. Scrapes have no body; asking for a token does.
pub(super) type Body = Full<Bytes>;

/// The connections of one client.
pub(super) struct Connections {
    tls: TlsConfig,
    http2: bool,
    proxies: Arc<Proxies>,
    current: Mutex<Transport>,
}

/// Connections made with one state of the TLS files.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<Remembering<Connector>, Body>,
    made_with: u64,
    checked: Instant,
}

impl Connections {
    /// Connections with these settings; HTTP/2 where a server wants it and `http2` is set.
    pub(super) fn new(
        tls: &TlsConfig,
        proxy: &ProxyConfig,
        http2: bool,
        environment: &ProxyEnvironment,
    ) -> Result<Self, ClientError> {
        let proxies = Arc::new(Proxies::new(proxy, environment)?);
        let transport = Transport::new(tls, http2, &proxies, &TlsMaterial::read(tls)?)?;
        Ok(Self { tls: tls.clone(), http2, proxies, current: Mutex::new(transport) })
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    /// The connections to use: new ones once a TLS file has changed.
    pub(super) async fn current(&self) -> Result<Transport, ClientError> {
        let last = self.current.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !tls::has_files(&self.tls) || last.checked.elapsed() < TLS_FILES_ARE_TRUSTED {
            return Ok(last);
        }
        let settings = self.tls.clone();
        let material = tokio::task::spawn_blocking(move || TlsMaterial::read(&settings))
            .await
            .map_err(|e| ClientError(format!("read TLS files: {e}")))??;
        let current = if material.hash() == last.made_with {
            Transport { checked: Instant::now(), ..last }
        } else {
            Transport::new(&self.tls, self.http2, &self.proxies, &material)?
        };
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&current);
        Ok(current)
    }
}

impl Transport {
    fn new(
        settings: &TlsConfig,
        http2: bool,
        proxies: &Arc<Proxies>,
        material: &TlsMaterial,
    ) -> Result<Self, ClientError> {
        let connector = Connector::new(Arc::clone(proxies), tls::read(settings, material, http2)?);
        let client = Client::builder(Drivers)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_CONNECTIONS_ARE_KEPT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS_PER_HOST)
            .http2_keep_alive_interval(HTTP2_SILENCE)
            .http2_keep_alive_timeout(HTTP2_PING_TIMEOUT)
            .http2_keep_alive_while_idle(true)
            // As Go writes header names. Case means nothing, except to some exporters on small devices.
            .http1_title_case_headers(true)
            .http1_max_headers(MAX_HEADERS)
            .http1_max_buf_size(BUFFER_BYTES)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .build(Remembering(connector));
        Ok(Self { client, made_with: material.hash(), checked: Instant::now() })
    }

    /// One request and its answer. A server may close an idle connection in the very moment in which a request goes
    /// out on it; then, as Go does, it is sent again on another. Otherwise a target whose keep-alive is about as long
    /// as the scrape interval would be down now and then.
    pub(super) async fn exchange(&self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
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
                Err(e)
                    if attempt < most_attempts(&e) && Past::had_answered(&e) && !failure::is_malformed_answer(&e) => {}
                Err(e) => {
                    let known = past.why_it_broke().map(failure::one_line);
                    return Err(known.unwrap_or_else(|| failure::of_a_request(&e)));
                }
            }
        }
    }
}

/// A connection of HTTP/2 that breaks one request may go on with the next: only the first time it may have been old.
fn most_attempts(failure: &legacy::Error) -> u32 {
    let is_http2 = failure.connect_info().is_some_and(legacy::connect::Connected::is_negotiated_h2);
    if is_http2 { 2 } else { MAX_ATTEMPTS }
}
