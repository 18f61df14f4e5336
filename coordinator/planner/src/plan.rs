//! The planner's whole output.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{
    assignment::TargetState,
    load::Load,
    shard::{Ordinal, ReplicaId},
    target::TargetId,
};
use serde::{Deserialize, Serialize};

use crate::{
    memory::Memory,
    reason::{Change, Unplaced},
    world::ReplicaView,
};

/// What is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One plan per replica, by id.
    pub replicas: BTreeMap<ReplicaId, ReplicaPlan>,
}

/// What is to be of one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReplicaPlan {
    /// What changes on every shard on which something changes. Whoever is absent keeps what it has; a shard that cannot
    /// be told (no fresh report, another config) always is.
    pub shards: BTreeMap<Ordinal, ShardPlan>,
    /// How many shards there are to be.
    pub wanted_shards: u32,
    /// What differs from the world, and why.
    pub changes: Vec<Change>,
    /// The targets that no shard takes, and why; among them those that only lost shards have.
    pub unplaced: BTreeMap<TargetId, Unplaced>,
    /// The targets that are larger than a shard may fill, each of which has a shard of its own or waits for one.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub oversized: BTreeSet<TargetId>,
    /// Whether lost shards keep what they had for now: more than half of the shards fell silent at once, so that it is
    /// more likely that the coordinator is cut off from them than that they are dead.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub takeover_held: bool,
    /// What is noted for the next round.
    #[serde(skip_serializing_if = "Memory::is_empty")]
    pub memory: Memory,
}

impl ReplicaPlan {
    /// What every shard of which anything is known is to hold, once it has been told.
    #[must_use]
    pub fn outcome(&self, view: &ReplicaView) -> BTreeMap<Ordinal, BTreeMap<TargetId, TargetState>> {
        let known = view.shards.iter().filter_map(|(&ordinal, shard)| {
            let report = shard.report.last()?;
            let mut targets: BTreeMap<_, _> = report.targets.iter().map(|(&id, held)| (id, held.state)).collect();
            if let Some(ShardPlan { put, remove }) = self.shards.get(&ordinal) {
                targets.retain(|id, _| !remove.contains(id));
                targets.extend(put.iter().map(|(&id, planned)| (id, planned.state)));
            }
            Some((ordinal, targets))
        });
        known.collect()
    }
}

/// What changes on one shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ShardPlan {
    /// Targets that it gets, or holds in another state than before.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub put: BTreeMap<TargetId, PlannedTarget>,
    /// Targets that it is to scrape no longer.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub remove: BTreeSet<TargetId>,
}

/// A target as a shard is to hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTarget {
    /// Whether it is there to stay.
    pub state: TargetState,
    /// The load it is planned with.
    pub load: Load,
}

impl ShardPlan {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.put.is_empty() && self.remove.is_empty()
    }
}
