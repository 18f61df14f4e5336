//! Drain: the highest shard that holds anything is emptied, when all it holds fits on lower ones with room to spare, so
//! that it becomes idle and can go.
//!
//! It is the last thing to do: only when every shard answers, nothing waits for room, and no shard is over its budget.

use std::cmp::Reverse;

use narthex_common::assignment::TargetState;

use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, Reach, ShardIx},
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

fn is_at_rest(draft: &Draft<'_>) -> bool {
    let answers = |reach: Reach| matches!(reach, Reach::Open | Reach::Full);
    draft.wanting.is_empty()
        && draft.unplaced().is_empty()
        && usize::try_from(draft.wanted_shards).is_ok_and(|wanted| wanted == draft.shards().len())
        && draft.shards().iter().all(|shard| answers(shard.reach) && shard.staying.fits(shard.budget.relief()))
}

/// Where everything that a shard owns would go; none if some of it cannot.
fn destinations(draft: &Draft<'_>, from: ShardIx) -> Option<Vec<(TargetIx, ShardIx)>> {
    let budget = draft.shards()[from].budget.whole();
    let within = |shard: &DraftShard<'_>| shard.room_within(shard.budget.with_reserve());
    let mut free: Vec<Option<Cost>> = draft.shards()[..from].iter().map(within).collect();
    let fit = |shard: ShardIx, room: Cost| {
        let DraftShard { ordinal, budget, .. } = &draft.shards()[shard];
        (room, Fit::of(draft.aim, *ordinal, room, budget.with_reserve()))
    };
    let mut rooms = Rooms::default();
    for (shard, room) in free.iter().enumerate() {
        rooms.push(room.map(|room| fit(shard, room)));
    }
    let owned = draft.targets_of(from).into_iter().filter(|(_, held)| held.state == TargetState::Normal);
    let mut owned: Vec<TargetIx> =
        owned.map(|(target, held)| draft.is_movable(target, held).then_some(target)).collect::<Option<_>>()?;
    owned.sort_by_cached_key(|target| (Reverse(draft.cost(*target).share_of(budget)), draft.id(*target)));
    let mut destinations = Vec::with_capacity(owned.len());
    for target in owned {
        let to = rooms.best_for(draft.cost(target))?;
        free[to] = free[to].map(|room| room.minus(draft.cost(target)));
        rooms.set(to, free[to].map(|room| fit(to, room)));
        destinations.push((target, to));
    }
    Some(destinations)
}
