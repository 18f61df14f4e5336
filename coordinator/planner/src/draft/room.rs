//! Room: where there is none, and shards that are passed over for a while.

use std::collections::BTreeMap;

use super::{Draft, ShardIx, room_and_fit};
use crate::{catalogue::TargetIx, cost::Cost, fit::Fit};

impl Draft<'_> {
    /// Passes a shard over when the best one for a target is looked for, until it is opened again or gets a target.
    pub(crate) fn pass_over(&mut self, shard: ShardIx) {
        self.rooms.set(shard, None);
    }

    /// No longer passes shards over.
    pub(crate) fn open_again(&mut self, shards: &[ShardIx]) {
        for &shard in shards {
            self.rooms.set(shard, room_and_fit(&self.shards[shard], self.aim));
        }
    }

    /// Those of some targets that would find no room, were one after the other placed.
    pub(crate) fn without_room(&self, targets: impl Iterator<Item = TargetIx>) -> Vec<TargetIx> {
        let mut rooms = self.rooms.clone();
        let mut taken: BTreeMap<ShardIx, Cost> = BTreeMap::new();
        let mut finds_room = |target: TargetIx| {
            let cost = self.cost(target);
            let Some(place) = rooms.best_for(cost) else { return false };
            let taken = taken.entry(place).or_default();
            *taken = taken.plus(cost);
            let shard = &self.shards[place];
            let left = shard.room().map(|room| room.minus(*taken));
            rooms.set(place, left.map(|left| (left, Fit::of(self.aim, shard.ordinal, left, shard.budget.fill()))));
            true
        };
        targets.filter(|target| !finds_room(*target)).collect()
    }
}
