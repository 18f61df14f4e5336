//! Place: targets that no shard holds get one, the largest first. What is held stays where it is.

use std::cmp::Reverse;

use crate::{
    catalogue::{Standing, TargetIx},
    draft::{Draft, Reach, Wanting},
    reason::Unplaced,
};

/// Places what has a known load and finds room.
pub(crate) fn place(draft: &mut Draft<'_>) {
    if draft.has_unread_shards() {
        leave_all_unplaced(draft, Unplaced::MaybeHeld);
        return;
    }
    let (unknown, mut known): (Vec<_>, Vec<_>) =
        homeless(draft).into_iter().partition(|target| draft.entry(*target).load_unknown);
    for target in unknown {
        draft.leave_unplaced(target, Unplaced::LoadUnknown);
    }
    let budget = draft.policy.budget(crate::world::OwnBudget::default()).fill();
    known.sort_by_cached_key(|target| (Reverse(draft.load(*target).share_of(budget)), *target));
    // The largest come first: those that are larger than a budget, which take the empty shards in order.
    let mut searched = 0;
    for target in known {
        let shard = if draft.is_oversized(target) {
            let empty = next_empty_shard(draft, searched);
            searched = empty.map_or(draft.shards().len(), |shard| shard + 1);
            empty
        } else {
            draft.best_shard_for(target)
        };
        match shard {
            Some(shard) => draft.place(target, shard),
            None => draft.wanting.push(Wanting::Homeless(target)),
        }
    }
}

/// Leaves every target that no shard holds without one.
pub(crate) fn leave_all_unplaced(draft: &mut Draft<'_>, why: Unplaced) {
    for target in homeless(draft) {
        draft.leave_unplaced(target, why);
    }
}

fn homeless(draft: &Draft<'_>) -> Vec<TargetIx> {
    draft
        .catalogue
        .iter()
        .filter(|(target, entry)| entry.standing == Standing::Listed && draft.number_of_holders(*target) == 0)
        .map(|(target, _)| target)
        .collect()
}

fn next_empty_shard(draft: &Draft<'_>, from: usize) -> Option<usize> {
    let is_empty = |shard: &usize| {
        let shard = &draft.shards()[*shard];
        shard.reach == Reach::Open && shard.targets.is_empty()
    };
    (from..draft.shards().len()).find(is_empty)
}
