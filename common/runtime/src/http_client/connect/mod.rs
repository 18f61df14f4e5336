//! Opening connections: to the target itself, to a proxy that reads requests, or through a proxy to the target.

mod dial;
mod driver;
mod past;
mod socks;
mod tcp;
mod tunnel;
mod wire;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Uri, uri::Scheme};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tower::Service;

use super::{
    failure,
    proxy::{Proxies, ProxyScheme, ProxyServer},
};

pub use dial::TimeLimits;
pub(super) use dial::with_patience;
pub use driver::BorrowedConnection;
pub(super) use driver::Drivers;
pub(super) use past::{Past, Remembering};
pub(super) use tcp::Broken;
pub(super) use wire::Wire;

/// Prometheus' limit. Without it a server that takes connections and says nothing would cost every scrape its whole
/// timeout, and its user the reason.
const TLS_HANDSHAKE_TAKES_AT_MOST: Duration = Duration::from_secs(10);

/// A stream of bytes, of whatever layers.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Why no connection came about, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct ConnectError(String);

impl ConnectError {
    fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The failure of a proxy, which must not look like the target's.
    fn of_proxy(self) -> Self {
        Self(format!("proxyconnect tcp: {self}"))
    }
}

/// A host and a port to connect to.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Endpoint {
    /// Where a URL points to.
    pub(super) fn of(uri: &Uri) -> Self {
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 });
        Self { host, port }
    }
}

/// As Go's `net.JoinHostPort` writes it.
impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How TLS is spoken.
#[derive(Clone)]
pub(super) struct Tls {
    /// With targets.
    pub(super) to_target: Arc<ClientConfig>,
    /// With a proxy: the same, but always HTTP/1.1, in which tunnels are asked for.
    pub(super) to_proxy: Arc<ClientConfig>,
    /// The name to expect, if it is not the host's.
    pub(super) server_name: Option<ServerName<'static>>,
}

/// Opens connections, through the proxy where there is one.
#[derive(Clone)]
pub(super) struct Connector {
    proxies: Arc<Proxies>,
    tls: Tls,
}

impl Connector {
    pub(super) fn new(proxies: Arc<Proxies>, tls: Tls) -> Self {
        Self { proxies, tls }
    }

    async fn open(self, target: Uri) -> Result<Wire, ConnectError> {
        let endpoint = Endpoint::of(&target);
        let encrypts = target.scheme() == Some(&Scheme::HTTPS);
        let stream: Box<dyn Stream> = match self.proxies.for_target(&target) {
            None => Box::new(dial::dial(&endpoint).await?),
            Some(proxy) => {
                let mut stream = self.reach(proxy).await.map_err(ConnectError::of_proxy)?;
                match proxy.scheme {
                    ProxyScheme::Socks5 => socks::connect(&mut stream, proxy, &endpoint).await?,
                    ProxyScheme::Http | ProxyScheme::Https if encrypts => {
                        tunnel::open(&mut stream, proxy, &endpoint, self.proxies.connect_headers()).await?;
                    }
                    ProxyScheme::Http | ProxyScheme::Https => return Ok(Wire::to_proxy(stream)),
                }
                stream
            }
        };
        if !encrypts {
            return Ok(Wire::plain(stream));
        }
        let stream = self.encrypt(stream, &endpoint.host, &self.tls.to_target).await?;
        Ok(Wire::encrypted(stream))
    }

    /// A connection to the proxy itself.
    async fn reach(&self, proxy: &ProxyServer) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = Box::new(dial::dial(&proxy.endpoint).await?);
        if proxy.scheme != ProxyScheme::Https {
            return Ok(stream);
        }
        Ok(Box::new(self.encrypt(stream, &proxy.endpoint.host, &self.tls.to_proxy).await?))
    }

    async fn encrypt(
        &self,
        stream: Box<dyn Stream>,
        host: &str,
        config: &Arc<ClientConfig>,
    ) -> Result<wire::Encrypted, ConnectError> {
        let name = match &self.tls.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| ConnectError(format!("tls: {host:?} is neither a host name nor an address")))?,
        };
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        match tokio::time::timeout(TLS_HANDSHAKE_TAKES_AT_MOST, handshake).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(e)) => Err(ConnectError(failure::of_a_connection(&e))),
            Err(_) => Err(ConnectError::new("net/http: TLS handshake timeout")),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Wire>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Wire>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let opening = self.clone().open(target);
        Box::pin(dial::keeping_patience(async move { Ok(TokioIo::new(opening.await?)) }))
    }
}
