//! Mirror: a replica that follows the first one. It has every target at the ordinal where the first has it, or gets it in
//! this round; what it decides by itself is only how to get there.
//!
//! A shard takes what it is to mirror up to the line where relief would begin, not only up to where others fill it, so
//! that full shards can exchange targets. Where that is not enough, a target makes way for another, to any shard that
//! has room, and goes on from there later. Nothing makes way twice for nothing: every time at least one target comes
//! home, and what is home stays.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{place, scale as scaling, suspect};
use crate::{
    catalogue::TargetIx,
    draft::{Draft, Reach, ShardIx},
    reason::{MoveReason, PlaceReason, ScaleReason, Unplaced},
};

/// A target that is not where it is to be, while the shard where it is to be has no room.
#[derive(Clone, Copy)]
struct Blocked {
    target: TargetIx,
    /// Where it is; none is nowhere.
    at: Option<ShardIx>,
    home: ShardIx,
}

/// From where to where a target is to move.
struct Way {
    target: TargetIx,
    at: ShardIx,
    home: ShardIx,
}

pub(crate) fn mirror(draft: &mut Draft<'_>, first: &Draft<'_>) {
    suspect::leave_to_the_first(draft);
    if draft.has_unread_shards() {
        place::leave_all_unplaced(draft, Unplaced::MaybeHeld);
        return;
    }
    if !is_readable(first) {
        place::leave_all_unplaced(draft, Unplaced::WaitingForMirror);
        return;
    }
    let mut blocked = place_as(draft, first);
    let moves_before = draft.moves_left;
    blocked.extend(move_as(draft, first));
    if draft.moves_left == moves_before && draft.unsettled().is_empty() {
        make_way(draft, &blocked);
    }
}

/// Asks for as many shards as the first replica does. Shards above that go when they are idle, as everywhere.
pub(crate) fn scale(draft: &mut Draft<'_>, first: &Draft<'_>) {
    if !draft.view.scalable {
        return;
    }
    scaling::keep_within_bounds(draft);
    let wanted = first.wanted_shards.min(draft.policy.max_shards);
    if wanted > draft.wanted_shards {
        draft.scale(wanted, ScaleReason::Mirrored);
    } else if is_readable(first) && draft.unplaced().is_empty() {
        scaling::remove_idle_shards(draft, wanted.max(draft.policy.min_shards));
    }
}

/// Whether anything is known of a replica. While nothing is, those that mirror it keep what they have.
fn is_readable(first: &Draft<'_>) -> bool {
    first.shards().iter().any(|shard| shard.said.is_some())
}

/// The shard on which a target is to be: that of the ordinal where the first replica has it.
fn home(draft: &Draft<'_>, first: &Draft<'_>, target: TargetIx) -> Option<ShardIx> {
    draft.shard_at(first.owner(target)?)
}

/// Places what no shard holds; returns what finds no room.
fn place_as(draft: &mut Draft<'_>, first: &Draft<'_>) -> Vec<Blocked> {
    let mut blocked = Vec::new();
    let mut homeless = draft.homeless();
    place::sort(&mut homeless);
    let waits_in_first: BTreeMap<TargetIx, Unplaced> =
        if homeless.is_empty() { BTreeMap::new() } else { first.unplaced().iter().copied().collect() };
    for homeless in homeless {
        let target = homeless.target;
        match home(draft, first, target).filter(|home| draft.shards()[*home].reach == Reach::Open) {
            Some(home) if takes(draft, home, target) => {
                if draft.is_oversized(target) {
                    draft.note_oversized(target);
                }
                draft.house(homeless, home, PlaceReason::Mirrored);
            }
            home => {
                blocked.extend(home.map(|home| Blocked { target, at: None, home }));
                let why =
                    if home.is_some() { Unplaced::WaitingForMirror } else { why_nowhere(waits_in_first.get(&target)) };
                draft.leave_unplaced(target, why);
            }
        }
    }
    blocked
}

/// Why a target waits that the first replica has on no shard yet: what passes by itself there, and soon, does so here.
fn why_nowhere(in_first: Option<&Unplaced>) -> Unplaced {
    match in_first {
        Some(why @ (Unplaced::LoadUnknown | Unplaced::WaitingForShards)) => *why,
        None
        | Some(
            Unplaced::MaybeHeld
            | Unplaced::ShardLimit
            | Unplaced::CannotScale
            | Unplaced::BelowMinimum
            | Unplaced::WaitingForMirror
            | Unplaced::ShardLost
            | Unplaced::Suspected,
        ) => Unplaced::WaitingForMirror,
    }
}

/// Begins to move what is elsewhere than in the first replica; returns what finds no room.
fn move_as(draft: &mut Draft<'_>, first: &Draft<'_>) -> Vec<Blocked> {
    let differing: BTreeSet<TargetIx> = draft.catalogue().apart().iter().copied().chain(first.changed()).collect();
    let mut astray: Vec<Way> = differing.into_iter().filter_map(|target| way_home(draft, first, target)).collect();
    let budget = draft.policy.usual_budget().whole();
    astray.sort_by_cached_key(|way| (Reverse(draft.cost(way.target).share_of(budget)), draft.id(way.target)));
    let mut blocked = Vec::new();
    let mut takeovers_left = draft.policy.max_takeovers;
    for Way { target, at, home } in astray {
        let at_reach = draft.shards()[at].reach;
        let fits = takes(draft, home, target);
        if at_reach.can_be_told() {
            match draft.moves_left {
                _ if !fits => blocked.push(Blocked { target, at: Some(at), home }),
                0 => {}
                _ => draft.begin_move(target, at, home, MoveReason::Mirrored),
            }
        } else if at_reach == Reach::Lost && fits && takeovers_left > 0 {
            takeovers_left -= 1;
            draft.place(target, home, PlaceReason::TakenOver { from: draft.shards()[at].ordinal });
        }
    }
    blocked
}

/// The way of a target that is to be elsewhere, and may go there.
fn way_home(draft: &Draft<'_>, first: &Draft<'_>, target: TargetIx) -> Option<Way> {
    let home = home(draft, first, target)?;
    let holders = draft.holders(target);
    let [only] = holders[..] else { return None };
    let may_go = only.shard != home
        && draft.shards()[home].reach == Reach::Open
        && draft.is_movable(target, only.held)
        && draft.could_not_move_to(target) != Some(home);
    may_go.then_some(Way { target, at: only.shard, home })
}

/// Whether a shard takes a target that it is to mirror: up to where relief would begin; one that is larger alone.
fn takes(draft: &Draft<'_>, shard: ShardIx, target: TargetIx) -> bool {
    let shard = &draft.shards()[shard];
    let carried = shard.staying.plus(shard.leaving).plus(draft.cost(target));
    shard.reach == Reach::Open && (shard.targets == 0 || carried.fits(shard.budget.relief()))
}

/// Nothing moves any more, and targets block each other: one that is astray leaves a shard on which another one then
/// finds room, to any shard that has room for it.
fn make_way(draft: &mut Draft<'_>, blocked: &[Blocked]) {
    // By shard, the smallest target that waits to get there.
    let mut waiting: BTreeMap<ShardIx, TargetIx> = BTreeMap::new();
    for blocked in blocked {
        let size = |target: TargetIx| draft.cost(target).share_of(draft.shards()[blocked.home].budget.whole());
        let smallest = waiting.entry(blocked.home).or_insert(blocked.target);
        if size(blocked.target) < size(*smallest) {
            *smallest = blocked.target;
        }
    }
    for leaver in blocked {
        let Some(at) = leaver.at else { continue };
        let Some(&other) = waiting.get(&at) else { continue };
        let shard = &draft.shards()[at];
        let left = shard.staying.plus(shard.leaving).minus(draft.cost(leaver.target));
        let helps = shard.targets == 1 || left.plus(draft.cost(other)).fits(shard.budget.relief());
        let to = draft.best_shard_but(Some(at), leaver.target);
        if let Some(to) = to.filter(|_| helps) {
            draft.begin_move(leaver.target, at, to, MoveReason::MakesWay);
            return;
        }
    }
}
