//! What shards carry, before and after, and whether they may.

use narthex_common::{shard::Ordinal, target::TargetId};

use super::{Fault, Replica, targets::Tell};
use crate::{
    catalogue::Catalogue,
    cost::Cost,
    policy::{Budget, Placement, Policy},
    world::{Seen, ShardReport, ShardView, World},
};

/// A shard before and after.
pub(super) struct Shard<'a> {
    pub(super) ordinal: Ordinal,
    pub(super) view: &'a ShardView,
    pub(super) budget: Budget,
    /// Whether others may take over what it has.
    pub(super) lost: bool,
    /// The targets that it gets.
    pub(super) gained: usize,
    /// The targets that it is to hold.
    targets: usize,
    /// What it is to hold, added up.
    cost: Cost,
}

impl Shard<'_> {
    /// Its report, if it can be told anything.
    pub(super) fn within_reach(&self) -> Option<&ShardReport> {
        match &self.view.report {
            Seen::Fresh(report) if report.config_matches => Some(report),
            Seen::Fresh(_) | Seen::Stale { .. } | Seen::Never => None,
        }
    }
}

pub(super) fn of<'a>(world: &'a World, policy: &Policy, catalogue: &Catalogue, replica: usize) -> Vec<Shard<'a>> {
    let shards = world.replicas[replica].shards.iter().zip(catalogue.shards(replica));
    let before = |((&ordinal, view), sums): ((&Ordinal, &'a ShardView), &crate::catalogue::ShardSums)| Shard {
        ordinal,
        view,
        budget: policy.budget_in(world, ordinal, view),
        lost: match &view.report {
            Seen::Stale { at, .. } => policy.failover_after.is_some_and(|after| world.now.since(*at) >= after),
            Seen::Never | Seen::Fresh(_) => false,
        },
        gained: 0,
        targets: sums.targets,
        cost: sums.staying.plus(sums.leaving),
    };
    shards.map(before).collect()
}

impl Replica<'_> {
    pub(super) fn position(&self, ordinal: Ordinal) -> Option<usize> {
        self.shards.binary_search_by_key(&ordinal, |shard| shard.ordinal).ok()
    }

    pub(super) fn cost(&self, target: TargetId) -> Cost {
        self.catalogue.place_of(target).map_or(Cost::ZERO, |place| self.catalogue.cost(place))
    }

    /// Adds up what a shard is told of a target.
    pub(super) fn add_up(&mut self, target: TargetId, position: usize, tell: Tell, is_there: bool) {
        let cost = self.cost(target);
        let shard = &mut self.shards[position];
        match tell {
            Tell::Put(_) if !is_there => {
                shard.gained += 1;
                shard.targets += 1;
                shard.cost = shard.cost.plus(cost);
            }
            Tell::Remove if is_there => {
                shard.targets = shard.targets.saturating_sub(1);
                shard.cost = shard.cost.minus(cost);
            }
            Tell::Put(_) | Tell::Remove => {}
        }
    }

    /// 7, 9: a shard is told something only if it answers and runs the coordinator's config.
    pub(super) fn only_shards_within_reach_are_told(&self, faults: &mut Vec<Fault>) {
        for &ordinal in self.plan.shards.keys() {
            let shard = self.position(ordinal).map(|position| &self.shards[position]);
            if shard.is_none_or(|shard| shard.within_reach().is_none()) {
                faults.push(Fault::OutOfReach { shard: ordinal });
            }
        }
    }

    /// 4: whoever gets a target takes targets, and has room for it; or it has nothing else, and none has room. A mirror
    /// has what the first replica has, and goes up to where relief begins, so that full shards can exchange targets.
    pub(super) fn shards_carry_what_they_may(&self, faults: &mut Vec<Fault>) {
        for shard in self.shards.iter().filter(|shard| shard.gained > 0) {
            let is_going = self.view.scalable && shard.ordinal.0 >= self.view.wanted_shards;
            let is_open = shard.within_reach().is_some_and(|report| {
                report.ready && report.head_series.is_none_or(|head| head <= shard.budget.relief().series)
            });
            if is_going || !is_open {
                faults.push(Fault::Closed { shard: shard.ordinal });
            }
            let line = if self.is_mirror() { shard.budget.relief() } else { shard.budget.fill() };
            let may_exceed = self.is_mirror() || self.is_oversized(shard.cost);
            if !(shard.cost.fits(line) || shard.targets == 1 && may_exceed) {
                faults.push(Fault::OverBudget { shard: shard.ordinal });
            }
        }
        for &target in &self.plan.oversized {
            if !self.is_oversized(self.cost(target)) {
                faults.push(Fault::NotOversized { target });
            }
        }
    }

    /// Whether no shard that there is or could be may be filled so far.
    fn is_oversized(&self, cost: Cost) -> bool {
        let could_be = self.view.scalable || self.shards.is_empty();
        let fits_a_new_one = could_be && cost.fits(self.policy.usual_budget().fill());
        !fits_a_new_one && !self.shards.iter().any(|shard| cost.fits(shard.budget.fill()))
    }

    /// Whether the replica follows the first one.
    pub(super) fn is_mirror(&self) -> bool {
        self.policy.placement == Placement::Mirrored && self.place > 0
    }

    /// 4, of suspects: one that gets a shard gets it for itself, and nothing joins it. A mirror has what the first replica
    /// has, which isolates its own.
    pub(super) fn suspects_are_alone(&self, faults: &mut Vec<Fault>) {
        if self.is_mirror() {
            return;
        }
        for &target in self.plan.memory.suspects.keys() {
            for (position, _) in self.after(target) {
                let shard = &self.shards[position];
                if shard.gained > 0 && shard.targets > 1 {
                    faults.push(Fault::SuspectNotAlone { target, shard: shard.ordinal });
                }
            }
        }
    }
}
