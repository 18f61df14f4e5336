//! Place: targets that no shard holds get one, the largest first. What is held stays where it is.

use std::cmp::Reverse;

use crate::{
    catalogue::{Basis, Listing, TargetIx},
    draft::{Draft, Homeless, ShardIx, TwinSays, Wanting},
    policy::Placement,
    reason::{PlaceReason, Unplaced},
};

/// Places what has waited for its load for long enough and finds room.
pub(crate) fn place(draft: &mut Draft<'_>) {
    if draft.has_unread_shards() {
        leave_all_unplaced(draft, Unplaced::MaybeHeld);
        return;
    }
    let mut homeless = draft.homeless();
    if draft.policy.placement == Placement::Mirrored {
        homeless = place_beside_twins(draft, homeless);
    }
    for waiting in homeless.extract_if(.., |homeless| waits_for_its_probe(draft, homeless.target)).collect::<Vec<_>>() {
        draft.leave_unplaced(waiting.target, Unplaced::LoadUnknown);
    }
    sort(&mut homeless);
    let mut empty_from = 0;
    for homeless in homeless {
        match shard_for(draft, homeless, &mut empty_from) {
            Some((shard, why)) => draft.house(homeless, shard, why),
            None => draft.wanting.push(Wanting::Homeless(homeless.target)),
        }
    }
}

/// Places what other replicas scrape already where they do, if there is room; returns what is
/// left to be placed.
fn place_beside_twins(draft: &mut Draft<'_>, homeless: Vec<Homeless>) -> Vec<Homeless> {
    let (mut scraped, mut left): (Vec<_>, Vec<_>) = homeless.into_iter().partition(|homeless| {
        draft.twins_of(homeless.target) != TwinSays::Nothing && !draft.is_suspect(homeless.target)
    });
    sort(&mut scraped);
    for homeless in scraped {
        match draft.twins_of(homeless.target) {
            TwinSays::Here(shard) if draft.has_room_for(homeless.target, shard) => {
                draft.house(homeless, shard, PlaceReason::Mirrored);
            }
            TwinSays::Wait => draft.leave_unplaced(homeless.target, Unplaced::WaitingForMirror),
            TwinSays::Here(_) | TwinSays::Nothing => left.push(homeless),
        }
    }
    left
}

/// Leaves every target that no shard holds without one.
pub(crate) fn leave_all_unplaced(draft: &mut Draft<'_>, why: Unplaced) {
    for homeless in draft.homeless() {
        draft.leave_unplaced(homeless.target, why);
    }
}

/// Whether a probe may still tell what a target weighs, or nobody can say yet what it may weigh.
fn waits_for_its_probe(draft: &Draft<'_>, target: TargetIx) -> bool {
    match draft.catalogue().listing(target) {
        Listing::Probed(_) | Listing::ProbeFailed | Listing::Unlisted => false,
        Listing::NotProbed => match draft.catalogue().basis(target) {
            Basis::Measured | Basis::Planned => false,
            Basis::Nothing => true,
            Basis::Estimated => {
                let since = draft.world.targets.get(&draft.id(target)).map(|view| view.since);
                since.is_some_and(|since| draft.world.now.since(since) < draft.policy.max_probe_wait)
            }
        },
    }
}

/// Sorts targets so that the largest come first.
pub(super) fn sort(homeless: &mut [Homeless]) {
    homeless.sort_unstable_by_key(|homeless| (Reverse(homeless.share), homeless.id));
}

/// Where a target goes, and why there. The largest come first: those that are larger than a shard may be filled take
/// the empty shards in order.
fn shard_for(draft: &mut Draft<'_>, homeless: Homeless, empty_from: &mut ShardIx) -> Option<(ShardIx, PlaceReason)> {
    let Homeless { target, cost, .. } = homeless;
    if draft.is_suspect(target) {
        return Some((draft.empty_shard_for_suspect(None, target)?, PlaceReason::Isolated));
    }
    if !draft.exceeds_every_shard(cost) {
        return Some((draft.best_shard_with_room(cost)?, draft.by_aim()));
    }
    draft.note_oversized(target);
    let empty = draft.next_empty_shard(*empty_from);
    *empty_from = empty.map_or(draft.shards().len(), |shard| shard + 1);
    Some((empty?, PlaceReason::Oversized))
}
