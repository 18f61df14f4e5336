//! Place: targets that no shard holds get one, the largest first. What is held stays where it is.

use std::cmp::Reverse;

use crate::{
    catalogue::{Basis, TargetIx},
    draft::{Draft, ShardIx, Wanting},
    reason::{PlaceReason, Unplaced},
    world::KnownLoad,
};

/// Places what has waited for its load for long enough and finds room.
pub(crate) fn place(draft: &mut Draft<'_>) {
    if draft.has_unread_shards() {
        leave_all_unplaced(draft, Unplaced::MaybeHeld);
        return;
    }
    let (waiting, homeless): (Vec<_>, Vec<_>) =
        draft.homeless().into_iter().partition(|target| waits_for_its_probe(draft, *target));
    for target in waiting {
        draft.leave_unplaced(target, Unplaced::LoadUnknown);
    }
    let mut empty_from = 0;
    for target in largest_first(draft, homeless) {
        match shard_for(draft, target, &mut empty_from) {
            Some((shard, why)) => draft.place(target, shard, why),
            None => draft.wanting.push(Wanting::Homeless(target)),
        }
    }
}

/// Leaves every target that no shard holds without one.
pub(crate) fn leave_all_unplaced(draft: &mut Draft<'_>, why: Unplaced) {
    for target in draft.homeless() {
        draft.leave_unplaced(target, why);
    }
}

/// Whether a probe may still tell what a target weighs, or nobody can say yet what it may weigh.
fn waits_for_its_probe(draft: &Draft<'_>, target: TargetIx) -> bool {
    match draft.catalogue().listed(target) {
        Some(KnownLoad::Measured(_) | KnownLoad::ProbeFailed { .. }) | None => false,
        Some(KnownLoad::Unknown) => match draft.catalogue().basis(target) {
            Basis::Measured | Basis::Planned => false,
            Basis::Nothing => true,
            Basis::Estimated => {
                let since = draft.world.targets.get(&draft.id(target)).map(|view| view.since);
                since.is_some_and(|since| draft.world.now.since(since) < draft.policy.max_probe_wait)
            }
        },
    }
}

fn largest_first(draft: &Draft<'_>, targets: Vec<TargetIx>) -> Vec<TargetIx> {
    let budget = draft.policy.budget(crate::world::OwnBudget::default()).whole();
    let mut keyed: Vec<_> = targets
        .into_iter()
        .map(|target| (Reverse(draft.cost(target).share_of(budget)), draft.id(target), target))
        .collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, _, target)| target).collect()
}

/// Where a target goes, and why there. The largest come first: those that are larger than a shard may be filled take
/// the empty shards in order.
fn shard_for(draft: &mut Draft<'_>, target: TargetIx, empty_from: &mut ShardIx) -> Option<(ShardIx, PlaceReason)> {
    if draft.is_suspect(target) {
        return Some((draft.best_shard_for(target)?, PlaceReason::Isolated));
    }
    if !draft.is_oversized(target) {
        return Some((draft.best_shard_for(target)?, draft.by_aim()));
    }
    draft.note_oversized(target);
    let empty = draft.next_empty_shard(*empty_from);
    *empty_from = empty.map_or(draft.shards().len(), |shard| shard + 1);
    Some((empty?, PlaceReason::Oversized))
}
