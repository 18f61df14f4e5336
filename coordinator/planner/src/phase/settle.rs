//! Settle: moves come to their end. A source lets go once the destination has scraped the target three times; a move
//! that ends badly is given up, and its source owns the target again; of two owners one hands over to the other.
//!
//! Whatever is decided here, some shard goes on scraping: nothing is taken from a shard before another one, that is to
//! keep the target, has scraped it three times.

use std::{cmp::Reverse, time::Duration};

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, shard::Ordinal, time::Timestamp};

use crate::{
    catalogue::TargetIx,
    draft::{Draft, Holding, Reach},
    reason::{GiveBackReason, MoveReason},
};

/// A move may take ten scrape intervals of its target, where that is longer than the policy allows: three scrapes must
/// succeed, and a shard that takes a target spreads its first scrape over a whole interval.
const INTERVALS_OF_A_MOVE: u32 = 10;

/// Which of several shards is to own a target: the greatest, and the order of the fields is the preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// One that can be told. The others cannot be made to hand over, either: they are dealt with when they are back.
    can_be_told: bool,
    /// The one that has scraped more often: one that has yet to prove itself yields to one that has.
    scrapes: u32,
    /// The one that has held it for less long: it took over from the other one.
    since: Option<Timestamp>,
    /// The lower one.
    ordinal: Reverse<Ordinal>,
}

pub(crate) fn settle(draft: &mut Draft<'_>) {
    let all_are_read = !draft.has_unread_shards();
    for target in draft.unsettled() {
        let mut holders = draft.holders(target);
        holders.sort_unstable_by_key(|holding| holding.shard);
        settle_target(draft, target, &holders, all_are_read);
    }
}

fn settle_target(draft: &mut Draft<'_>, target: TargetIx, holders: &[Holding], all_are_read: bool) {
    let best = |state: TargetState| {
        let holders = holders.iter().filter(|holding| holding.held.state == state).copied();
        holders.max_by_key(|holding| claim(draft, target, *holding))
    };
    let owner = best(TargetState::Normal);
    let source = best(TargetState::InTransfer).filter(|source| can_be_told(draft, *source));
    // An unread shard may own the target; then it is too early to say that the move came to nothing.
    if let Some(source) = source.filter(|_| all_are_read)
        && let Some(why) = why_to_give_up(draft, target, holders, owner, source)
    {
        draft.give_back(target, source.shard, why);
        hand_over(draft, target, holders, source);
    } else if let Some(owner) = owner {
        if owner.held.scrapes >= SCRAPES_COUNTED {
            let sources = holders.iter().filter(|holding| holding.held.state == TargetState::InTransfer);
            for source in sources.filter(|source| can_be_told(draft, **source)).collect::<Vec<_>>() {
                draft.settle(target, source.shard);
            }
        }
        hand_over(draft, target, holders, owner);
    }
}

/// Makes all owners that can be told hand over to the one that is to keep the target.
fn hand_over(draft: &mut Draft<'_>, target: TargetIx, holders: &[Holding], keeper: Holding) {
    for holding in holders {
        let owns = holding.held.state == TargetState::Normal;
        if owns && holding.shard != keeper.shard && can_be_told(draft, *holding) {
            draft.hand_over(target, holding.shard, keeper.shard, MoveReason::HeldTwice);
        }
    }
}

/// Why a source is to own its target again, if it is.
fn why_to_give_up(
    draft: &Draft<'_>,
    target: TargetIx,
    holders: &[Holding],
    owner: Option<Holding>,
    source: Holding,
) -> Option<GiveBackReason> {
    let Some(owner) = owner else { return Some(GiveBackReason::NotThere) };
    let mut owners = holders.iter().filter(|holding| holding.held.state == TargetState::Normal);
    if owners.all(|owner| draft.shards()[owner.shard].reach.is_missed()) {
        return Some(GiveBackReason::DestinationSilent);
    }
    // Nothing is won by going back to a source that does not scrape the target either.
    let source_is_better = source.held.scrapes >= SCRAPES_COUNTED && owner.held.scrapes < SCRAPES_COUNTED;
    (source_is_better && takes_too_long(draft, target, owner)).then_some(GiveBackReason::TookTooLong)
}

/// Whether a destination that answers has had a target for longer than a move may take. For whatever reason: it runs
/// another config, or its Prometheus does not scrape.
fn takes_too_long(draft: &Draft<'_>, target: TargetIx, owner: Holding) -> bool {
    let Some(said) = draft.said(target, owner.shard) else { return false };
    let intervals: Duration = said.interval.to_std().saturating_mul(INTERVALS_OF_A_MOVE);
    let allowed = draft.policy.max_move_time.max(intervals);
    draft.shards()[owner.shard].reach != Reach::Silent
        && said.since.is_some_and(|since| draft.world.now.since(since) >= allowed)
}

fn can_be_told(draft: &Draft<'_>, holding: Holding) -> bool {
    draft.shards()[holding.shard].reach.can_be_told()
}

fn claim(draft: &Draft<'_>, target: TargetIx, holding: Holding) -> Claim {
    Claim {
        can_be_told: can_be_told(draft, holding),
        scrapes: holding.held.scrapes.min(SCRAPES_COUNTED),
        since: draft.said(target, holding.shard).and_then(|said| said.since),
        ordinal: Reverse(draft.shards()[holding.shard].ordinal),
    }
}
