//! What shards are told: how each one's assignment differs from the one that the plan wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use narthex_common::{
    assignment::{AssignedTarget, Assignment},
    fingerprint::Fingerprint,
    target::{Target, TargetId},
    time::Timestamp,
};
use narthex_planner::{Plan, ShardPlan, plan::PlannedTarget, world::Seen};

use super::ShardChange;
use crate::{
    discover::Discovered,
    observe::{Observed, ObservedShard, ShardState},
};

/// What differs between plan and observation, shard by shard.
///
/// `config` is the fingerprint of the coordinator's config; a shard that runs another is told nothing. A target that
/// stays keeps the load it was assigned with, so that a load that changes alone leads to no new revision.
#[must_use]
pub fn changes(
    observed: &Observed,
    plan: &Plan,
    config: Fingerprint,
    discovered: &Discovered,
    now: Timestamp,
) -> Vec<ShardChange> {
    let planned = || {
        observed.replicas.iter().flat_map(|replica| {
            let plan = plan.replicas.get(&replica.id);
            replica.shards.iter().filter_map(move |shard| {
                let state = tellable(shard, config)?;
                let targets = plan?.shards.get(&shard.address.ordinal).unwrap_or(&NOTHING);
                Some((&replica.id, shard, state, targets))
            })
        })
    };
    let new = planned().flat_map(|(_, _, state, targets)| new_targets(state, targets)).collect();
    let sources = Sources { discovered, held: Held::find(observed, &new) };
    planned()
        .filter_map(|(replica, shard, state, targets)| {
            let desired = desired(state, targets, now, config, &sources)?;
            Some(ShardChange {
                replica: replica.clone(),
                address: shard.address.clone(),
                update: state.assignment.update_to(&desired),
                desired: Arc::new(desired),
            })
        })
        .collect()
}

/// The plan of a shard on which nothing changes.
static NOTHING: ShardPlan = ShardPlan { put: BTreeMap::new(), remove: BTreeSet::new() };

/// What is known of a shard that can be told something: it answered in this round and runs this config.
fn tellable(shard: &ObservedShard, config: Fingerprint) -> Option<&ShardState> {
    match &shard.seen {
        Seen::Fresh(state) if state.report.config == config => Some(state),
        Seen::Fresh(_) | Seen::Stale { .. } | Seen::Never => None,
    }
}

/// The targets that a shard is to scrape and does not have.
fn new_targets<'a>(state: &'a ShardState, targets: &'a ShardPlan) -> impl Iterator<Item = TargetId> + 'a {
    targets.put.keys().filter(|id| !state.assignment.targets.contains_key(id)).copied()
}

/// The assignment that a shard is to have; none when it has it.
fn desired(
    state: &ShardState,
    plan: &ShardPlan,
    now: Timestamp,
    config: Fingerprint,
    sources: &Sources<'_>,
) -> Option<Assignment> {
    let has = &state.assignment;
    let mut targets = has.targets.clone();
    targets.retain(|id, _| !plan.remove.contains(id));
    for (&id, &PlannedTarget { state, load }) in &plan.put {
        let assigned = match has.targets.get(&id) {
            Some(assigned) => AssignedTarget { state, since: Some(now), ..assigned.clone() },
            None => {
                let Some(target) = sources.target(id) else { continue };
                AssignedTarget { target, state, since: Some(now), load: Some(load) }
            }
        };
        targets.insert(id, assigned);
    }
    // A shard that never got a target needs no word of it. One that scrapes learns that its targets are this config's.
    let same = targets == has.targets && (has.config == config || targets.is_empty());
    (!same).then(|| Assignment { revision: has.revision.next(), config, targets })
}

/// Where targets come from that a shard does not have yet.
struct Sources<'a> {
    discovered: &'a Discovered,
    held: Held<'a>,
}

/// Targets as other shards have them, with the load they measured.
struct Held<'a>(BTreeMap<TargetId, &'a Target>);

impl Sources<'_> {
    /// A target that a shard is to scrape from now on. Its body is discovery's, or, while discovery does not list it
    /// yet, the one of the shard that scrapes it; both are the same, because the id is their fingerprint.
    fn target(&self, id: TargetId) -> Option<Target> {
        let held = self.held.0.get(&id);
        let listed = || self.discovered.jobs.values().find_map(|job| job.active.get(&id)).map(|a| (*a.target).clone());
        let target = held.map(|target| (*target).clone()).or_else(listed);
        debug_assert!(target.is_some(), "target {id} was planned, but no shard and no discovery lists it");
        target
    }
}

impl<'a> Held<'a> {
    /// Those of `wanted` that some shard has; of several, the first that measured a load.
    fn find(observed: &'a Observed, wanted: &BTreeSet<TargetId>) -> Self {
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return Self(found);
        }
        for state in observed.replicas.iter().flat_map(|replica| &replica.shards).filter_map(known) {
            for (id, assigned) in state.assignment.targets.iter().filter(|(id, _)| wanted.contains(id)) {
                found.entry(*id).or_insert(&assigned.target);
            }
        }
        Self(found)
    }
}

/// What a shard said last, in this round or before.
fn known(shard: &ObservedShard) -> Option<&ShardState> {
    match &shard.seen {
        Seen::Never => None,
        Seen::Stale { last, .. } => Some(last),
        Seen::Fresh(state) => Some(state),
    }
}
