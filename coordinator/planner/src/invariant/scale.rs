//! Whether the number of shards may become what it is to become.

use narthex_common::shard::Ordinal;

use super::{Fault, Replica, shards::Shard};

impl Replica<'_> {
    /// 11, and its counterpart.
    pub(super) fn the_number_of_shards_keeps_its_bounds(&self, faults: &mut Vec<Fault>) {
        let (from, to) = (self.view.wanted_shards, self.plan.wanted_shards);
        if from != to && !self.view.scalable {
            faults.push(Fault::CannotScale);
        }
        if to > from && to > self.policy.max_shards || to < from && to < self.policy.min_shards {
            faults.push(Fault::OutOfBounds { to });
        }
        if to >= from {
            return;
        }
        let mut there = 0;
        for (&ordinal, _) in self.view.shards.range(Ordinal(to)..Ordinal(from)) {
            there += u32::from(ordinal.0 < self.policy.max_shards);
            let shard = self.position(ordinal).map(|position| &self.shards[position]);
            if !shard.is_some_and(|shard| self.was_idle_long_enough(shard)) {
                faults.push(Fault::RemovedTooEarly { shard: ordinal });
            }
        }
        // Shards that are not there yet may be given up only when there were to be too many.
        if from.min(self.policy.max_shards).saturating_sub(to) > there {
            faults.push(Fault::RemovedTooEarly { shard: Ordinal(to) });
        }
    }

    fn was_idle_long_enough(&self, shard: &Shard<'_>) -> bool {
        shard.gained == 0
            && shard.within_reach().is_some_and(|report| {
                let idle = report.idle_since.map(|since| self.world.now.since(since));
                report.targets.is_empty() && self.policy.max_idle_time.is_some_and(|time| idle >= Some(time))
            })
    }
}
