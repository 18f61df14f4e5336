//! Observing: one report of every shard, asked at once, only what changed since the last.

mod client;
#[cfg(test)]
pub(crate) mod fake;
mod observer;
mod state;
mod world;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use narthex_common::{
    assignment::{Assignment, AssignmentUpdate},
    config::ConfigSources,
    report::{Cursor, Report},
    samples::{Samples, SamplesQuery},
    shard::ReplicaId,
    time::Timestamp,
};
use narthex_planner::world::Seen;
use url::Url;

pub use client::{HttpShardClient, Refused, RefusedByPrometheus};
pub use observer::Observer;
pub use state::{ShardAssignment, ShardState};
#[cfg(test)]
pub(crate) use world::world_replicas;
pub(crate) use world::{held, replica_view, shard_report, shard_view};

use crate::provider::ShardAddress;

/// Talks to sidecars.
pub trait ShardClient: Send + Sync {
    /// The shard's report; since a cursor, only what changed.
    fn report<'a>(&'a self, shard: &'a Url, since: Option<&'a Cursor>) -> BoxFuture<'a, anyhow::Result<Report>>;
    /// The shard's whole assignment.
    fn assignment<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<Assignment>>;
    /// Puts a new assignment, as the difference to the one it has.
    fn put_assignment<'a>(&'a self, shard: &'a Url, update: &'a AssignmentUpdate) -> BoxFuture<'a, anyhow::Result<()>>;
    /// Which metrics the shard's targets have.
    fn samples<'a>(&'a self, shard: &'a Url, query: &'a SamplesQuery) -> BoxFuture<'a, anyhow::Result<Samples>>;
    /// Gives the shard a config, if it has no file of its own.
    fn put_config<'a>(&'a self, shard: &'a Url, config: &'a ConfigSources) -> BoxFuture<'a, anyhow::Result<()>>;
    /// What the shard's Prometheus answers to a path of its API with a query, as it is.
    ///
    /// It is [`RefusedByPrometheus`] when that finds the query senseless.
    fn prometheus<'a>(
        &'a self,
        shard: &'a Url,
        path: &'a str,
        query: &'a [(&'static str, String)],
    ) -> BoxFuture<'a, anyhow::Result<Bytes>>;
    /// Tells the shard to read its config file again.
    fn reload<'a>(&'a self, shard: &'a Url) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// All replicas, as they were seen in one round.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The replicas, in the provider's order.
    pub replicas: Vec<ObservedReplica>,
}

/// One replica, as it was seen.
#[derive(Clone, Debug)]
pub struct ObservedReplica {
    /// Which replica.
    pub id: ReplicaId,
    /// Whether its provider can change the number of its shards.
    pub scalable: bool,
    /// The number of shards last asked for.
    pub wanted_shards: u32,
    /// Its shards, by ordinal.
    pub shards: Vec<ObservedShard>,
}

/// One shard, as it was seen.
#[derive(Clone, Debug)]
pub struct ObservedShard {
    /// Where it is.
    pub address: ShardAddress,
    /// What it said.
    pub seen: Seen<Arc<ShardState>>,
    /// When the coordinator's first round found it; none when it appeared later.
    pub found_at_start: Option<Timestamp>,
    /// Why it said nothing in this round.
    pub error: Option<String>,
}
