//! The client of sidecars' APIs.

use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use narthex_common::{
    api::{Answer, RELOAD, SHARD_ASSIGNMENT, SHARD_CONFIG, SHARD_REPORT, SHARD_SAMPLES},
    assignment::{Assignment, AssignmentUpdate},
    config::ConfigSources,
    report::{Cursor, Report},
    samples::{Samples, SamplesQuery},
};
use narthex_runtime::http_client::{ClientSettings, ReloadingClient};
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;

use super::ShardClient;

/// How long one request may take at most. An assignment is answered only after it is on the shard's disk, and a reload
/// only after its Prometheus has taken the config.
const REQUEST: Duration = Duration::from_secs(30);

/// The largest answer that is read: an assignment of 100,000 targets with 2 KiB each fits, a flood does not.
const MAX_ANSWER: usize = 256 << 20;

/// The largest answer of a shard's Prometheus that is read.
const MAX_PASSED_THROUGH: usize = 64 << 20;

/// How much of an answer that is none of ours is repeated in an error.
const MAX_QUOTED: usize = 200;

/// Who asks.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("narthex-coordinator/", env!("CARGO_PKG_VERSION")));

/// Talks to sidecars over HTTP, with whatever protects them.
#[derive(Clone, Debug)]
pub struct HttpShardClient(ReloadingClient);

/// A sidecar's refusal of an assignment (409): it has another revision or config than the coordinator saw.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// A Prometheus' refusal of a query (400): it makes no sense.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct RefusedByPrometheus(pub String);

impl HttpShardClient {
    /// A client with these settings. Shards are reached as they are listed: through a proxy only if the settings say so,
    /// and without following redirects.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: ClientSettings) -> anyhow::Result<Self> {
        Ok(Self(ReloadingClient::new(settings).context("set up the client of sidecars")?))
    }

    /// Sends a request and takes the data out of the answer.
    async fn data<T: DeserializeOwned>(&self, method: Method, url: &Url) -> anyhow::Result<T> {
        let (status, body) = self.send(method, url, Bytes::new()).await?;
        if !status.is_success() {
            return Err(refusal(status, &body));
        }
        let answer: Answer<T> = serde_json::from_slice(&body)
            .with_context(|| format!("read the answer {:?}, which is not a sidecar's", quoted(&body)))?;
        answer.into_result().map_err(anyhow::Error::msg)
    }

    /// Sends a request whose answer matters only if it is an error.
    async fn done(&self, method: Method, url: &Url, body: Bytes) -> anyhow::Result<()> {
        let (status, body) = self.send(method, url, body).await?;
        if status.is_success() { Ok(()) } else { Err(refusal(status, &body)) }
    }

    async fn send(&self, method: Method, url: &Url, body: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
        self.send_for(method, url, body, MAX_ANSWER).await
    }

    /// Sends a request for an answer of at most so many bytes.
    async fn send_for(
        &self,
        method: Method,
        url: &Url,
        body: Bytes,
        most: usize,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let mut request = Request::builder().method(method).uri(url.as_str()).header(header::USER_AGENT, USER_AGENT);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(body)).context("put the request together")?;
        let exchange = async {
            let response = self.0.current().await.send_once(request).await?;
            Ok((response.status(), whole(response.into_body(), most).await?))
        };
        tokio::time::timeout(REQUEST, exchange).await.with_context(|| format!("no answer within {REQUEST:?}"))?
    }
}

impl ShardClient for HttpShardClient {
    fn report<'a>(&'a self, shard: &'a Url, since: Option<&'a Cursor>) -> BoxFuture<'a, anyhow::Result<Report>> {
        Box::pin(async move {
            let mut url = endpoint(shard, SHARD_REPORT);
            if let Some(Cursor(since)) = since {
                url.query_pairs_mut().append_pair("since", since);
            }
            self.data(Method::GET, &url).await
        })
    }

    fn assignment<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<Assignment>> {
        Box::pin(async move { self.data(Method::GET, &endpoint(shard, SHARD_ASSIGNMENT)).await })
    }

    fn put_assignment<'a>(&'a self, shard: &'a Url, update: &'a AssignmentUpdate) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let update = serde_json::to_vec(update).context("write the assignment update")?;
            self.done(Method::PUT, &endpoint(shard, SHARD_ASSIGNMENT), update.into()).await
        })
    }

    fn samples<'a>(&'a self, shard: &'a Url, query: &'a SamplesQuery) -> BoxFuture<'a, anyhow::Result<Samples>> {
        Box::pin(async move {
            let mut url = endpoint(shard, SHARD_SAMPLES);
            url.query_pairs_mut().extend_pairs(query.parameters());
            self.data(Method::GET, &url).await
        })
    }

    fn prometheus<'a>(
        &'a self,
        shard: &'a Url,
        path: &'a str,
        query: &'a [(&'static str, String)],
    ) -> BoxFuture<'a, anyhow::Result<Bytes>> {
        Box::pin(async move {
            let mut url = endpoint(shard, path);
            url.query_pairs_mut().extend_pairs(query);
            let (status, body) = self.send_for(Method::GET, &url, Bytes::new(), MAX_PASSED_THROUGH).await?;
            if status.is_success() {
                return Ok(body);
            }
            let error = refusal(status, &body);
            Err(if status == StatusCode::BAD_REQUEST { RefusedByPrometheus(error.to_string()).into() } else { error })
        })
    }

    fn put_config<'a>(&'a self, shard: &'a Url, config: &'a ConfigSources) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move {
            let config = serde_json::to_vec(config).context("write the config")?;
            self.done(Method::PUT, &endpoint(shard, SHARD_CONFIG), config.into()).await
        })
    }

    fn reload<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { self.done(Method::POST, &endpoint(shard, RELOAD), Bytes::new()).await })
    }
}

/// A path of a sidecar's API, below whatever path its address has.
fn endpoint(shard: &Url, path: &str) -> Url {
    let mut url = shard.clone();
    url.set_path(&format!("{}{path}", shard.path().trim_end_matches('/')));
    url
}

/// The whole body, unless it is larger than it may be.
async fn whole(mut body: Incoming, most: usize) -> anyhow::Result<Bytes> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.context("read the answer")?.into_data() else { continue };
        anyhow::ensure!(read.len() + data.len() <= most, "read the answer: it is larger than {} MiB", most >> 20);
        read.extend_from_slice(&data);
    }
    Ok(read.freeze())
}

/// Why a sidecar did not do what it was asked to.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
    if status == StatusCode::UNAUTHORIZED {
        return anyhow::anyhow!(
            "answered {status}: it asks for credentials, and got none or others (flag --shard.http-client-config)"
        );
    }
    let text = match serde_json::from_slice::<Answer<IgnoredAny>>(body) {
        Ok(Answer::Error { error, .. }) => error,
        Ok(Answer::Success { .. }) | Err(_) => format!("answered {status}: {}", quoted(body)),
    };
    if status == StatusCode::CONFLICT { Refused(text).into() } else { anyhow::Error::msg(text) }
}

/// The beginning of a body, on one line.
fn quoted(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(MAX_QUOTED)]);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
