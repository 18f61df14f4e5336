//! Settle: moves come to their end. A source lets go once the destination has scraped the target three times; a move
//! whose destination does not have the target is given up; of two owners one hands over to the other.

use std::cmp::Reverse;

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, shard::Ordinal};

use crate::{
    catalogue::TargetIx,
    draft::{Draft, Held, ShardIx},
    reason::MoveReason,
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
    let mut unsettled: Vec<(TargetIx, ShardIx, Held)> = Vec::new();
    for (shard, contents) in draft.shards().iter().enumerate() {
        let concerned = contents
            .targets
            .iter()
            .filter(|(target, held)| held.state == TargetState::InTransfer || draft.number_of_holders(**target) > 1);
        unsettled.extend(concerned.map(|(&target, &held)| (target, shard, held)));
    }
    unsettled.sort_by_key(|(target, shard, _)| (*target, *shard));
    for holders in unsettled.chunk_by(|a, b| a.0 == b.0) {
        settle_target(draft, holders);
    }
}

fn settle_target(draft: &mut Draft<'_>, holders: &[(TargetIx, ShardIx, Held)]) {
    let target = holders[0].0;
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
        draft.give_back(target, shard);
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
