//! Settle: moves come to their end. A source lets go once the destination has scraped the target three times; a move
//! whose destination does not have the target is given up; of two owners one hands over to the other.

use std::cmp::Reverse;

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, shard::Ordinal};

use crate::{
    catalogue::TargetIx,
    draft::{Draft, Held, ShardIx},
    reason::{GiveBackReason, MoveReason},
};

/// Which of several shards is to own a target: the greatest, and the order of the fields is the preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    /// One that can be told. A silent shard that comes back finds the target taken by the one that scraped meanwhile.
    can_be_told: bool,
    /// The one that has scraped more often.
    scrapes: u32,
    /// The lower one.
    ordinal: Reverse<Ordinal>,
}

pub(crate) fn settle(draft: &mut Draft<'_>) {
    for target in draft.unsettled() {
        let mut holders: Vec<_> = draft.holders(target).into_iter().map(|h| (target, h.shard, h.held)).collect();
        holders.sort_unstable_by_key(|(_, shard, _)| *shard);
        settle_target(draft, target, &holders);
    }
}

fn settle_target(draft: &mut Draft<'_>, target: TargetIx, holders: &[(TargetIx, ShardIx, Held)]) {
    let owners = holders.iter().filter(|(_, _, held)| held.state == TargetState::Normal);
    let Some(&(_, owner, of_owner)) = owners.max_by_key(|(_, shard, held)| claim(draft, *shard, *held)) else {
        give_back(draft, holders);
        return;
    };
    for &(_, shard, held) in holders {
        if shard == owner || !draft.shards()[shard].reach.can_be_told() {
            continue;
        }
        match held.state {
            TargetState::Normal => draft.hand_over(target, shard, owner, MoveReason::HeldTwice),
            TargetState::InTransfer if of_owner.scrapes >= SCRAPES_COUNTED => draft.settle(target, shard),
            TargetState::InTransfer => {}
        }
    }
}

/// Nobody owns the target. An unread shard may; then it is too early to say that the move came to nothing.
fn give_back(draft: &mut Draft<'_>, holders: &[(TargetIx, ShardIx, Held)]) {
    if draft.has_unread_shards() {
        return;
    }
    let told = holders.iter().filter(|(_, shard, _)| draft.shards()[*shard].reach.can_be_told());
    if let Some(&(target, shard, _)) = told.max_by_key(|(_, shard, held)| claim(draft, *shard, *held)) {
        draft.give_back(target, shard, GiveBackReason::NotThere);
    }
}

fn claim(draft: &Draft<'_>, shard: ShardIx, held: Held) -> Claim {
    let shard = &draft.shards()[shard];
    Claim {
        can_be_told: shard.reach.can_be_told(),
        scrapes: held.scrapes.min(SCRAPES_COUNTED),
        ordinal: Reverse(shard.ordinal),
    }
}
