//! Opening connections: to the target, to a plain proxy, or through a proxy's tunnel.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::connect::{Connected, Connection, proxy::Tunnel},
    rt::TokioIo,
};
use rustix::io::Errno;
use tokio::net::{TcpStream, lookup_host};
use tower::Service;

use super::{failure, proxy::Proxies};

/// How long the first address family may take before the other is tried beside it (RFC 6555; Go's `FallbackDelay`).
const FALLBACK_DELAY: Duration = Duration::from_millis(300);

type Opening<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why no connection came about, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct DialError(String);

/// Why a connection broke, in Go's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Broken(String);

/// Opens connections, through the proxy where there is one.
#[derive(Clone)]
pub(super) struct Connector(Arc<Proxies>);

impl Connector {
    pub(super) fn new(proxies: Arc<Proxies>) -> Self {
        Self(proxies)
    }
}

impl Service<Uri> for Connector {
    type Response = Wire;
    type Error = BoxError;
    type Future = Opening<Wire>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Opening<Wire> {
        let proxies = Arc::clone(&self.0);
        Box::pin(async move {
            let Some(proxy) = proxies.for_target(&target) else {
                return Ok(Wire::new(dial(&target).await?, false));
            };
            if target.scheme_str() != Some("https") {
                return Ok(Wire::new(ToProxy.call(proxy.uri().clone()).await?, true));
            }
            let mut tunnel = Tunnel::new(proxy.uri().clone(), ToProxy).with_headers(proxies.connect_headers().clone());
            if let Some(authorization) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            Ok(Wire::new(tunnel.call(target).await?, false))
        })
    }
}

/// Opens connections to a proxy, whose failures must not look like the target's.
#[derive(Clone)]
struct ToProxy;

impl Service<Uri> for ToProxy {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Opening<TokioIo<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, proxy: Uri) -> Self::Future {
        Box::pin(async move {
            dial(&proxy).await.map_err(|DialError(why)| DialError(format!("proxyconnect tcp: {why}")).into())
        })
    }
}

/// Opens a connection to the host that a URL names.
async fn dial(target: &Uri) -> Result<TokioIo<TcpStream>, DialError> {
    let host = target.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let port = target.port_u16().unwrap_or(if target.scheme_str() == Some("https") { 443 } else { 80 });
    let addresses: Vec<SocketAddr> = match lookup_host((host, port)).await {
        Ok(found) => found.collect(),
        Err(e) => return Err(DialError(format!("dial tcp: lookup {host}: {}", failure::lookup(&e)))),
    };
    let Some(first) = addresses.first() else {
        return Err(DialError(format!("dial tcp: lookup {host}: no such host")));
    };
    let (preferred, others) = addresses.iter().copied().partition(|address| address.is_ipv6() == first.is_ipv6());
    let stream = open_either(preferred, others).await?;
    // Without it a small request may wait for the acknowledgement of the one before. Go sets it too.
    stream.set_nodelay(true).map_err(|e| DialError(format!("dial tcp: {}", failure::words(&e))))?;
    Ok(TokioIo::new(stream))
}

/// Tries one address family, and after a moment the other beside it: a broken IPv6 must not cost the whole scrape.
async fn open_either(preferred: Vec<SocketAddr>, others: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    if others.is_empty() {
        return open_one_of(preferred).await;
    }
    let mut preferred = Box::pin(open_one_of(preferred));
    let mut others = Box::pin(open_one_of(others));
    tokio::select! {
        opened = &mut preferred => return match opened {
            Ok(stream) => Ok(stream),
            // The first failure is the one that Go reports.
            Err(first) => others.await.map_err(|_| first),
        },
        () = tokio::time::sleep(FALLBACK_DELAY) => {}
    }
    tokio::select! {
        opened = &mut preferred => match opened {
            Ok(stream) => Ok(stream),
            Err(first) => others.await.map_err(|_| first),
        },
        opened = &mut others => match opened {
            Ok(stream) => Ok(stream),
            Err(_) => preferred.await,
        },
    }
}

async fn open_one_of(addresses: Vec<SocketAddr>) -> Result<TcpStream, DialError> {
    let mut first_failure = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(e) => {
                first_failure.get_or_insert_with(|| {
                    DialError(format!("dial tcp {address}: {}: {}", step(&e), failure::words(&e)))
                });
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| DialError("dial tcp: missing address".to_owned())))
}

/// Which step of opening a connection failed.
fn step(failure: &io::Error) -> &'static str {
    let no_descriptor = [Errno::MFILE, Errno::NFILE].map(Some).contains(&Errno::from_io_error(failure));
    if no_descriptor { "socket" } else { "connect" }
}

/// An open connection, and whether a proxy reads the requests on it (they then carry the whole URL).
pub(super) struct Wire {
    stream: TokioIo<TcpStream>,
    /// Its own address and the other side's, which the system forgets when the connection is reset.
    ends: Option<(SocketAddr, SocketAddr)>,
    speaks_to_proxy: bool,
}

impl Wire {
    fn new(stream: TokioIo<TcpStream>, speaks_to_proxy: bool) -> Self {
        let tcp = stream.inner();
        let ends = tcp.local_addr().ok().zip(tcp.peer_addr().ok());
        Self { stream, ends, speaks_to_proxy }
    }

    /// A failure as Go's `net.OpError` says it: `read tcp 10.0.0.1:40000->10.0.0.2:80: read: connection reset by peer`.
    fn named<T>(&self, doing: &str, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        done.map_err(|e| match (self.ends, e.raw_os_error()) {
            (Some((own, other)), Some(_)) => {
                let text = format!("{doing} tcp {own}->{other}: {doing}: {}", failure::words(&e));
                io::Error::new(e.kind(), Broken(text))
            }
            (None, _) | (_, None) => e,
        })
    }
}

impl Connection for Wire {
    fn connected(&self) -> Connected {
        self.stream.connected().proxy(self.speaks_to_proxy)
    }
}

impl Read for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        self.named("read", read)
    }
}

impl Write for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.named("write", written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
