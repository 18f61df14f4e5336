//! Serving: connections accepted, TLS spoken, requests answered, within bounds.
//!
//! | bound | figure |
//! | --- | --- |
//! | connections at once; further ones wait to be accepted | 512, Prometheus' own `--web.max-connections` |
//! | time for the TLS handshake | 10 s |
//! | size of a request's head | 64 KiB |
//! | time for a head, from its first byte (of the first request, from the connection) | 10 s |
//! | time until the next request on a connection | 10 min: Prometheus and our own client drop one after 5 themselves |
//! | time for the next piece of a body, for the whole body | 30 s, 5 min |
//! | time in which something of an answer must be taken | 5 min |
//! | requests at once on one HTTP/2 connection | 100 |
//!
//! How large a body may be is for each route to say.

use std::{convert::Infallible, error::Error, io, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::{
    Web, gate,
    metrics::TurnedAway,
    pace::{AnswerBody, Limits, Paced, PacedBody, Requests, TooSlow},
};
use crate::shutdown::Shutdown;

const MAX_CONNECTIONS: usize = 512;
const HANDSHAKE: Duration = Duration::from_secs(10);
pub(super) const LIMITS: Limits = Limits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(600),
    taking: Duration::from_secs(300),
    piece: Duration::from_secs(30),
    body: Duration::from_secs(300),
    standstill: None,
};
/// What is held of a head, or of a body that is on its way, for one connection.
const MAX_HEAD: usize = 64 << 10;
const MAX_STREAMS: u32 = 100;
/// How long requests may take to end when the process does.
const LAST_REQUESTS: Duration = Duration::from_secs(5);
/// How long to wait when no connection can be accepted, which is mostly for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// What a TLS connection begins with: a record of the type "handshake".
const TLS_HANDSHAKE: u8 = 0x16;
/// What Go's server answers to one who speaks HTTP where TLS is spoken.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// Answers requests until the process is to end.
pub async fn serve(listener: TcpListener, router: Router, web: Web, shutdown: Shutdown) {
    serve_within(LIMITS, listener, router, web, shutdown).await;
}

pub(super) async fn serve_within(limits: Limits, listener: TcpListener, router: Router, web: Web, shutdown: Shutdown) {
    let server = Server { router, web, limits };
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut ending = std::pin::pin!(shutdown.clone().wait());
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = &mut ending => break,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (server, shutdown) = (server.clone(), shutdown.clone());
                    connections.spawn(async move {
                        server.serve_connection(stream, shutdown).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    warn!(%error, "accept a connection to the API; trying again");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_REQUESTS, all_ended).await.is_err() {
        warn!("requests to the API did not end in time; breaking them off");
    }
}

/// What every connection needs.
#[derive(Clone)]
struct Server {
    router: Router,
    web: Web,
    limits: Limits,
}

impl Server {
    async fn serve_connection(self, stream: TcpStream, shutdown: Shutdown) {
        let _counted = self.web.metrics.connection();
        let metrics = self.web.metrics.clone();
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "set TCP_NODELAY; answers may take a little longer");
        }
        let tls = self.web.protection.borrow().tls.clone();
        let Some(tls) = tls else {
            let limits = self.limits;
            return report(self.speak_http1(stream, limits, shutdown).await, &metrics);
        };
        let stream = match tokio::time::timeout(HANDSHAKE, handshake(stream, tls.into())).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                metrics.turned_away(TurnedAway::Handshake);
                return debug!(%error, "no TLS with a client of the API");
            }
            Err(_elapsed) => {
                metrics.turned_away(TurnedAway::TooSlow);
                return debug!("no TLS with a client of the API within {HANDSHAKE:?}");
            }
        };
        let limits = self.limits;
        let served = if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            self.speak_http2(stream, limits.without_heads(), shutdown).await
        } else {
            self.speak_http1(stream, limits, shutdown).await
        };
        report(served, &metrics);
    }

    async fn speak_http1<S>(self, stream: S, limits: Limits, shutdown: Shutdown) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = Requests::default();
        let stream = TokioIo::new(Paced::new(stream, requests.clone(), limits));
        let service = service_fn(move |request| self.clone().answer(request, requests.clone()));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // The connection itself has the limits.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = &mut connection => served,
            () = shutdown.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    async fn speak_http2<S>(self, stream: S, limits: Limits, shutdown: Shutdown) -> hyper::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let requests = Requests::default();
        let stream = TokioIo::new(Paced::new(stream, requests.clone(), limits));
        let service = service_fn(move |request| self.clone().answer(request, requests.clone()));
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .max_concurrent_streams(MAX_STREAMS)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = &mut connection => served,
            () = shutdown.wait() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    }

    async fn answer(
        self,
        request: Request<Incoming>,
        requests: Requests,
    ) -> Result<Response<AnswerBody<Body>>, Infallible> {
        let on_its_way = requests.one_more();
        let protection = Arc::clone(&self.web.protection.borrow());
        let mut request =
            request.map(|body| Body::new(PacedBody::new(Body::new(body), self.limits, self.web.metrics.clone())));
        let mut answer = match gate::admit(&self.web, &protection, &mut request).await {
            Err(refusal) => refusal,
            Ok(()) => match self.router.oneshot(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            },
        };
        gate::add_headers(&protection, &mut answer);
        Ok(answer.map(|body| AnswerBody::new(body, on_its_way)))
    }
}

async fn handshake(mut stream: TcpStream, acceptor: TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != TLS_HANDSHAKE && first[0].is_ascii_uppercase() {
        stream.write_all(NOT_TLS).await?;
        stream.shutdown().await?;
        // Closed with something unread, the connection would be reset, and the answer lost.
        tokio::io::copy(&mut stream.take(MAX_HEAD as u64), &mut tokio::io::sink()).await?;
        return Err(io::Error::other("it speaks HTTP without TLS"));
    }
    acceptor.accept(stream).await
}

fn report(served: hyper::Result<()>, metrics: &super::metrics::WebMetrics) {
    let Err(error) = served else { return };
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        let inner = current.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<TooSlow>()) {
            metrics.turned_away(TurnedAway::TooSlow);
        }
        cause = current.source();
    }
    debug!(%error, "a connection to the API ended early");
}
