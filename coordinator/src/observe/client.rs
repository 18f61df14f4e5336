//! The client of sidecars' APIs.

use std::time::Duration;

use anyhow::Context as _;
use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use narthex_common::{
    api::{Answer, RELOAD, SHARD_ASSIGNMENT, SHARD_REPORT},
    assignment::{Assignment, AssignmentUpdate},
    report::{Cursor, Report},
};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde::de::{DeserializeOwned, IgnoredAny};
use url::Url;

use super::ShardClient;

/// How long a connection may take: a shard's machine answers or it does not.
const CONNECT: Duration = Duration::from_secs(3);

/// How long one request may take at most. An assignment is answered only after it is on the shard's disk, and a reload
/// only after its Prometheus has taken the config.
const REQUEST: Duration = Duration::from_secs(30);

/// The largest answer that is read: an assignment of 100,000 targets with 2 KiB each fits, a flood does not.
const MAX_ANSWER: usize = 256 << 20;

/// How much of an answer that is none of ours is repeated in an error.
const MAX_QUOTED: usize = 200;

/// Talks to sidecars over HTTP.
#[derive(Clone, Debug)]
pub struct HttpShardClient(reqwest::Client);

/// A sidecar's refusal of an assignment (409): it has another revision or config than the coordinator saw.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl HttpShardClient {
    /// A client. TLS needs a crypto provider, which `main` installs first of all.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            // Shards are reached as they are listed. A proxy of the environment is meant for other things.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(REQUEST)
            .user_agent(concat!("narthex-coordinator/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("set up the client of sidecars")?;
        Ok(Self(client))
    }
}

impl ShardClient for HttpShardClient {
    fn report<'a>(&'a self, shard: &'a Url, since: Option<&'a Cursor>) -> BoxFuture<'a, anyhow::Result<Report>> {
        Box::pin(async move {
            let mut url = endpoint(shard, SHARD_REPORT);
            if let Some(Cursor(since)) = since {
                url.query_pairs_mut().append_pair("since", since);
            }
            data(self.0.get(url)).await
        })
    }

    fn assignment<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<Assignment>> {
        Box::pin(async move { data(self.0.get(endpoint(shard, SHARD_ASSIGNMENT))).await })
    }

    fn put_assignment<'a>(&'a self, shard: &'a Url, update: &'a AssignmentUpdate) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { done(self.0.put(endpoint(shard, SHARD_ASSIGNMENT)).json(update)).await })
    }

    fn reload<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<()>> {
        Box::pin(async move { done(self.0.post(endpoint(shard, RELOAD))).await })
    }
}

/// A path of a sidecar's API, below whatever path its address has.
fn endpoint(shard: &Url, path: &str) -> Url {
    let mut url = shard.clone();
    url.set_path(&format!("{}{path}", shard.path().trim_end_matches('/')));
    url
}

/// Sends a request and takes the data out of the answer.
async fn data<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let (status, body) = send(request).await?;
    if !status.is_success() {
        return Err(refusal(status, &body));
    }
    let answer: Answer<T> = serde_json::from_slice(&body)
        .with_context(|| format!("read the answer {:?}, which is not a sidecar's", quoted(&body)))?;
    answer.into_result().map_err(anyhow::Error::msg)
}

/// Sends a request whose answer matters only if it is an error.
async fn done(request: RequestBuilder) -> anyhow::Result<()> {
    let (status, body) = send(request).await?;
    if status.is_success() { Ok(()) } else { Err(refusal(status, &body)) }
}

async fn send(request: RequestBuilder) -> anyhow::Result<(StatusCode, Bytes)> {
    let response = request.send().await?;
    Ok((response.status(), body(response).await?))
}

/// The whole body, unless it is larger than any sidecar's.
async fn body(mut response: Response) -> anyhow::Result<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.context("read the answer")? {
        anyhow::ensure!(
            body.len() + chunk.len() <= MAX_ANSWER,
            "read the answer: it is larger than {} MiB",
            MAX_ANSWER >> 20
        );
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Why a sidecar did not do what it was asked to.
fn refusal(status: StatusCode, body: &[u8]) -> anyhow::Error {
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
