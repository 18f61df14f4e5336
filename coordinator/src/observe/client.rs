//! The client of sidecars' APIs.

use futures_util::future::BoxFuture;
use narthex_common::{
    assignment::{Assignment, AssignmentUpdate},
    report::{Cursor, Report},
};
use url::Url;

use super::ShardClient;

/// Talks to sidecars over HTTP.
#[derive(Clone, Debug)]
pub struct HttpShardClient(reqwest::Client);

/// A sidecar's refusal of an assignment: it has another revision or config than the coordinator saw.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

impl HttpShardClient {
    /// A client. TLS needs a crypto provider, which `main` installs first of all.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(reqwest::Client::builder().build()?))
    }
}

impl ShardClient for HttpShardClient {
    fn report<'a>(&'a self, _: &'a Url, _: Option<&'a Cursor>) -> BoxFuture<'a, anyhow::Result<Report>> {
        todo!()
    }

    fn assignment<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, anyhow::Result<Assignment>> {
        todo!()
    }

    fn put_assignment<'a>(&'a self, _: &'a Url, _: &'a AssignmentUpdate) -> BoxFuture<'a, anyhow::Result<()>> {
        todo!()
    }

    fn reload<'a>(&'a self, _: &'a Url) -> BoxFuture<'a, anyhow::Result<()>> {
        let _ = &self.0;
        todo!()
    }
}
