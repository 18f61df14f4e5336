//! The scrape proxy: what Prometheus asks of a target goes through here.
//!
//! Flow: a request in absolute form names a job by the user part of `proxy_url` and a target by its URL; [`Routes`]
//! says which; the job's own HTTP client asks the target by its true scheme and with the job's credentials; status,
//! headers and the still compressed body go back as they came, and are measured beside the way; the
//! [`TargetTable`] learns how it went.
//!
//! Guarantees: nothing is forwarded without the shard's token, or to what is no target of the shard. (Of a job whose
//! targets Prometheus relabels, only Prometheus knows what they are: whatever it asks for in its name is forwarded.) A series scraped
//! through here is the same as without. What fails before the first byte is a 502 with the reason as reason phrase,
//! which Prometheus shows; what fails later aborts the connection. No timeout is shorter than Prometheus'. Memory does
//! not grow with the size of a body.

mod address;
mod body;
mod content_type;
mod counting;
mod credentials;
mod forward;
mod guard;
mod kept;
mod measure;
mod metrics;
mod refusal;
mod routes;
mod running;
mod top_metrics;
mod unpack;

use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use narthex_common::series_limit::SeriesLimits;
use narthex_runtime::{
    shutdown::Shutdown,
    web::pace::{AnswerBody, Limits, Paced, Requests},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tracing::{debug, warn};

use crate::targets::TargetTable;
use forward::Forwarder;

pub use counting::CountCompressed;
pub use metrics::ProxyMetrics;
pub use routes::Routes;
pub use top_metrics::TopMetrics;

/// The pace that whoever scrapes has to keep. Prometheus itself drops a connection that was idle for 5 minutes: it has to
/// be the first, or it would send a scrape into a connection that is just being closed. A request's body is never read.
const PACE: Limits = Limits {
    head: Duration::from_secs(10),
    idle: Duration::from_secs(600),
    taking: Duration::from_secs(300),
    piece: Duration::ZERO,
    body: Duration::ZERO,
    standstill: None,
};

/// The largest head of a request.
const HEAD_BYTES: usize = 16 << 10;

/// How much of a body is sent to Prometheus at once, if it is there: then no more of it is asked of the target until it is
/// sent. What a system call and waking Prometheus cost is paid for each.
const BUFFER_BYTES: usize = 64 << 10;

/// How long to wait when no connection can be accepted, which is mostly for want of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What a user may want otherwise.
#[derive(Clone, Debug, Default)]
pub struct ProxySettings {
    /// The most series that a target may expose.
    pub limits: SeriesLimits,
    /// When compressed bodies are counted.
    pub count_compressed: CountCompressed,
}

/// Answers the scrapes of a Prometheus until the process is to end, and those that are on their way then. A target that
/// exposes more than its limit allows is cut off until it has shrunk. Which metrics the others have, `top` knows.
pub async fn serve(
    listener: TcpListener,
    routes: watch::Receiver<Arc<Routes>>,
    table: Arc<TargetTable>,
    metrics: ProxyMetrics,
    settings: ProxySettings,
    top: TopMetrics,
    shutdown: Shutdown,
) {
    warn_of_limits_for_nobody(&settings.limits, &routes.borrow());
    let forwarder = Forwarder { routes, table, metrics, settings: Arc::new(settings), top };
    let mut connections = JoinSet::new();
    let mut ending = std::pin::pin!(shutdown.clone().wait());
    loop {
        tokio::select! {
            () = &mut ending => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, forwarder.clone(), shutdown.clone()));
                }
                Err(error) => {
                    warn!(%error, "accept a connection to the scrape proxy; trying again");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// A limit for a job that is not there is most likely a misspelt one.
fn warn_of_limits_for_nobody(limits: &SeriesLimits, routes: &Routes) {
    for job in limits.jobs().filter(|job| !routes.has_job(job)) {
        warn!(%job, "no such job in the config; its limit (flag --target.max-series-of-job) holds for nothing");
    }
}

async fn serve_connection(stream: TcpStream, forwarder: Forwarder, shutdown: Shutdown) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "set TCP_NODELAY; scrapes may take a little longer");
    }
    let requests = Requests::default();
    let stream = Paced::new(stream, requests.clone(), PACE);
    let service = service_fn(move |request| {
        let (forwarder, on_its_way) = (forwarder.clone(), requests.one_more());
        async move {
            // In a box of its own, which is gone while the body passes: a connection keeps room for what it awaits.
            let answer = Box::pin(forwarder.answer(request)).await;
            Ok::<_, Infallible>(answer.map(|body| AnswerBody::new(body, on_its_way)))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The connection itself has the limits.
        .header_read_timeout(None)
        .max_header_size(HEAD_BYTES)
        .max_buf_size(BUFFER_BYTES)
        // The answer is the target's, who may have no clock.
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        // Prometheus hanging up and targets breaking off end here, too; both are recorded where they are seen.
        debug!(%error, "a connection to the scrape proxy ended early");
    }
}
