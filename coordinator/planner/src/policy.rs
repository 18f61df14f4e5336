//! What the user wants of a plan.

use std::time::Duration;

use narthex_common::load::Series;
use serde::{Deserialize, Serialize};

/// The rules a plan keeps. Built by [`Policy::new`], which refuses what cannot be kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Kept series one shard may hold: its memory.
    pub max_series: Series,
    /// Exposed series one shard may scrape: its work. None is no limit.
    pub max_process_series: Option<Series>,
    /// The fewest shards of a replica; nothing is planned before that many are there.
    pub min_shards: u32,
    /// The most shards of a replica.
    pub max_shards: u32,
    /// How long a shard must be idle before it goes; none means that none goes.
    pub max_idle_time: Option<Duration>,
    /// Moves begun in one round, at most.
    pub max_moves: u32,
}
