//! What shards are told: the plan's differences as updates of their assignments. It costs what changes.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{
    assignment::{AssignedTarget, AssignmentUpdate},
    fingerprint::Fingerprint,
    target::{Target, TargetId},
    target_limit::{ExceededTargetLimits, TargetLimitExceeded},
};
use narthex_planner::{Plan, ReplicaPlan, ShardPlan, World, plan::PlannedTarget, world::Seen};

use super::ShardChange;
use crate::{
    discover::Discovered,
    observe::{Observed, ObservedShard, ShardAssignment, ShardState},
};

/// What each shard is told so that it becomes what the plan for `world` wants.
///
/// `config` is the fingerprint of the coordinator's config; a shard that runs another is told nothing. A target that
/// stays keeps the load it was assigned with, so that a load that changes alone leads to no new revision.
#[must_use]
pub fn changes(
    observed: &Observed,
    world: &World,
    plan: &Plan,
    config: Fingerprint,
    discovered: &Discovered,
) -> Vec<ShardChange> {
    let bodies = Bodies { observed, world, discovered };
    let exceeded = discovered.exceeded_target_limits();
    let mut changes = Vec::new();
    for replica in &observed.replicas {
        let Some(plan) = plan.replicas.get(&replica.id) else { continue };
        for shard in &replica.shards {
            let Some(state) = tellable(shard, config) else { continue };
            let targets = plan.shards.get(&shard.address.ordinal).unwrap_or(&NOTHING);
            let exceeded = exceeded_on(&state.assignment, &exceeded, discovered);
            if let Some(mut update) = update(state, targets, config, exceeded, &bodies) {
                update.handed_over = handed_over(&update.remove, state, shard, &replica.shards, plan, world);
                changes.push(ShardChange { replica: replica.id.clone(), address: shard.address.clone(), update });
            }
        }
    }
    changes
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

/// What a shard is told; none when it is to stay as it is.
fn update(
    state: &ShardState,
    plan: &ShardPlan,
    config: Fingerprint,
    exceeded_target_limits: ExceededTargetLimits,
    bodies: &Bodies<'_>,
) -> Option<AssignmentUpdate> {
    let has = &state.assignment;
    // One that scrapes learns that its targets are this config's, and which of them are too many; one that never got a
    // target needs no word of it.
    let says_otherwise = has.config != config || has.exceeded_target_limits != exceeded_target_limits;
    let outdated = says_otherwise && !has.targets.is_empty();
    if plan.is_empty() && !outdated {
        return None;
    }
    let put: Vec<_> =
        plan.put.iter().filter_map(|(&id, &planned)| assigned(id, planned, has.targets.get(&id), bodies)).collect();
    let remove: Vec<_> = plan.remove.iter().filter(|id| has.targets.contains_key(*id)).copied().collect();
    if put.is_empty() && remove.is_empty() && !outdated {
        return None;
    }
    let revision = has.revision.next();
    let (base, handed_over) = (Some(has.revision), Vec::new());
    Some(AssignmentUpdate { base, revision, config, put, remove, handed_over, exceeded_target_limits })
}

/// The jobs of which a shard is to scrape nothing, because they have too many targets. What it was told of a job that has
/// yet to be discovered still holds, unless the limit is another one.
fn exceeded_on(has: &ShardAssignment, all: &ExceededTargetLimits, discovered: &Discovered) -> ExceededTargetLimits {
    let mut exceeded = all.clone();
    for (job, told) in &has.exceeded_target_limits {
        let is_waited_for = discovered.jobs.get(job).is_some_and(|found| !found.discovered);
        let limit = discovered.config.job(job).map_or(0, |job| job.target_limit);
        if let Some(still) = TargetLimitExceeded::of(told.targets, limit).filter(|_| is_waited_for) {
            exceeded.entry(job.clone()).or_insert(still);
        }
    }
    exceeded
}

/// Those of the targets that leave a shard which go on elsewhere: another shard of the replica has them once the plan is
/// carried out, and discovery has not ended them, as it would for all shards.
fn handed_over(
    leaving: &[TargetId],
    state: &ShardState,
    source: &ObservedShard,
    shards: &[ObservedShard],
    plan: &ReplicaPlan,
    world: &World,
) -> Vec<TargetId> {
    let is_listed = |id: &TargetId| {
        let job = state.assignment.targets.get(id).and_then(|held| world.jobs.get(&held.target.job));
        world.targets.contains_key(id) || job.is_some_and(|job| !job.discovered)
    };
    let has = |shard: &ObservedShard, id: &TargetId| {
        let planned = plan.shards.get(&shard.address.ordinal).unwrap_or(&NOTHING);
        let held = shard.seen.last().is_some_and(|state| state.assignment.targets.contains_key(id));
        planned.put.contains_key(id) || held && !planned.remove.contains(id)
    };
    let others: Vec<_> = shards.iter().filter(|shard| shard.address.ordinal != source.address.ordinal).collect();
    let goes_on = |id: &&TargetId| is_listed(id) && others.iter().any(|shard| has(shard, id));
    leaving.iter().filter(goes_on).copied().collect()
}

/// A target as a shard is to have it; none when it has it like that.
fn assigned(
    id: TargetId,
    PlannedTarget { state, load }: PlannedTarget,
    has: Option<&AssignedTarget>,
    bodies: &Bodies<'_>,
) -> Option<AssignedTarget> {
    let since = Some(bodies.world.now);
    match has {
        Some(has) if has.state == state => None,
        Some(has) => Some(AssignedTarget { state, since, ..has.clone() }),
        None => Some(AssignedTarget { target: bodies.find(id)?, state, since, load: Some(load) }),
    }
}

/// Where the bodies of targets come from that a shard does not have yet.
struct Bodies<'a> {
    observed: &'a Observed,
    world: &'a World,
    discovered: &'a Discovered,
}

impl Bodies<'_> {
    /// A target that a shard is to scrape from now on. Its body is discovery's, or, while discovery does not list it
    /// yet, the one of the shard that scrapes it; both are the same, because the id is their fingerprint.
    fn find(&self, id: TargetId) -> Option<Target> {
        let body = self.listed(id).or_else(|| self.held(id));
        debug_assert!(body.is_some(), "target {id} was planned, but no discovery lists it and no shard has it");
        body.cloned()
    }

    fn listed(&self, id: TargetId) -> Option<&Target> {
        let job = &self.world.targets.get(&id)?.job;
        Some(&self.discovered.jobs.get(job)?.active.get(&id)?.target)
    }

    /// Every shard is looked at, which only a target that moves before its job's first discovery costs.
    fn held(&self, id: TargetId) -> Option<&Target> {
        let shards = self.observed.replicas.iter().flat_map(|replica| &replica.shards);
        shards
            .filter_map(|shard| shard.seen.last())
            .find_map(|state| state.assignment.targets.get(&id))
            .map(|assigned| &assigned.target)
    }
}
