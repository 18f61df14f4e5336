//! Drain: the highest shard that holds anything is emptied, when all it holds fits on lower ones with room to spare, so
//! that it becomes idle and can go.
//!
//! It is the last thing to do: only when every shard answers, nothing waits for room, and no shard is over its budget.

use std::cmp::Reverse;

use narthex_common::assignment::TargetState;

use super::is_at_rest;
use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, ShardIx},
    fit::{Fit, Rooms},
    reason::MoveReason,
};

pub(crate) fn drain(draft: &mut Draft<'_>) {
    if !draft.policy.scales_in() || !draft.view.scalable || !is_at_rest(draft) {
        return;
    }
    let Some(highest) = draft.shards().iter().rposition(|shard| shard.targets > 0) else { return };
    if draft.shards()[highest].ordinal.0 < draft.policy.min_shards.max(1) {
        return;
    }
    for (target, to) in destinations(draft, highest).unwrap_or_default() {
        if draft.moves_left == 0 {
            return;
        }
        draft.begin_move(target, highest, to, MoveReason::Drain);
    }
}

/// Where everything that a shard owns would go; none if some of it cannot, or came here not long ago: what relief sent
/// here goes back only when it has long been clear that there is room for it.
fn destinations(draft: &Draft<'_>, from: ShardIx) -> Option<Vec<(TargetIx, ShardIx)>> {
    let mut lower = Lower::than(draft, from);
    if !draft.shards()[from].staying.fits(lower.free.iter().flatten().copied().sum()) && !lower.has_empty_shards() {
        return None;
    }
    let stays = |target: TargetIx| draft.has_moved_lately(target) || draft.could_not_move_to(target).is_some();
    let owned = draft.targets_of(from).into_iter().filter(|(_, held)| held.state == TargetState::Normal);
    let mut owned: Vec<TargetIx> = owned
        .map(|(target, held)| (draft.is_movable(target, held) && !stays(target)).then_some(target))
        .collect::<Option<_>>()?;
    let budget = draft.shards()[from].budget.whole();
    owned.sort_by_cached_key(|target| (Reverse(draft.cost(*target).share_of(budget)), draft.id(*target)));
    owned.into_iter().map(|target| Some((target, lower.take_in(target)?))).collect()
}

/// The shards below the one that is drained, and what room they would have left.
struct Lower<'d, 'w> {
    draft: &'d Draft<'w>,
    free: Vec<Option<Cost>>,
    rooms: Rooms,
    /// Those that took nothing yet.
    empty: Vec<bool>,
}

impl<'d, 'w> Lower<'d, 'w> {
    fn than(draft: &'d Draft<'w>, highest: ShardIx) -> Self {
        let within = |shard: &DraftShard<'_>| shard.room_within(shard.budget.with_reserve());
        let shards = &draft.shards()[..highest];
        let free: Vec<Option<Cost>> = shards.iter().map(within).collect();
        let empty = shards.iter().zip(&free).map(|(shard, room)| shard.targets == 0 && room.is_some()).collect();
        let mut lower = Self { draft, free, rooms: Rooms::default(), empty };
        for shard in 0..highest {
            let room = lower.free[shard].map(|room| (room, lower.fit(shard, room)));
            lower.rooms.push(room);
        }
        lower
    }

    fn has_empty_shards(&self) -> bool {
        self.empty.contains(&true)
    }

    /// Where a target would go. One that needs a shard of its own gets one, if there is one.
    fn take_in(&mut self, target: TargetIx) -> Option<ShardIx> {
        let cost = self.draft.cost(target);
        let oversized = self.draft.is_oversized(target);
        let shares = !self.draft.is_suspect(target) && !oversized;
        let takes = |shard: &ShardIx| {
            self.empty[*shard] && (oversized || self.free[*shard].is_some_and(|room| cost.fits(room)))
        };
        let to = if shares { self.rooms.best_for(cost)? } else { (0..self.empty.len()).find(takes)? };
        self.empty[to] = false;
        self.free[to] = self.free[to].map(|room| room.minus(cost)).filter(|_| shares);
        let room = self.free[to].map(|room| (room, self.fit(to, room)));
        self.rooms.set(to, room);
        Some(to)
    }

    fn fit(&self, shard: ShardIx, room: Cost) -> Fit {
        let DraftShard { ordinal, budget, .. } = &self.draft.shards()[shard];
        Fit::of(self.draft.aim, *ordinal, room, budget.with_reserve())
    }
}
