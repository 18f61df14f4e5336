//! Apart: targets that lost a second shard are spread, evenly, and, as long as there may be more shards, not more than
//! half of them on one. So every shard that is lost again halves those that may be guilty, and most often leaves one.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::shard::Ordinal;

use crate::{
    catalogue::TargetIx,
    draft::{Draft, Reach, ShardIx},
};

/// Keeps targets apart that lost a second shard.
pub(super) struct Apart {
    /// How many of them a shard has, of those that lost the same ones.
    on: BTreeMap<ShardIx, usize>,
    most: usize,
    /// Shards that had one more in this turn.
    passed_over: Vec<ShardIx>,
}

impl Apart {
    /// Of those that wait for a shard it is told which lost one each of them had.
    pub(super) fn of(draft: &Draft<'_>, waiting: impl Iterator<Item = Ordinal>) -> Self {
        let waiting: Vec<Ordinal> = waiting.collect();
        let from: BTreeSet<Ordinal> = waiting.iter().copied().collect();
        let mut on: BTreeMap<ShardIx, usize> = BTreeMap::new();
        let taken = draft.memory.taken_over.iter().filter(|(_, taken)| taken.times > 1 && from.contains(&taken.from));
        for target in taken.filter_map(|(id, _)| draft.place_of(*id)) {
            for holding in
                draft.holders(target).iter().filter(|holding| draft.shards()[holding.shard].reach != Reach::Lost)
            {
                *on.entry(holding.shard).or_default() += 1;
            }
        }
        let there = u32::try_from(draft.shards().len()).unwrap_or(u32::MAX);
        let may_grow = draft.view.scalable && draft.policy.max_shards.max(draft.wanted_shards) > there;
        let all = waiting.len() + on.values().sum::<usize>();
        Self { on, most: if may_grow { all.div_ceil(2) } else { usize::MAX }, passed_over: Vec::new() }
    }

    /// The best shard for the next one.
    pub(super) fn shard_for(&mut self, draft: &mut Draft<'_>, target: TargetIx) -> Option<ShardIx> {
        self.not_taken_enough(draft, target).or_else(|| {
            self.end(draft);
            self.not_taken_enough(draft, target)
        })
    }

    /// The best shard that was not passed over and has not half of all.
    fn not_taken_enough(&mut self, draft: &mut Draft<'_>, target: TargetIx) -> Option<ShardIx> {
        loop {
            let best = draft.best_shard_for(target)?;
            if self.on.get(&best).is_none_or(|on| *on < self.most) {
                return Some(best);
            }
            if self.passed_over.contains(&best) {
                // Only an empty one that is for an oversized target is found though it is passed over.
                return None;
            }
            self.pass_over(draft, best);
        }
    }

    /// Notes that a shard got one.
    pub(super) fn note(&mut self, draft: &mut Draft<'_>, shard: ShardIx) {
        *self.on.entry(shard).or_default() += 1;
        self.pass_over(draft, shard);
    }

    fn pass_over(&mut self, draft: &mut Draft<'_>, shard: ShardIx) {
        draft.pass_over(shard);
        self.passed_over.push(shard);
    }

    /// No longer passes any shard over.
    pub(super) fn end(&mut self, draft: &mut Draft<'_>) {
        draft.open_again(&std::mem::take(&mut self.passed_over));
    }
}
