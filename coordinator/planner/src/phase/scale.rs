//! Scale: how many shards there are to be. As many more as what wants room needs, at once, counting the room of shards
//! that are still coming; fewer only from the top, and only what was idle for long enough.

use std::cmp::Reverse;

use narthex_common::{shard::Ordinal, time::Timestamp};

use super::{few_wait_for_their_probe, needs_relief};
use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, Reach, Wanting},
    fit::{Aim, Fit, Rooms},
    reason::{ScaleReason, Unplaced},
    world::Seen,
};

pub(crate) fn scale(draft: &mut Draft<'_>) {
    if draft.view.scalable {
        keep_within_bounds(draft);
    }
    let new = find_room(draft);
    if new > 0 {
        let homeless = draft.wanting.iter().filter(|wanting| matches!(wanting, Wanting::Homeless(_))).count();
        let why = if homeless > 0 {
            ScaleReason::Unplaced { targets: u64::try_from(homeless).unwrap_or(u64::MAX) }
        } else {
            ScaleReason::Overloaded
        };
        draft.scale(draft.wanted_shards.saturating_add(new), why);
    } else if draft.view.scalable && nobody_needs_an_idle_shard(draft) {
        remove_idle_shards(draft, draft.policy.min_shards);
    }
}

/// Whether nothing waits for room, and nothing will move that could not move yet: relief goes on for many rounds, where
/// many shards need it.
fn nobody_needs_an_idle_shard(draft: &Draft<'_>) -> bool {
    let relief_goes_on = || draft.policy.relief && draft.shards().iter().any(needs_relief);
    draft.wanting.is_empty() && few_wait_for_their_probe(draft) && !relief_goes_on()
}

pub(super) fn keep_within_bounds(draft: &mut Draft<'_>) {
    let there = u32::try_from(draft.shards().len()).unwrap_or(u32::MAX);
    if draft.wanted_shards < draft.policy.min_shards {
        draft.scale(draft.policy.min_shards, ScaleReason::Minimum);
    }
    let most = draft.policy.max_shards.max(there);
    if draft.wanted_shards > most {
        draft.scale(most, ScaleReason::Maximum);
    }
}

/// Finds room, on shards that are coming and on as many new ones as are needed and allowed, for everything that wants
/// it; says of the homeless targets why they wait; returns the number of new shards.
fn find_room(draft: &mut Draft<'_>) -> u32 {
    if draft.wanting.is_empty() {
        return 0;
    }
    let allowed = if draft.view.scalable { draft.policy.max_shards.saturating_sub(draft.wanted_shards) } else { 0 };
    let mut coming = Coming::of(draft, allowed);
    let none_left = if draft.view.scalable { Unplaced::ShardLimit } else { Unplaced::CannotScale };
    for wanting in largest_first(draft) {
        let target = wanting.target();
        if has_a_shard_of_its_own(draft, target) {
            continue;
        }
        let why = if coming.take_in(draft, target) { Unplaced::WaitingForShards } else { none_left };
        if matches!(wanting, Wanting::Homeless(_)) {
            draft.leave_unplaced(target, why);
        }
    }
    coming.new
}

/// What wants room, the largest first: so it needs the fewest shards.
fn largest_first(draft: &Draft<'_>) -> Vec<Wanting> {
    let mut wanting = draft.wanting.clone();
    let budget = draft.policy.usual_budget().whole();
    wanting.sort_by_cached_key(|wanting| {
        let target = wanting.target();
        (Reverse(draft.cost(target).share_of(budget)), draft.id(target))
    });
    wanting
}

/// Whether a target is a suspect, and its shard holds nothing else.
fn has_a_shard_of_its_own(draft: &Draft<'_>, target: TargetIx) -> bool {
    let is_alone = |shard: &DraftShard<'_>| shard.targets == 1 && shard.reach != Reach::Lost;
    draft.is_suspect(target) && draft.holders(target).iter().any(|holding| is_alone(&draft.shards()[holding.shard]))
}

/// Shards that are on their way, or would be.
struct Coming {
    rooms: Rooms,
    free: Vec<Cost>,
    /// How many of them, counted from the first, have no target yet.
    empty: Vec<bool>,
    /// Where to look for the next empty one.
    searched: usize,
    /// How many of them nobody has asked for yet.
    new: u32,
    /// How many more may be asked for.
    allowed: u32,
    budget: Cost,
}

impl Coming {
    fn of(draft: &Draft<'_>, allowed: u32) -> Self {
        let budget = draft.policy.usual_budget().fill();
        let mut coming =
            Self { rooms: Rooms::default(), free: Vec::new(), empty: Vec::new(), searched: 0, new: 0, allowed, budget };
        let to_forget = draft.still_to_forget();
        let is_wanted = |ordinal: Ordinal| !draft.view.scalable || ordinal.0 < draft.wanted_shards;
        for (place, shard) in draft.shards().iter().enumerate().filter(|(_, shard)| is_wanted(shard.ordinal)) {
            let (cost, targets) = to_forget.get(&place).copied().unwrap_or_default();
            if let Some(room) = shard.room_to_come(cost) {
                coming.add(room, targets == shard.targets);
            }
        }
        let there = u32::try_from(draft.shards().len()).unwrap_or(u32::MAX);
        // However many were asked for, these targets can fill no more.
        for _ in (there..draft.wanted_shards).take(draft.wanting.len()) {
            coming.add(budget, true);
        }
        coming
    }

    fn add(&mut self, room: Cost, empty: bool) -> usize {
        let shard = self.free.len();
        self.free.push(room);
        self.empty.push(empty);
        self.rooms.push(Some((room, self.fit(shard))));
        shard
    }

    /// Whether there is, or may be made, room for a target.
    fn take_in(&mut self, draft: &Draft<'_>, target: TargetIx) -> bool {
        let load = draft.cost(target);
        let oversized = draft.is_oversized(target) || draft.is_suspect(target);
        let found = if oversized { self.next_empty() } else { self.rooms.best_for(load) };
        let Some(shard) = found.or_else(|| self.add_new_for(load, oversized)) else { return false };
        self.free[shard] = self.free[shard].minus(load);
        self.empty[shard] = false;
        let room = (!oversized).then(|| (self.free[shard], self.fit(shard)));
        self.rooms.set(shard, room);
        true
    }

    /// A new shard, where that is allowed and of use: a target that only some larger shard can take waits for that one.
    fn add_new_for(&mut self, load: Cost, oversized: bool) -> Option<usize> {
        if self.new == self.allowed || !oversized && !load.fits(self.budget) {
            return None;
        }
        self.new += 1;
        Some(self.add(self.budget, true))
    }

    fn next_empty(&mut self) -> Option<usize> {
        let found = (self.searched..self.empty.len()).find(|shard| self.empty[*shard]);
        self.searched = found.unwrap_or(self.empty.len());
        found
    }

    /// However targets are placed in the end: to know how few shards suffice, they are packed.
    fn fit(&self, shard: usize) -> Fit {
        Fit::of(Aim::Pack, Ordinal(u32::try_from(shard).unwrap_or(u32::MAX)), self.free[shard], self.budget)
    }
}

/// Takes shards away that were idle for long enough, from the top, down to a number.
pub(super) fn remove_idle_shards(draft: &mut Draft<'_>, least: u32) {
    let mut left = draft.wanted_shards;
    while left > least && is_idle_long_enough(draft, Ordinal(left - 1), draft.world.now) {
        left -= 1;
    }
    if left < draft.wanted_shards {
        draft.scale(left, ScaleReason::Idle);
    }
}

fn is_idle_long_enough(draft: &Draft<'_>, ordinal: Ordinal, now: Timestamp) -> bool {
    let Some(max_idle_time) = draft.policy.max_idle_time else { return false };
    let Some(shard) = draft.shards().iter().rfind(|shard| shard.ordinal == ordinal) else { return false };
    let report = match draft.view.shards.get(&ordinal).map(|view| &view.report) {
        Some(Seen::Fresh(report)) => report,
        Some(Seen::Never | Seen::Stale { .. }) | None => return false,
    };
    shard.reach.can_be_told()
        && shard.targets == 0
        && report.targets.is_empty()
        && report.idle_since.is_some_and(|since| now.since(since) >= max_idle_time)
}
