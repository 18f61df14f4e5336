//! The planner's whole output.

use std::collections::BTreeMap;

use narthex_common::{
    assignment::TargetState,
    shard::{Ordinal, ReplicaId},
    target::TargetId,
};
use serde::{Deserialize, Serialize};

use crate::reason::{Change, Unplaced};

/// What is to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// One plan per replica, in the order of the world.
    pub replicas: BTreeMap<ReplicaId, ReplicaPlan>,
}

/// What is to be of one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplicaPlan {
    /// What every shard that can be told is to scrape. A shard that cannot (no fresh report, another config) is absent
    /// and keeps what it has.
    pub shards: BTreeMap<Ordinal, BTreeMap<TargetId, TargetState>>,
    /// How many shards there are to be.
    pub wanted_shards: u32,
    /// What differs from the world, and why.
    pub changes: Vec<Change>,
    /// The targets that no shard takes, and why.
    pub unplaced: BTreeMap<TargetId, Unplaced>,
}
