//! From a plan to what is shown of it.

use std::{collections::BTreeSet, time::Duration};

use narthex_common::{job::JobName, load::Load, shard::Ordinal, target::TargetId};
use narthex_planner::{
    Plan, ReplicaPlan,
    cost::Cost,
    reason::{Change, Unplaced},
    world::{KnownLoad, ReplicaView},
};

use super::{
    ChangeView, Matching, OversizedView, PlanQuery, PlanView, ReplicaPlanView, SuspectView, TargetName, Targets,
    Totals, UnplacedView,
};
use crate::status::words::{
    change_in_words, oversized_in_words, shards_of, suspicion_in_words, target_of, unplaced_in_words,
};

/// A plan and what it was made of.
#[derive(Clone, Copy, Debug)]
pub(in crate::status) struct Planned<'a> {
    /// What it was made of.
    pub(in crate::status) targets: Targets<'a>,
    /// The plan.
    pub(in crate::status) plan: &'a Plan,
    /// What the round could not do.
    pub(in crate::status) errors: &'a [String],
    /// How long the round took.
    pub(in crate::status) round: Duration,
    /// How long the planner took.
    pub(in crate::status) planning: Duration,
}

/// What a query asks for of a plan.
#[must_use]
pub(in crate::status) fn plan_view(planned: &Planned<'_>, query: &PlanQuery) -> PlanView {
    let Targets { world, discovered, .. } = planned.targets;
    let jobs = world.jobs.keys().filter(|job| query.jobs.iter().any(|asked| asked.is_match(job.as_str())));
    let jobs: BTreeSet<&JobName> = jobs.collect();
    let replicas = world.replicas.iter().filter_map(|view| Some((view, planned.plan.replicas.get(&view.id)?)));
    let replicas: Vec<ReplicaPlanView> = replicas
        .map(|(view, plan)| Replica { targets: planned.targets, view, plan, query, jobs: &jobs }.view())
        .collect();
    PlanView {
        at: world.now.to_string(),
        round_seconds: planned.round.as_secs_f64(),
        planning_seconds: planned.planning.as_secs_f64(),
        config: discovered.config.fingerprint(),
        errors: planned.errors.to_vec(),
        totals: Totals::of(world, planned.plan),
        replicas,
    }
}

/// One replica's plan, and what is asked of it.
struct Replica<'a> {
    targets: Targets<'a>,
    view: &'a ReplicaView,
    plan: &'a ReplicaPlan,
    query: &'a PlanQuery,
    /// The jobs that are asked for, when any are.
    jobs: &'a BTreeSet<&'a JobName>,
}

impl Replica<'_> {
    fn view(&self) -> ReplicaPlanView {
        let limit = self.query.limit;
        let mut matching = Matching::default();
        let changes = self.plan.changes.iter().filter(|change| self.wants_change(change));
        let changes = first(changes, limit, &mut matching.changes);
        let unplaced = self.plan.unplaced.iter().filter(|(id, _)| self.wants_target(**id, &[]));
        let unplaced = first(unplaced, limit, &mut matching.unplaced);
        let oversized = self.plan.oversized.iter().map(|id| (*id, self.holders(*id)));
        let oversized = oversized.filter(|(id, shards)| self.wants_target(*id, shards));
        let oversized = first(oversized, limit, &mut matching.oversized);
        let suspects = self.plan.memory.suspects.iter().map(|(id, suspect)| (*id, suspect, self.holders(*id)));
        let suspects = suspects.filter(|(id, _, shards)| self.wants_target(*id, shards));
        let suspects = first(suspects, limit, &mut matching.suspects);
        ReplicaPlanView {
            id: self.view.id.clone(),
            totals: Totals::of_replica(self.targets.world, self.view, self.plan),
            matching,
            changes: changes.into_iter().map(|change| self.change(change)).collect(),
            unplaced: unplaced.into_iter().map(|(&id, &why)| self.unplaced(id, why)).collect(),
            oversized: oversized.into_iter().map(|(id, shards)| self.oversized(id, &shards)).collect(),
            suspects: suspects
                .into_iter()
                .map(|(target, suspect, shards)| SuspectView {
                    target,
                    name: self.name(target, &shards),
                    since: suspect.since.to_string(),
                    why: suspect.why,
                    text: suspicion_in_words(suspect.why, "its shard"),
                    shards: self.shard_names(&shards),
                })
                .collect(),
        }
    }

    fn wants_change(&self, change: &Change) -> bool {
        let kinds = &self.query.kinds;
        if !kinds.is_empty() && !kinds.iter().any(|kind| kind == change.kind()) {
            return false;
        }
        let shards: Vec<Ordinal> = shards_of(change).into_iter().flatten().collect();
        match target_of(change) {
            Some(target) => self.wants_target(target, &shards),
            None => self.query.jobs.is_empty() && self.query.shards.is_empty(),
        }
    }

    /// Whether a target on these shards is asked for.
    fn wants_target(&self, id: TargetId, shards: &[Ordinal]) -> bool {
        let wanted_shard = |ordinal: &Ordinal| self.query.shards.contains(&self.shard_name(*ordinal));
        if !self.query.shards.is_empty() && !shards.iter().any(wanted_shard) {
            return false;
        }
        self.query.jobs.is_empty()
            || self.targets.job_of(id, self.view, shards.iter().copied()).is_some_and(|job| {
                let is_gone = || !self.targets.world.jobs.contains_key(job);
                self.jobs.contains(job) || is_gone() && self.query.jobs.iter().any(|asked| asked.is_match(job.as_str()))
            })
    }

    /// The shards that are to have a target.
    fn holders(&self, id: TargetId) -> Vec<Ordinal> {
        let holds = |ordinal: &Ordinal| match self.plan.shards.get(ordinal) {
            Some(plan) if plan.put.contains_key(&id) => true,
            Some(plan) if plan.remove.contains(&id) => false,
            Some(_) | None => {
                let report = self.view.shards.get(ordinal).and_then(|shard| shard.report.last());
                report.is_some_and(|report| report.targets.contains_key(&id))
            }
        };
        self.view.shards.keys().filter(|ordinal| holds(ordinal)).copied().collect()
    }

    fn shard_name(&self, ordinal: Ordinal) -> String {
        self.view.shards.get(&ordinal).map_or_else(|| format!("shard {ordinal}"), |shard| shard.id.0.clone())
    }

    fn shard_names(&self, shards: &[Ordinal]) -> Vec<String> {
        shards.iter().map(|ordinal| self.shard_name(*ordinal)).collect()
    }

    fn name(&self, id: TargetId, shards: &[Ordinal]) -> TargetName {
        match self.targets.find(id, &self.view.id, shards.iter().copied()) {
            Some(target) => TargetName::from(target),
            None => {
                let job = self.targets.job_of(id, self.view, shards.iter().copied()).cloned();
                TargetName { job, ..TargetName::default() }
            }
        }
    }

    fn change(&self, change: &Change) -> ChangeView {
        let [from, to] = shards_of(change);
        let shards: Vec<Ordinal> = from.into_iter().chain(to).collect();
        ChangeView {
            change: change.clone(),
            name: target_of(change).map(|target| self.name(target, &shards)).unwrap_or_default(),
            from_shard: from.map(|ordinal| self.shard_name(ordinal)),
            to_shard: to.map(|ordinal| self.shard_name(ordinal)),
            text: change_in_words(change, &|ordinal| self.shard_name(ordinal)),
        }
    }

    fn unplaced(&self, target: TargetId, why: Unplaced) -> UnplacedView {
        UnplacedView { target, name: self.name(target, &[]), why, text: unplaced_in_words(why).to_owned() }
    }

    fn oversized(&self, target: TargetId, shards: &[Ordinal]) -> OversizedView {
        let world = self.targets.world;
        let measured = |ordinal: &Ordinal| {
            self.view
                .shards
                .get(ordinal)?
                .report
                .last()?
                .targets
                .get(&target)
                .and_then(|held| held.load.or(held.planned))
        };
        let probed = || match world.targets.get(&target)?.probed {
            KnownLoad::Measured(load) => Some(load),
            KnownLoad::Unknown | KnownLoad::ProbeFailed { .. } => None,
        };
        let load: Option<Load> = shards.iter().find_map(measured).or_else(probed);
        let interval = world.targets.get(&target).map(|listed| listed.interval.to_std());
        let cost = load.zip(interval).map(|(load, interval)| Cost::of(load, interval));
        OversizedView {
            target,
            name: self.name(target, shards),
            load,
            shards: self.shard_names(shards),
            text: oversized_in_words(cost, shards.is_empty()),
        }
    }
}

/// The first ones, and how many there are.
fn first<T>(all: impl Iterator<Item = T>, limit: usize, count: &mut u64) -> Vec<T> {
    let mut kept = Vec::new();
    for one in all {
        *count += 1;
        if kept.len() < limit {
            kept.push(one);
        }
    }
    kept
}
