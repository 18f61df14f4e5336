//! Verbs: all that phases may change of a draft. Each notes what it did, with its reason.

use narthex_common::assignment::TargetState;

use super::{Draft, Held, Holding, Homeless, ShardIx, room_and_fit};
use crate::{
    catalogue::TargetIx,
    memory::{Suspect, Suspicion},
    reason::{Change, GiveBackReason, MoveReason, PlaceReason, ScaleReason, Unplaced},
};

impl Draft<'_> {
    /// Gives a target that no shard holds, or only a lost one, to a shard.
    pub(crate) fn place(&mut self, target: TargetIx, to: ShardIx, why: PlaceReason) {
        self.put(target, to, Held { state: TargetState::Normal, scrapes: 0 });
        self.changes.push(Change::Place { target: self.id(target), to: self.shards[to].ordinal, why });
    }

    /// Gives a homeless target to a shard: the same, of which there may be a million in one round.
    pub(crate) fn house(&mut self, homeless: Homeless, to: ShardIx, why: PlaceReason) {
        let Homeless { target, id, cost, .. } = homeless;
        let held = Held { state: TargetState::Normal, scrapes: 0 };
        self.pencil.write(target, std::iter::once(Holding { shard: to, held }).collect());
        let shard = &mut self.shards[to];
        shard.put(cost, None, held.state);
        shard.gained.push(target);
        if let Some(suspect) = self.memory.suspects.get_mut(&id) {
            suspect.isolated_on = Some(shard.ordinal);
            shard.kept_to_itself = true;
        }
        self.changes.push(Change::Place { target: id, to: shard.ordinal, why });
        self.rooms.set(to, room_and_fit(&self.shards[to], self.aim));
    }

    /// Begins a move: the destination scrapes, and the source goes on.
    pub(crate) fn begin_move(&mut self, target: TargetIx, from: ShardIx, to: ShardIx, why: MoveReason) {
        self.put(target, to, Held { state: TargetState::Normal, scrapes: 0 });
        self.moves_left = self.moves_left.saturating_sub(1);
        self.note_move(target, to);
        self.hand_over(target, from, to, why);
    }

    /// Makes a shard hand a target over to one that scrapes it already.
    pub(crate) fn hand_over(&mut self, target: TargetIx, from: ShardIx, to: ShardIx, why: MoveReason) {
        self.set_state(target, from, TargetState::InTransfer);
        let (from, to) = (self.shards[from].ordinal, self.shards[to].ordinal);
        self.changes.push(Change::Move { target: self.id(target), from, to, why });
    }

    /// Ends a move: the source lets go.
    pub(crate) fn settle(&mut self, target: TargetIx, from: ShardIx) {
        self.take(target, from);
        self.changes.push(Change::Settle { target: self.id(target), from: self.shards[from].ordinal });
    }

    /// Gives a move up: the source owns the target again.
    pub(crate) fn give_back(&mut self, target: TargetIx, to: ShardIx, why: GiveBackReason) {
        self.note_given_up(target, why);
        self.set_state(target, to, TargetState::Normal);
        self.changes.push(Change::GiveBack { target: self.id(target), to: self.shards[to].ordinal, why });
    }

    /// Takes a target that is gone from a shard.
    pub(crate) fn forget(&mut self, target: TargetIx, from: ShardIx) {
        self.take(target, from);
        self.changes.push(Change::Forget { target: self.id(target), from: self.shards[from].ordinal });
    }

    /// Suspects a target of having killed its shard.
    pub(crate) fn suspect(&mut self, target: TargetIx, of_killing: ShardIx, why: Suspicion) {
        let suspect = Suspect { since: self.world.now, why, isolated_on: None, lives_since: None };
        if self.memory.suspects.insert(self.id(target), suspect).is_none() {
            let shard = self.shards[of_killing].ordinal;
            self.changes.push(Change::Suspect { target: self.id(target), shard, why });
        }
    }

    /// Leaves a target without a shard.
    pub(crate) fn leave_unplaced(&mut self, target: TargetIx, why: Unplaced) {
        self.unplaced.push((target, why));
    }

    /// Notes that a target is larger than a shard may be filled.
    pub(crate) fn note_oversized(&mut self, target: TargetIx) {
        self.oversized.insert(self.id(target));
    }

    /// Changes the number of shards.
    pub(crate) fn scale(&mut self, to: u32, why: ScaleReason) {
        self.changes.push(Change::Scale { from: self.wanted_shards, to, why });
        self.wanted_shards = to;
    }

    fn set_state(&mut self, target: TargetIx, shard: ShardIx, state: TargetState) {
        if let Some(held) = self.held(target, shard) {
            self.put(target, shard, Held { state, ..held });
        }
    }

    fn put(&mut self, target: TargetIx, shard: ShardIx, held: Held) {
        let cost = self.cost(target);
        let before = self.held(target, shard);
        let mut holders = self.holders(target);
        match holders.iter_mut().find(|holding| holding.shard == shard) {
            Some(holding) => holding.held = held,
            None => {
                holders.push(Holding { shard, held });
                self.shards[shard].gained.push(target);
                if let Some(suspect) = self.memory.suspects.get_mut(&self.catalogue.id(target)) {
                    suspect.isolated_on = Some(self.shards[shard].ordinal);
                }
            }
        }
        self.pencil.write(target, holders);
        self.shards[shard].put(cost, before.map(|held| held.state), held.state);
        self.refresh_room(target, shard);
    }

    fn take(&mut self, target: TargetIx, shard: ShardIx) {
        let Some(before) = self.held(target, shard) else { return };
        let mut holders = self.holders(target);
        holders.retain(|holding| holding.shard != shard);
        self.pencil.write(target, holders);
        let cost = self.cost(target);
        self.shards[shard].take(cost, before.state);
        self.refresh_room(target, shard);
    }

    fn refresh_room(&mut self, target: TargetIx, shard: ShardIx) {
        if self.is_suspect(target) {
            self.shards[shard].kept_to_itself = true;
        }
        self.rooms.set(shard, room_and_fit(&self.shards[shard], self.aim));
    }
}
