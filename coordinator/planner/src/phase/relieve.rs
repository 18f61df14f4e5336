//! Relief: which targets leave a shard that is over its budget, and why those.
//!
//! As few as possible: the smallest whose leaving is enough, or else the largest that finds room. A target larger than
//! a whole budget stays, and the others leave it alone. The shard that is furthest over comes first.

use std::cmp::Reverse;

use narthex_common::load::Series;

use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, ShardIx, Wanting},
    reason::MoveReason,
};

pub(crate) fn relieve(draft: &mut Draft<'_>) {
    // A move needs to know all holders of its target.
    if draft.has_unread_shards() {
        return;
    }
    let mut over: Vec<ShardIx> = (0..draft.shards().len())
        .filter(|shard| {
            let shard = &draft.shards()[*shard];
            shard.reach.can_be_told() && !shard.staying.fits(shard.budget.relief())
        })
        .collect();
    over.sort_by_key(|shard| {
        let DraftShard { staying, budget, .. } = &draft.shards()[*shard];
        (Reverse(staying.share_of(budget.whole())), *shard)
    });
    for shard in over {
        relieve_shard(draft, shard);
    }
}

fn relieve_shard(draft: &mut Draft<'_>, from: ShardIx) {
    let stays = largest_oversized(draft, from);
    let fill = draft.shards()[from].budget.fill();
    let allowed = stays.map_or(fill, |target| draft.cost(target));
    let mut excess = draft.shards()[from].staying.minus(allowed);
    let why = if excess.series > Series::ZERO {
        MoveReason::OverMemory { by: excess.series }
    } else {
        MoveReason::OverWork { by: excess.work }
    };
    let mut candidates = candidates(draft, from, stays);
    while excess != Cost::ZERO {
        if draft.moves_left == 0 {
            return;
        }
        let Some((picked, to)) = pick(draft, &candidates, excess) else { break };
        let target = candidates.remove(picked);
        excess = excess.minus(draft.cost(target));
        draft.begin_move(target, from, to, why);
    }
    want_room(draft, &candidates, excess);
}

/// The largest target of a shard that is larger than a whole budget.
fn largest_oversized(draft: &Draft<'_>, shard: ShardIx) -> Option<TargetIx> {
    let budget = draft.shards()[shard].budget.whole();
    let targets = draft.targets_of(shard).into_iter().map(|(target, _)| target);
    let oversized = targets.filter(|target| draft.is_oversized(*target));
    oversized.max_by_key(|target| (draft.cost(*target).share_of(budget), Reverse(draft.id(*target))))
}

/// What may leave a shard, the smallest first.
fn candidates(draft: &Draft<'_>, shard: ShardIx, stays: Option<TargetIx>) -> Vec<TargetIx> {
    let budget = draft.shards()[shard].budget.whole();
    let targets = draft.targets_of(shard).into_iter();
    let mut candidates: Vec<TargetIx> = targets
        .filter(|(target, held)| Some(*target) != stays && draft.is_movable(*target, *held))
        .map(|(target, _)| target)
        .collect();
    candidates.sort_by_cached_key(|target| (draft.cost(*target).share_of(budget), draft.id(*target)));
    candidates
}

/// The next target to leave, by its position among the candidates, and where to.
fn pick(draft: &Draft<'_>, candidates: &[TargetIx], excess: Cost) -> Option<(usize, ShardIx)> {
    let with_shard = |(position, target): (usize, &TargetIx)| Some((position, draft.best_shard_for(*target)?));
    let suffices = |target: TargetIx| excess.fits(draft.cost(target));
    let enough = candidates.iter().enumerate().filter(|(_, target)| suffices(**target)).find_map(with_shard);
    enough.or_else(|| {
        let helps = |target: TargetIx| excess.minus(draft.cost(target)) != excess;
        candidates.iter().enumerate().rev().filter(|(_, target)| helps(**target)).find_map(with_shard)
    })
}

/// Asks for room for what would have to leave and cannot.
fn want_room(draft: &mut Draft<'_>, candidates: &[TargetIx], mut excess: Cost) {
    if let Some(&target) = candidates.iter().find(|target| excess.fits(draft.cost(**target))) {
        if excess != Cost::ZERO {
            draft.wanting.push(Wanting::Crowded(target));
        }
        return;
    }
    for &target in candidates.iter().rev() {
        if excess == Cost::ZERO {
            return;
        }
        let left = excess.minus(draft.cost(target));
        if left != excess {
            draft.wanting.push(Wanting::Crowded(target));
        }
        excess = left;
    }
}
