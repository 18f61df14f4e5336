//! What shards are told: how each one's assignment differs from the one that the plan wants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use narthex_common::{
    assignment::{AssignedTarget, Assignment, TargetState},
    fingerprint::Fingerprint,
    load::Load,
    target::{Target, TargetId},
};
use narthex_planner::{
    Plan,
    world::{KnownLoad, Seen},
};

use super::ShardChange;
use crate::{
    discover::Discovered,
    observe::{Observed, ObservedShard, ShardState},
    probe::Probed,
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
    probed: &Probed,
) -> Vec<ShardChange> {
    let planned = || {
        observed.replicas.iter().flat_map(|replica| {
            let plan = plan.replicas.get(&replica.id);
            replica.shards.iter().filter_map(move |shard| {
                let state = tellable(shard, config)?;
                let targets = plan?.shards.get(&shard.address.ordinal)?;
                Some((&replica.id, shard, state, targets))
            })
        })
    };
    let new = planned().flat_map(|(_, _, state, targets)| new_targets(state, targets)).collect();
    let sources = Sources { discovered, probed, held: Held::find(observed, &new) };
    planned()
        .filter_map(|(replica, shard, state, targets)| {
            let desired = desired(state, targets, config, &sources)?;
            Some(ShardChange {
                replica: replica.clone(),
                address: shard.address.clone(),
                update: state.assignment.update_to(&desired),
                desired: Arc::new(desired),
            })
        })
        .collect()
}

/// What is known of a shard that can be told something: it answered in this round and runs this config.
fn tellable(shard: &ObservedShard, config: Fingerprint) -> Option<&ShardState> {
    match &shard.seen {
        Seen::Fresh(state) if state.report.config == config => Some(state),
        Seen::Fresh(_) | Seen::Stale { .. } | Seen::Never => None,
    }
}

/// The targets that a shard is to scrape and does not have.
fn new_targets<'a>(
    state: &'a ShardState,
    targets: &'a BTreeMap<TargetId, TargetState>,
) -> impl Iterator<Item = TargetId> + 'a {
    targets.keys().filter(|id| !state.assignment.targets.contains_key(id)).copied()
}

/// The assignment that a shard is to have; none when it has it.
fn desired(
    state: &ShardState,
    targets: &BTreeMap<TargetId, TargetState>,
    config: Fingerprint,
    sources: &Sources<'_>,
) -> Option<Assignment> {
    let has = &state.assignment;
    let targets: BTreeMap<TargetId, AssignedTarget> = targets
        .iter()
        .filter_map(|(id, state)| {
            let assigned = match has.targets.get(id) {
                Some(assigned) => AssignedTarget { state: *state, ..assigned.clone() },
                None => sources.assigned(*id, *state)?,
            };
            Some((*id, assigned))
        })
        .collect();
    // A shard that never got a target needs no word of it. One that scrapes learns that its targets are this config's.
    let same = targets == has.targets && (has.config == config || targets.is_empty());
    (!same).then(|| Assignment { revision: has.revision.next(), config, targets })
}

/// Where targets come from that a shard does not have yet.
struct Sources<'a> {
    discovered: &'a Discovered,
    probed: &'a Probed,
    held: Held<'a>,
}

/// Targets as other shards have them, with the load they measured.
struct Held<'a>(BTreeMap<TargetId, (&'a Target, Option<Load>)>);

impl Sources<'_> {
    /// A target that a shard is to scrape from now on. Its body is discovery's, or, while discovery does not list it
    /// yet, the one of the shard that scrapes it; both are the same, because the id is their fingerprint.
    fn assigned(&self, id: TargetId, state: TargetState) -> Option<AssignedTarget> {
        let held = self.held.0.get(&id);
        let listed = || self.discovered.jobs.values().find_map(|job| job.active.get(&id)).map(|a| (*a.target).clone());
        let target = held.map(|(target, _)| (*target).clone()).or_else(listed);
        debug_assert!(target.is_some(), "target {id} was planned, but no shard and no discovery lists it");
        let load = held.and_then(|(_, load)| *load).or_else(|| self.probed_load(id));
        Some(AssignedTarget { target: target?, state, load })
    }

    fn probed_load(&self, id: TargetId) -> Option<Load> {
        match self.probed.get(&id)? {
            KnownLoad::Measured(load) => Some(*load),
            KnownLoad::Unknown | KnownLoad::ProbeFailed { .. } => None,
        }
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
                let load = state.targets.get(id).and_then(|report| report.load).or(assigned.load);
                let (_, known) = found.entry(*id).or_insert((&assigned.target, load));
                *known = known.or(load);
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
