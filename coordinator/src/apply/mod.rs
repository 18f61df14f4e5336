//! Applying: the differences between what a plan wants and what was observed.

use std::sync::Arc;

use narthex_common::{
    assignment::{Assignment, AssignmentUpdate},
    fingerprint::Fingerprint,
    shard::ReplicaId,
};
use narthex_planner::Plan;

use crate::{
    discover::Discovered,
    observe::{Observed, ShardClient},
    probe::Probed,
    provider::{Provider, ShardAddress},
};

/// What one shard is told.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardChange {
    /// The replica it belongs to.
    pub replica: ReplicaId,
    /// Where it is.
    pub address: ShardAddress,
    /// How its assignment changes.
    pub update: AssignmentUpdate,
    /// What its assignment is to become.
    pub desired: Arc<Assignment>,
}

/// What became of a round's changes.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The changes that shards have taken.
    pub taken: Vec<ShardChange>,
    /// What failed; the next round sees what is, and plans again. One line each, for people.
    pub errors: Vec<String>,
}

/// What differs between plan and observation, shard by shard.
#[must_use]
pub fn changes(
    observed: &Observed,
    plan: &Plan,
    config: Fingerprint,
    discovered: &Discovered,
    probed: &Probed,
) -> Vec<ShardChange> {
    let _ = (observed, plan, config, discovered, probed);
    todo!()
}

/// Tells the shards and the provider: puts every change at once, reloads shards whose config is another, and asks for
/// the number of shards that the plan wants.
pub async fn apply(
    client: &dyn ShardClient,
    provider: &dyn Provider,
    observed: &Observed,
    plan: &Plan,
    config: Fingerprint,
    changes: Vec<ShardChange>,
) -> Applied {
    let _ = (client, provider, observed, plan, config, changes);
    todo!()
}
