//! Listening for a target's scrapers, and closing the port when the target is told to refuse them.

use std::{convert::Infallible, fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::Request;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use super::{
    RequestSeen, Tls,
    answer::answer,
    target::{Target, is_closed},
};

/// As many connections may wait to be accepted: every target of a large Prometheus may come at once.
const BACKLOG: u32 = 1024;
/// How long to wait before a port that somebody took meanwhile is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Listens on an address.
pub(super) fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        // So that a port which was closed on purpose can be opened again while old connections to it linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| format!("listen on {address}"))
}

/// What a connection begins with.
#[derive(Clone)]
pub(super) struct Acceptor(Option<TlsAcceptor>);

impl Acceptor {
    pub(super) fn new(tls: Option<&Tls>) -> anyhow::Result<Self> {
        let Some(tls) = tls else { return Ok(Self(None)) };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .context("choose TLS versions")?;
        let builder = match &tls.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for authority in certificates(path)? {
                    roots.add(authority).with_context(|| format!("use authority {}", path.display()))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.with_context(|| format!("use {}", path.display()))?)
            }
        };
        let key = fs::read(&tls.key).with_context(|| format!("read key {}", tls.key.display()))?;
        let key = PrivateKeyDer::from_pem_slice(&key).with_context(|| format!("parse key {}", tls.key.display()))?;
        let mut config = builder
            .with_single_cert(certificates(&tls.cert)?, key)
            .with_context(|| format!("use certificate {}", tls.cert.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Some(TlsAcceptor::from(Arc::new(config)))))
    }

    pub(super) fn is_tls(&self) -> bool {
        self.0.is_some()
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let pem = fs::read(path).with_context(|| format!("read certificate {}", path.display()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    chain.with_context(|| format!("parse certificate {}", path.display()))
}

/// Serves a target until the end, opening and closing its port as its settings say.
pub(super) async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    acceptor: Acceptor,
    targets: Arc<[Target]>,
    index: usize,
) {
    let Some(target) = targets.get(index) else { return };
    let mut settings = target.watch();
    let mut listening = Some(listener);
    loop {
        if is_closed(&settings.borrow_and_update()) {
            drop(listening.take());
            if settings.wait_for(|set| !is_closed(set)).await.is_err() {
                return;
            }
        }
        let listener = match listening.take().map_or_else(|| bind(address), Ok) {
            Ok(listener) => listener,
            Err(e) => {
                tracing::warn!(error = %format!("{e:#}"), "port still closed; trying again");
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        // Dropped with the connections in it once the port is to close.
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted {
                        connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&targets), index));
                    }
                }
                Some(_) = connections.join_next() => {}
                closed = settings.wait_for(is_closed) => {
                    if closed.is_err() {
                        return;
                    }
                    break;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, acceptor: Acceptor, targets: Arc<[Target]>, index: usize) {
    // Only speed hangs on it.
    drop(stream.set_nodelay(true));
    match acceptor.0 {
        None => requests(stream, targets, index).await,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => requests(stream, targets, index).await,
            Err(e) => tracing::debug!(target_index = index, error = %e, "no TLS came about"),
        },
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, targets: Arc<[Target]>, index: usize) {
    let service = service_fn(move |request: Request<Incoming>| {
        let targets = Arc::clone(&targets);
        async move {
            let (asked, _) = request.into_parts();
            let seen = RequestSeen { uri: asked.uri.clone(), headers: asked.headers.clone() };
            if let Some(target) = targets.get(index) {
                target.saw(seen);
            }
            Ok::<_, Infallible>(answer(targets, index, asked.uri, asked.headers).await)
        }
    });
    let server = auto::Builder::new(TokioExecutor::new());
    if let Err(e) = server.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(target_index = index, error = %e, "connection broken");
    }
}
