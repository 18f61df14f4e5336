//! Which targets moved lately, so that none is sent to and fro.

use std::time::Duration;

use narthex_common::target::TargetId;

use super::{Draft, ShardIx};
use crate::{catalogue::TargetIx, memory::Moved, reason::GiveBackReason};

/// A move that was given up is not tried again within this time. Whatever keeps a shard from scraping a target for
/// minutes, a rule in a firewall or a route, is seldom mended sooner.
const GIVEN_UP_LATELY: Duration = Duration::from_secs(30 * 60);

impl Draft<'_> {
    /// Whether a target has moved to where it is not long ago.
    pub(crate) fn has_moved_lately(&self, target: TargetIx) -> bool {
        self.last_move(target)
            .is_some_and(|moved| !moved.given_up && self.world.now.since(moved.at) < self.policy.min_stay)
    }

    /// The shard that a target could not be moved to not long ago.
    pub(crate) fn could_not_move_to(&self, target: TargetIx) -> Option<ShardIx> {
        let moved = self.last_move(target)?;
        let counts = moved.given_up && self.world.now.since(moved.at) < GIVEN_UP_LATELY;
        if counts { self.shards.iter().position(|shard| shard.ordinal == moved.to) } else { None }
    }

    fn last_move(&self, target: TargetIx) -> Option<&Moved> {
        if self.memory.moved.is_empty() { None } else { self.memory.moved.get(&self.id(target)) }
    }

    pub(super) fn note_move(&mut self, target: TargetIx, to: ShardIx) {
        let moved = Moved { at: self.world.now, to: self.shards[to].ordinal, given_up: false };
        self.memory.moved.insert(self.id(target), moved);
    }

    /// A destination that is silent, or has lost the target with its disk, is not to blame once it is back.
    pub(super) fn note_given_up(&mut self, target: TargetIx, why: GiveBackReason) {
        let (id, now) = (self.id(target), self.world.now);
        let Some(moved) = self.memory.moved.get_mut(&id) else { return };
        match why {
            GiveBackReason::TookTooLong => (moved.at, moved.given_up) = (now, true),
            GiveBackReason::NotThere | GiveBackReason::DestinationSilent => drop(self.memory.moved.remove(&id)),
        }
    }

    /// Forgets moves that no longer count. Only when others are noted: rounds without moves cost nothing.
    pub(super) fn forget_old_moves(&mut self) {
        if self.moves_left == self.policy.max_moves {
            return;
        }
        let (now, lately) = (self.world.now, self.policy.min_stay.max(GIVEN_UP_LATELY));
        let is_old = |(id, moved): (&TargetId, &Moved)| (now.since(moved.at) >= lately).then_some(*id);
        let old: Vec<TargetId> = self.memory.moved.iter().filter_map(is_old).collect();
        for id in old {
            self.memory.moved.remove(&id);
        }
    }
}
