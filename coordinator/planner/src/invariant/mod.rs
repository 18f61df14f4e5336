//! The invariants of `ARCHITECTURE.md` that one world and its plan show, as functions; the numbers are the list's.
//!
//! What takes two rounds to see is left to the property tests: that the same world gives the same plan (2), that a plan
//! once applied is followed by none (3), and that nothing comes back to where it was sent away from (6).

use std::collections::BTreeMap;

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, shard::Ordinal, target::TargetId};

use crate::{
    catalogue::{Catalogue, Standing},
    cost::Cost,
    plan::{Plan, ReplicaPlan},
    policy::Policy,
    world::{HeldTarget, ReplicaView, Seen, ShardReport, ShardView, World},
};

mod broken;

pub use broken::{Broken, Fault};

/// Everything about a plan that must not be.
#[must_use]
pub fn broken(world: &World, policy: &Policy, plan: &Plan) -> Vec<Broken> {
    let catalogue = Catalogue::of(world);
    let mut broken = Vec::new();
    for view in &world.replicas {
        let Some(plan) = plan.replicas.get(&view.id) else {
            broken.push(Broken { replica: view.id.clone(), fault: Fault::NotPlanned });
            continue;
        };
        let replica = Replica { world, policy, catalogue: &catalogue, view, plan, holders: holders(view, plan) };
        broken.extend(replica.faults().into_iter().map(|fault| Broken { replica: view.id.clone(), fault }));
    }
    broken
}

/// One replica, before and after.
struct Replica<'a> {
    world: &'a World,
    policy: &'a Policy,
    catalogue: &'a Catalogue,
    view: &'a ReplicaView,
    plan: &'a ReplicaPlan,
    holders: BTreeMap<TargetId, Holders<'a>>,
}

/// Who holds a target, by ordinal.
#[derive(Default)]
struct Holders<'a> {
    before: BTreeMap<Ordinal, (&'a HeldTarget, Silence)>,
    after: BTreeMap<Ordinal, TargetState>,
}

/// Whether a shard said in this round what it holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Silence {
    Silent,
    Answers,
}

impl Holders<'_> {
    fn is_held_normal_before(&self) -> bool {
        self.before.values().any(|(held, _)| held.state == TargetState::Normal)
    }

    /// Whether a shard that still owns the target has scraped it often enough for others to let go.
    fn has_proven_owner(&self) -> bool {
        self.after.iter().any(|(ordinal, state)| {
            *state == TargetState::Normal
                && self.before.get(ordinal).is_some_and(|(held, silence)| {
                    held.state == TargetState::Normal && held.scrapes >= SCRAPES_COUNTED && *silence == Silence::Answers
                })
        })
    }
}

fn holders<'a>(view: &'a ReplicaView, plan: &'a ReplicaPlan) -> BTreeMap<TargetId, Holders<'a>> {
    let mut holders: BTreeMap<TargetId, Holders<'a>> = BTreeMap::new();
    let outcome = plan.outcome(view);
    for (&ordinal, shard) in &view.shards {
        if let Some((report, silence)) = known(shard) {
            for (&id, held) in report.targets.iter() {
                let of_target = holders.entry(id).or_default();
                of_target.before.insert(ordinal, (held, silence));
            }
        }
        for (&id, &state) in outcome.get(&ordinal).into_iter().flatten() {
            holders.entry(id).or_default().after.insert(ordinal, state);
        }
    }
    holders
}

fn known(shard: &ShardView) -> Option<(&ShardReport, Silence)> {
    match &shard.report {
        Seen::Never => None,
        Seen::Stale { last, .. } => Some((last, Silence::Silent)),
        Seen::Fresh(report) => Some((report, Silence::Answers)),
    }
}

impl Replica<'_> {
    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.every_target_is_accounted_for(&mut faults);
        self.no_shard_is_brought_over_its_budget(&mut faults);
        self.a_target_is_held_as_moves_allow(&mut faults);
        self.only_shards_within_reach_are_told(&mut faults);
        self.nothing_begins_too_early(&mut faults);
        self.moves_are_bounded(&mut faults);
        self.the_number_of_shards_keeps_its_bounds(&mut faults);
        faults
    }

    /// 1: assigned, or listed as unplaced; not both.
    fn every_target_is_accounted_for(&self, faults: &mut Vec<Fault>) {
        for &target in self.world.targets.keys() {
            let assigned = self.holders.get(&target).is_some_and(|h| !h.after.is_empty());
            if assigned == self.plan.unplaced.contains_key(&target) {
                faults.push(Fault::Unaccounted { target });
            }
        }
    }

    /// 4: whoever gets a target has room for it, or nothing else.
    fn no_shard_is_brought_over_its_budget(&self, faults: &mut Vec<Fault>) {
        let outcome = self.plan.outcome(self.view);
        for (&shard, told) in &self.plan.shards {
            let gains = told.put.keys().any(|target| !self.holders[target].before.contains_key(&shard));
            let Some(targets) = outcome.get(&shard) else { continue };
            let load: Cost = targets.keys().filter_map(|target| self.load(*target)).sum();
            if gains && targets.len() > 1 && !load.fits(self.policy.budget(self.view.shards[&shard].budget).fill()) {
                faults.push(Fault::OverBudget { shard });
            }
        }
    }

    /// 5, 10: a source lets go only after three scrapes elsewhere, and nothing is forgotten before its job has
    /// answered; two shards hold a target only during a move, and one of them owns it.
    fn a_target_is_held_as_moves_allow(&self, faults: &mut Vec<Fault>) {
        for (&target, holders) in &self.holders {
            if self.is_gone(target) {
                continue;
            }
            for (&shard, (held, _)) in &holders.before {
                let released = !holders.after.contains_key(&shard);
                if released && (held.state == TargetState::Normal || !holders.has_proven_owner()) {
                    faults.push(Fault::LetGoTooEarly { target, shard });
                }
            }
            let (before, after) = (holders.before.len(), holders.after.len());
            if after > before.max(2) || after > before + 1 {
                faults.push(Fault::ScrapedByTooMany { target });
            }
            let owners = |shard: &Ordinal| holders.after.get(shard) == Some(&TargetState::Normal);
            let within_reach = |view: &ShardView| matches!(&view.report, Seen::Fresh(report) if report.config_matches);
            let told = self.view.shards.iter().filter(|(_, view)| within_reach(view));
            if told.filter(|(shard, _)| owners(shard)).count() > 1 {
                faults.push(Fault::OwnedTwice { target });
            }
            let is_owned = holders.after.values().any(|state| *state == TargetState::Normal);
            if !is_owned && (holders.is_held_normal_before() || before == 0) {
                faults.push(Fault::OwnedByNobody { target });
            }
        }
    }

    /// 7, 9: a shard is told something if, and only if, it answers and runs the coordinator's config.
    fn only_shards_within_reach_are_told(&self, faults: &mut Vec<Fault>) {
        for (&shard, view) in &self.view.shards {
            let within_reach = matches!(&view.report, Seen::Fresh(report) if report.config_matches);
            if !within_reach && self.plan.shards.contains_key(&shard) {
                faults.push(Fault::OutOfReach { shard });
            }
        }
    }

    /// 7: while a shard may hold anything, or the minimum is not there, nobody gets anything.
    fn nothing_begins_too_early(&self, faults: &mut Vec<Fault>) {
        let now = self.world.now;
        let is_unread = |shard: &ShardView| {
            matches!(shard.report, Seen::Never)
                && shard.found_at_start.is_some_and(|found| now.since(found) < self.policy.max_silence)
        };
        let too_early = self.view.shards.values().any(is_unread)
            || self.view.shards.len() < usize::try_from(self.policy.min_shards).unwrap_or(usize::MAX);
        let gained = |h: &Holders<'_>| h.after.keys().any(|shard| !h.before.contains_key(shard));
        if too_early && let Some((&target, _)) = self.holders.iter().find(|(_, holders)| gained(holders)) {
            faults.push(Fault::TooEarly { target });
        }
    }

    /// 8.
    fn moves_are_bounded(&self, faults: &mut Vec<Fault>) {
        let begins = |h: &&Holders<'_>| !h.before.is_empty() && h.after.len() > h.before.len();
        let moves = self.holders.values().filter(begins).count();
        if moves > usize::try_from(self.policy.max_moves).unwrap_or(usize::MAX) {
            faults.push(Fault::TooManyMoves { moves });
        }
    }

    /// 11, and its counterpart.
    fn the_number_of_shards_keeps_its_bounds(&self, faults: &mut Vec<Fault>) {
        let (from, to) = (self.view.wanted_shards, self.plan.wanted_shards);
        if from != to && !self.view.scalable {
            faults.push(Fault::CannotScale);
        }
        if to > from && to > self.policy.max_shards || to < from && to < self.policy.min_shards {
            faults.push(Fault::OutOfBounds { to });
        }
        for ordinal in (to..from).map(Ordinal) {
            let may_go = match self.view.shards.get(&ordinal) {
                // It is not there yet: asking for fewer is no loss, when there were to be too many.
                None => ordinal.0 >= self.policy.max_shards,
                Some(view) => self.was_idle_long_enough(view),
            };
            if !may_go {
                faults.push(Fault::RemovedTooEarly { shard: ordinal });
            }
        }
    }

    fn was_idle_long_enough(&self, shard: &ShardView) -> bool {
        matches!(&shard.report, Seen::Fresh(report) if report.targets.is_empty()
        && report.idle_since.is_some_and(|since| {
            self.policy.max_idle_time.is_some_and(|time| self.world.now.since(since) >= time)
        }))
    }

    fn load(&self, target: TargetId) -> Option<Cost> {
        Some(self.catalogue.cost(self.catalogue.place_of(target)?))
    }

    fn is_gone(&self, target: TargetId) -> bool {
        let standing = self.catalogue.place_of(target).map(|place| self.catalogue.standing(place));
        standing == Some(Standing::Gone)
    }
}
