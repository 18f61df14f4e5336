//! The planner's whole input. `GET /debug/world` of the coordinator returns it; saved, it is a test.

use std::collections::BTreeMap;

use imbl::OrdMap;
use narthex_common::{
    assignment::TargetState,
    config::PromDuration,
    job::JobName,
    load::{Load, SampleRate, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::memory::Memory;

/// Something about many targets, in the order of their ids. Versions of it share what they have in common: a copy costs
/// nothing, and what differs between two rounds is found without looking at the rest.
pub type TargetMap<V> = OrdMap<TargetId, V>;

/// Everything a round looks at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// When the round began.
    pub now: Timestamp,
    /// Where random choices are drawn from.
    pub seed: u64,
    /// The jobs of the config. Whatever belongs to no job of it is forgotten.
    pub jobs: BTreeMap<JobName, JobView>,
    /// The targets that discovery lists.
    pub targets: TargetMap<TargetView>,
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
    /// How often it is scraped.
    #[serde(default = "prometheus_default_interval")]
    pub interval: PromDuration,
    /// Since when the coordinator has known it.
    #[serde(default)]
    pub since: Timestamp,
    /// What probes know of its load. A shard that scrapes it knows better.
    pub probed: KnownLoad,
}

/// Prometheus' own default, for worlds that were written without intervals.
const fn prometheus_default_interval() -> PromDuration {
    PromDuration::from_secs(60)
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
    /// What the last plan noted for this one.
    #[serde(default, skip_serializing_if = "Memory::is_empty")]
    pub memory: Memory,
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
    /// What this shard may carry, where its provider says so: shards may be of unequal size.
    #[serde(default, skip_serializing_if = "OwnBudget::is_empty")]
    pub budget: OwnBudget,
}

/// What one shard may carry, where that differs from the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OwnBudget {
    /// Series in memory; none is what the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_series: Option<Series>,
    /// Samples a second; none is what the policy says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_samples_per_second: Option<SampleRate>,
}

impl OwnBudget {
    /// Whether the policy's budget is the shard's.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
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

impl<T> Seen<T> {
    /// What was seen last, now or before.
    pub const fn last(&self) -> Option<&T> {
        match self {
            Self::Never => None,
            Self::Stale { last, .. } | Self::Fresh(last) => Some(last),
        }
    }
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
    pub targets: TargetMap<HeldTarget>,
}

/// A target on a shard.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeldTarget {
    /// Its job.
    pub job: JobName,
    /// How often it is scraped.
    #[serde(default = "prometheus_default_interval")]
    pub interval: PromDuration,
    /// Whether it is there to stay.
    pub state: TargetState,
    /// Since when it is in that state there; none when nobody wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The load it was assigned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Load>,
    /// What the shard's last good scrape of it brought.
    pub load: Option<Load>,
    /// Scrapes since it was assigned there, counted up to three.
    pub scrapes: u32,
}
