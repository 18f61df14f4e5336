//! The planner's whole input. `GET /debug/world` of the coordinator returns it; saved, it is a test.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{
    assignment::TargetState,
    job::JobName,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

/// Everything a round looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// When the round began.
    pub now: Timestamp,
    /// Where random choices are drawn from.
    pub seed: u64,
    /// The jobs of the config. Whatever belongs to no job of it is forgotten.
    pub jobs: BTreeMap<JobName, JobView>,
    /// The targets that discovery lists.
    pub targets: BTreeMap<TargetId, TargetView>,
    /// The replicas.
    pub replicas: Vec<ReplicaView>,
}

/// A job, as discovery sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobView {
    /// Whether every discovery of the job has answered at least once. Before that nothing of the job is forgotten.
    pub discovered: bool,
}

/// A target, as discovery and probes see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetView {
    /// Its job.
    pub job: JobName,
    /// What probes know of its load. A shard that scrapes it knows better.
    pub probed: KnownLoad,
}

/// What is known of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownLoad {
    /// Nothing, yet.
    Unknown,
    /// It was measured.
    Measured(Load),
    /// It was tried in vain, since then.
    ProbeFailed {
        /// When it first failed.
        since: Timestamp,
    },
}

/// A replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaView {
    /// Which replica.
    pub id: ReplicaId,
    /// Whether its provider can change the number of its shards.
    pub scalable: bool,
    /// The number of shards last asked for: more than there are while new ones start.
    pub wanted_shards: u32,
    /// The shards there are, by ordinal, without holes.
    pub shards: BTreeMap<Ordinal, ShardView>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardView {
    /// Its name.
    pub id: ShardId,
    /// What it said last.
    pub report: Seen<ShardReport>,
    /// When the coordinator, at its start, found the shard already there; none for a shard that appeared later, which
    /// begins empty. A shard that was there, and has never answered since, may hold any target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found_at_start: Option<Timestamp>,
}

/// Something observed: never, once but not of late, or now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen<T> {
    /// Never since the coordinator started.
    Never,
    /// Not in this round: the last one known.
    Stale {
        /// When it was seen.
        at: Timestamp,
        /// What was seen.
        last: T,
    },
    /// In this round.
    Fresh(T),
}

/// What a shard said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardReport {
    /// Whether its config is the coordinator's. Nothing is applied to it otherwise.
    pub config_matches: bool,
    /// Whether its Prometheus is ready to take targets.
    pub ready: bool,
    /// The series its Prometheus holds in memory.
    pub head_series: Option<Series>,
    /// Since when it has had no target.
    pub idle_since: Option<Timestamp>,
    /// Its targets.
    pub targets: BTreeMap<TargetId, HeldTarget>,
}

/// A target on a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldTarget {
    /// Its job.
    pub job: JobName,
    /// Whether it is there to stay.
    pub state: TargetState,
    /// What the shard's last good scrape of it brought.
    pub load: Option<Load>,
    /// Scrapes since it was assigned there, counted up to three.
    pub scrapes: u32,
}

impl World {
    /// The targets of a job that are listed now.
    #[must_use]
    pub fn listed(&self, job: &JobName) -> BTreeSet<TargetId> {
        self.targets.iter().filter(|(_, t)| t.job == *job).map(|(id, _)| *id).collect()
    }
}
