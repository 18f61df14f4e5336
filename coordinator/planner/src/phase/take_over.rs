//! Take over: others get what a lost shard had. A lost shard is told nothing: it keeps what it had in the books, and when
//! it returns, `settle` decides target by target whose it is.
//!
//! What a lost shard had goes where there is room, the largest first, and only so many targets a round; what finds none
//! asks for shards. Targets that lost a second shard go apart: whichever brings down its third is known then. Suspects
//! get a shard of their own, and only once: see `suspect`.
//!
//! A shard whose report is late is not lost, so that a rolling update sets nothing off.

use std::cmp::Reverse;

use narthex_common::{assignment::TargetState, shard::Ordinal};

use crate::{
    catalogue::{Standing, TargetIx},
    draft::{Draft, DraftShard, Holding, Reach, ShardIx, Wanting},
    memory::TakenOver,
    phase::{apart::Apart, suspect},
    reason::{PlaceReason, Unplaced},
    world::Seen,
};

pub(crate) fn take_over(draft: &mut Draft<'_>) {
    if draft.has_unread_shards() {
        return;
    }
    suspect::absolve(draft);
    let may_be_taken_over = |shard: &ShardIx| is_lost(draft, *shard) && draft.may_take_over_from(*shard);
    let lost: Vec<ShardIx> = (0..draft.shards().len()).filter(may_be_taken_over).collect();
    suspect::forget_those_that_are_back(draft, &lost);
    if lost.is_empty() {
        return;
    }
    if most_fell_silent_at_once(draft) {
        draft.takeover_held = true;
        return;
    }
    suspect::look_for_suspects(draft, &lost);
    re_home(draft, orphans_of_all(draft, &lost));
}

fn is_lost(draft: &Draft<'_>, shard: ShardIx) -> bool {
    draft.shards()[shard].reach == Reach::Lost
}

/// Whether more than half of the shards fell silent that had not been lost one after the other before. Then it is more
/// likely that the coordinator is cut off from them than that they are dead. Shards that are to go anyway do not count.
fn most_fell_silent_at_once(draft: &Draft<'_>) -> bool {
    let counts = |shard: &&DraftShard<'_>| !shard.going && !draft.memory.lost.contains_key(&shard.ordinal);
    let (mut silent, mut answered_ever) = (0, 0);
    for shard in draft.shards().iter().filter(counts) {
        match draft.view.shards[&shard.ordinal].report {
            Seen::Never => {}
            Seen::Stale { .. } => (silent, answered_ever) = (silent + 1, answered_ever + 1),
            Seen::Fresh(_) => answered_ever += 1,
        }
    }
    silent * 2 > answered_ever
}

/// A target of which only lost shards know.
struct Orphan {
    target: TargetIx,
    /// The lost shard that owned it, or was the last to.
    from: Ordinal,
    whose: Turn,
}

/// Whose turn it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// First those that need an empty shard, before others go there.
    Suspect,
    /// Then those that lost a second shard, while there is most to choose from.
    LostAnother,
    /// Then the others.
    Other,
}

impl Turn {
    const fn why_it_waits(self) -> Unplaced {
        match self {
            Self::Suspect => Unplaced::Suspected,
            Self::LostAnother | Self::Other => Unplaced::ShardLost,
        }
    }
}

/// The orphans that lost shards had, in the order in which they are placed.
fn orphans_of_all(draft: &Draft<'_>, lost: &[ShardIx]) -> Vec<Orphan> {
    let orphans = lost.iter().flat_map(|shard| orphans(draft, *shard));
    let with_turn = |target: TargetIx| {
        let from = last_owner(draft, target)?;
        let before = draft.memory.taken_over.get(&draft.id(target));
        let whose = if draft.is_suspect(target) {
            Turn::Suspect
        } else if before.is_some() {
            Turn::LostAnother
        } else {
            Turn::Other
        };
        Some(Orphan { target, from, whose })
    };
    let mut orphans: Vec<Orphan> = orphans.filter_map(with_turn).collect();
    let budget = draft.policy.usual_budget().whole();
    orphans.sort_by_cached_key(|orphan| {
        (orphan.whose, Reverse(draft.cost(orphan.target).share_of(budget)), draft.id(orphan.target))
    });
    // Two lost shards may have had the same target.
    orphans.dedup_by_key(|orphan| orphan.target);
    orphans
}

/// The targets of a lost shard that are listed and that no other shard may be scraping.
pub(super) fn orphans(draft: &Draft<'_>, shard: ShardIx) -> Vec<TargetIx> {
    let is_orphan = |target: &TargetIx| {
        draft.standing(*target) == Standing::Listed
            && draft.holders(*target).iter().all(|holding| is_lost(draft, holding.shard))
    };
    draft.targets_of(shard).into_iter().map(|(target, _)| target).filter(is_orphan).collect()
}

/// The shard that had a target last: of several that owned it the one that got it last.
fn last_owner(draft: &Draft<'_>, target: TargetIx) -> Option<Ordinal> {
    let key = |holding: &Holding| {
        let since = draft.said(target, holding.shard).and_then(|said| said.since);
        (holding.held.state == TargetState::Normal, since, Reverse(draft.shards()[holding.shard].ordinal))
    };
    let last = draft.holders(target).into_iter().max_by_key(key)?;
    Some(draft.shards()[last.shard].ordinal)
}

/// Places as many orphans as a round may; asks for shards for all that find no room.
fn re_home(draft: &mut Draft<'_>, orphans: Vec<Orphan>) {
    let most = usize::try_from(draft.policy.max_takeovers).unwrap_or(usize::MAX);
    let mut taken = 0;
    let mut apart = Apart::of(draft, orphans.iter().filter(|o| o.whose == Turn::LostAnother).map(|o| o.from));
    let mut orphans = orphans.into_iter();
    while taken < most {
        let Some(orphan) = orphans.next() else { break };
        let target = orphan.target;
        if suspect::had_its_own_shard(draft, target) {
            draft.leave_unplaced(target, Unplaced::Suspected);
            continue;
        }
        let to = match orphan.whose {
            Turn::Suspect => draft.best_shard_for(target),
            Turn::LostAnother => apart.shard_for(draft, target),
            Turn::Other => {
                apart.end(draft);
                draft.best_shard_for(target)
            }
        };
        if let Some(to) = to {
            taken += 1;
            place(draft, &orphan, to);
            if orphan.whose == Turn::LostAnother {
                apart.note(draft, to);
            }
        } else {
            draft.wanting.push(Wanting::Crowded(target));
            draft.leave_unplaced(target, orphan.whose.why_it_waits());
        }
    }
    apart.end(draft);
    let rest: Vec<Orphan> = orphans.collect();
    for orphan in &rest {
        draft.leave_unplaced(orphan.target, orphan.whose.why_it_waits());
    }
    let no_room = draft.without_room(rest.iter().map(|orphan| orphan.target));
    draft.wanting.extend(no_room.into_iter().map(Wanting::Crowded));
}

fn place(draft: &mut Draft<'_>, orphan: &Orphan, to: ShardIx) {
    let &Orphan { target, from, whose } = orphan;
    if draft.is_oversized(target) {
        draft.note_oversized(target);
    }
    match whose {
        Turn::Suspect => draft.place(target, to, PlaceReason::Isolated),
        Turn::LostAnother | Turn::Other => {
            draft.place(target, to, PlaceReason::TakenOver { from });
            let (id, at) = (draft.id(target), draft.world.now);
            let times = draft.memory.taken_over.get(&id).map_or(0, |before| before.times).saturating_add(1);
            draft.memory.taken_over.insert(id, TakenOver { at, from, times });
        }
    }
}
