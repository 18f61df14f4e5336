//! Rebalance: shards within their budgets are evened out, where the user wants that.
//!
//! It begins when the fullest shard uses much more of its budget than the mean and ends at half of that difference. From
//! the fullest shard to the emptiest goes the largest target that leaves the source no emptier than the mean; it never
//! makes the destination the fuller of the two. What came not long ago stays. It is for replicas whose shards stay: the
//! policy refuses it together with packing into the lowest shards.

use std::collections::{BTreeMap, BTreeSet};

use super::is_at_rest;
use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, Reach, ShardIx},
    reason::MoveReason,
};

/// Of the moves that a round may begin, every second one: a target that moves is scraped and held twice for some
/// minutes, and relief, if the next round needs it, shall find room for its own.
const PART_OF_MOVES: u32 = 2;

/// So many shards are looked through in a round in vain: they are fuller than the others, and nothing they hold can go,
/// because it is too large or came not long ago. That does not change from one round to the next.
const MOST_IN_VAIN: usize = 8;

pub(crate) fn rebalance(draft: &mut Draft<'_>) {
    if !draft.policy.rebalance {
        draft.memory.rebalancing = false;
        return;
    }
    if !is_at_rest(draft) {
        return;
    }
    let Some(mut levels) = Levels::of(draft) else { return };
    draft.memory.rebalancing =
        levels.fullest() > if draft.memory.rebalancing { levels.ends_at } else { levels.begins_above };
    if !draft.memory.rebalancing {
        return;
    }
    let mut movable: BTreeMap<ShardIx, Vec<(TargetIx, Cost)>> = BTreeMap::new();
    let (mut moves, mut in_vain) = (draft.policy.max_moves.div_ceil(PART_OF_MOVES), 0);
    while moves > 0 && in_vain < MOST_IN_VAIN {
        let Some((from, to)) = levels.next() else { return };
        let targets = movable.entry(from).or_insert_with(|| what_may_leave(draft, from));
        if let Some(best) = best_to_move(draft, &levels, targets, from, to) {
            let (target, _) = targets.remove(best);
            draft.begin_move(target, from, to, MoveReason::Rebalance);
            levels.refresh(draft, from);
            levels.refresh(draft, to);
            moves -= 1;
        } else {
            levels.stuck.insert(from);
            in_vain += 1;
        }
    }
}

/// How full the shards are, in shares of their budgets, the emptiest first.
struct Levels {
    shards: BTreeSet<(u64, ShardIx)>,
    mean: u64,
    begins_above: u64,
    ends_at: u64,
    /// Shards that nothing can leave.
    stuck: BTreeSet<ShardIx>,
}

impl Levels {
    /// None of fewer than two shards.
    fn of(draft: &Draft<'_>) -> Option<Self> {
        let takes_part = |shard: &DraftShard<'_>| {
            let is_its_only_targets = shard.targets == 1 && !shard.staying.fits(shard.budget.fill());
            shard.reach == Reach::Open && !shard.is_kept_to_itself() && !is_its_only_targets
        };
        let shards: BTreeSet<(u64, ShardIx)> = (0..draft.shards().len())
            .filter(|shard| takes_part(&draft.shards()[*shard]))
            .map(|shard| (level(&draft.shards()[shard]), shard))
            .collect();
        if shards.len() < 2 {
            return None;
        }
        let count = u64::try_from(shards.len()).unwrap_or(u64::MAX);
        let mean = shards.iter().fold(0_u64, |sum, (level, _)| sum.saturating_add(*level)) / count;
        let threshold = mean.saturating_mul(u64::from(draft.policy.rebalance_threshold)) / 100;
        Some(Self {
            shards,
            mean,
            begins_above: mean.saturating_add(threshold),
            ends_at: mean.saturating_add(threshold / 2),
            stuck: BTreeSet::new(),
        })
    }

    fn fullest(&self) -> u64 {
        self.shards.last().map_or(0, |(level, _)| *level)
    }

    /// The fullest shard that is too full, and the emptiest.
    fn next(&self) -> Option<(ShardIx, ShardIx)> {
        let (level, from) = self.shards.iter().rev().find(|(_, shard)| !self.stuck.contains(shard))?;
        let (_, to) = self.shards.first()?;
        (*level > self.ends_at && from != to).then_some((*from, *to))
    }

    fn refresh(&mut self, draft: &Draft<'_>, shard: ShardIx) {
        self.shards.retain(|(_, other)| *other != shard);
        self.shards.insert((level(&draft.shards()[shard]), shard));
    }
}

fn level(shard: &DraftShard<'_>) -> u64 {
    shard.staying.share_of(shard.budget.whole())
}

/// What may leave a shard, the smallest first.
fn what_may_leave(draft: &Draft<'_>, shard: ShardIx) -> Vec<(TargetIx, Cost)> {
    let budget = draft.shards()[shard].budget.whole();
    let targets = draft.targets_of(shard).into_iter();
    let may_leave = |target: TargetIx| !draft.has_moved_lately(target) && draft.could_not_move_to(target).is_none();
    let mut targets: Vec<(TargetIx, Cost)> = targets
        .filter(|(target, held)| draft.is_movable(*target, *held) && may_leave(*target))
        .map(|(target, _)| (target, draft.cost(target)))
        .collect();
    targets.sort_by_cached_key(|(target, cost)| (cost.share_of(budget), draft.id(*target)));
    targets
}

/// The largest target that leaves its shard no emptier than the mean, or else the smallest; none that would make the
/// destination the fuller one of the two, or fuller than a shard is left.
fn best_to_move(
    draft: &Draft<'_>,
    levels: &Levels,
    targets: &[(TargetIx, Cost)],
    from: ShardIx,
    to: ShardIx,
) -> Option<usize> {
    let (source, destination) = (&draft.shards()[from], &draft.shards()[to]);
    let room = destination.room()?;
    let left = |cost: Cost| source.staying.minus(cost).share_of(source.budget.whole());
    let filled = |cost: Cost| destination.staying.plus(cost).share_of(destination.budget.whole());
    let evens_out = |cost: Cost| {
        let (left, filled) = (left(cost), filled(cost));
        cost.fits(room) && left < level(source) && filled <= left.min(levels.ends_at)
    };
    let leaves_enough = targets.iter().rposition(|(_, cost)| evens_out(*cost) && left(*cost) >= levels.mean);
    leaves_enough.or_else(|| targets.iter().position(|(_, cost)| evens_out(*cost)))
}
