//! Providers: who the shards are and how many.

pub mod local;
pub mod static_list;

use futures_util::future::BoxFuture;
use narthex_common::shard::{Ordinal, ReplicaId, ShardId};
use narthex_planner::world::OwnBudget;
use url::Url;

pub use local::{LocalProvider, LocalSettings};
pub use static_list::StaticProvider;

/// Knows the shards, and changes their number where it can.
pub trait Provider: Send + Sync {
    /// The replicas as they are now.
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>>;
    /// Asks for a number of shards. It returns once that is asked for; the shards are believed when they are observed.
    fn scale<'a>(&'a self, replica: &'a ReplicaId, shards: u32) -> BoxFuture<'a, anyhow::Result<()>>;
}

/// One replica and where its shards are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Which replica.
    pub id: ReplicaId,
    /// Whether [`Provider::scale`] can do anything.
    pub scalable: bool,
    /// The number of shards last asked for, as the provider remembers it.
    pub wanted_shards: u32,
    /// Its shards, by ordinal.
    pub shards: Vec<ShardAddress>,
}

/// Where a shard's sidecar is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardAddress {
    /// Its place in the replica.
    pub ordinal: Ordinal,
    /// Its name.
    pub id: ShardId,
    /// The sidecar's API.
    pub url: Url,
    /// Why the provider could not bring the shard up. Whoever answers at its address then is not the shard.
    pub problem: Option<String>,
    /// What it may carry, where that differs from what the flags say for all.
    pub budget: OwnBudget,
}
