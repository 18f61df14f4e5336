//! Reasons in words: for people who ask why, and as labels for those who count.

use narthex_common::{load::SampleRate, shard::Ordinal, target::TargetId};
use narthex_planner::{
    cost::Cost,
    memory::Suspicion,
    reason::{Change, GiveBackReason, MoveReason, PlaceReason, ScaleReason, Unplaced},
};

/// Which target a change is about.
pub(super) const fn target_of(change: &Change) -> Option<TargetId> {
    match change {
        Change::Place { target, .. }
        | Change::Move { target, .. }
        | Change::Settle { target, .. }
        | Change::GiveBack { target, .. }
        | Change::Suspect { target, .. }
        | Change::Forget { target, .. } => Some(*target),
        Change::Scale { .. } => None,
    }
}

/// The shard that a change takes something from, and the one that it gives something to.
pub(super) const fn shards_of(change: &Change) -> [Option<Ordinal>; 2] {
    match change {
        Change::Place { to, why: PlaceReason::TakenOver { from }, .. } => [Some(*from), Some(*to)],
        Change::Place { to, .. } | Change::GiveBack { to, .. } => [None, Some(*to)],
        Change::Move { from, to, .. } => [Some(*from), Some(*to)],
        Change::Settle { from, .. } | Change::Forget { from, .. } | Change::Suspect { shard: from, .. } => {
            [Some(*from), None]
        }
        Change::Scale { .. } => [None, None],
    }
}

/// Every kind of change with every reason it may have, as words for metrics.
pub(super) const KINDS_AND_REASONS: [(&str, &str); 26] = [
    ("place", "lowest_with_room"),
    ("place", "most_room"),
    ("place", "oversized"),
    ("place", "isolated"),
    ("place", "taken_over"),
    ("place", "mirrored"),
    ("move", "over_memory"),
    ("move", "over_work"),
    ("move", "drain"),
    ("move", "rebalance"),
    ("move", "mirrored"),
    ("move", "makes_way"),
    ("move", "held_twice"),
    ("settle", "scraped_there"),
    ("give_back", "not_there"),
    ("give_back", "destination_silent"),
    ("give_back", "took_too_long"),
    ("suspect", "grew"),
    ("suspect", "died_again"),
    ("forget", "not_listed"),
    ("scale", "unplaced"),
    ("scale", "overloaded"),
    ("scale", "minimum"),
    ("scale", "maximum"),
    ("scale", "idle"),
    ("scale", "mirrored"),
];

/// Why something changes, as a word for metrics.
pub(super) const fn reason_of(change: &Change) -> &'static str {
    match change {
        Change::Place { why, .. } => match why {
            PlaceReason::LowestWithRoom => "lowest_with_room",
            PlaceReason::MostRoom => "most_room",
            PlaceReason::Oversized => "oversized",
            PlaceReason::Isolated => "isolated",
            PlaceReason::TakenOver { .. } => "taken_over",
            PlaceReason::Mirrored => "mirrored",
        },
        Change::Move { why, .. } => match why {
            MoveReason::OverMemory { .. } => "over_memory",
            MoveReason::OverWork { .. } => "over_work",
            MoveReason::Drain => "drain",
            MoveReason::Rebalance => "rebalance",
            MoveReason::Mirrored => "mirrored",
            MoveReason::MakesWay => "makes_way",
            MoveReason::HeldTwice => "held_twice",
        },
        Change::Settle { .. } => "scraped_there",
        Change::GiveBack { why, .. } => match why {
            GiveBackReason::NotThere => "not_there",
            GiveBackReason::DestinationSilent => "destination_silent",
            GiveBackReason::TookTooLong => "took_too_long",
        },
        Change::Suspect { why, .. } => match why {
            Suspicion::Grew => "grew",
            Suspicion::DiedAgain => "died_again",
        },
        Change::Forget { .. } => "not_listed",
        Change::Scale { why, .. } => match why {
            ScaleReason::Unplaced { .. } => "unplaced",
            ScaleReason::Overloaded => "overloaded",
            ScaleReason::Minimum => "minimum",
            ScaleReason::Maximum => "maximum",
            ScaleReason::Idle => "idle",
            ScaleReason::Mirrored => "mirrored",
        },
    }
}

/// A change in words; `name` gives the name of the shard of an ordinal.
pub(super) fn change_in_words(change: &Change, name: &dyn Fn(Ordinal) -> String) -> String {
    match change {
        Change::Place { to, why, .. } => placed(&name(*to), *why, name),
        Change::Move { from, to, why, .. } => moves(&name(*from), &name(*to), *why),
        Change::Settle { from, .. } => {
            format!("leaves {}: the shard that it moved to has scraped it three times", name(*from))
        }
        Change::GiveBack { to, why, .. } => {
            let why = match why {
                GiveBackReason::NotThere => "the shard that it was to move to does not have it",
                GiveBackReason::DestinationSilent => "the shard that it was to move to has been silent for too long",
                GiveBackReason::TookTooLong => {
                    "the shard that it was to move to has not scraped it three times in the time that a move may take"
                }
            };
            format!("stays on {}: {why}", name(*to))
        }
        Change::Suspect { shard, why, .. } => {
            format!("is suspected, and gets a shard of its own: {}", suspicion_in_words(*why, &name(*shard)))
        }
        Change::Forget { from, .. } => format!("leaves {}: discovery no longer lists it", name(*from)),
        Change::Scale { from, to, why } => {
            let why = match why {
                ScaleReason::Unplaced { targets: 1 } => "1 target found no room".to_owned(),
                ScaleReason::Unplaced { targets } => format!("{} targets found no room", grouped(*targets)),
                ScaleReason::Overloaded => {
                    "shards are over their budget, and there is no room on the others".to_owned()
                }
                ScaleReason::Minimum => "there are to be no fewer".to_owned(),
                ScaleReason::Maximum => "there are to be no more".to_owned(),
                ScaleReason::Idle => "the last shard has had no target for long enough".to_owned(),
                ScaleReason::Mirrored => "the replica that this one mirrors is to have as many".to_owned(),
            };
            format!("from {from} to {to} shards: {why}")
        }
    }
}

fn placed(to: &str, why: PlaceReason, name: &dyn Fn(Ordinal) -> String) -> String {
    match why {
        PlaceReason::LowestWithRoom => format!("goes to {to}: it is the lowest shard that has room"),
        PlaceReason::MostRoom => format!("goes to {to}: it is the shard that has the most room"),
        PlaceReason::Oversized => format!("goes to {to}, which is empty: the target is larger than a shard may fill"),
        PlaceReason::Isolated => format!("goes to {to}, which is empty: the target may have killed a shard"),
        PlaceReason::TakenOver { from } => format!("goes to {to}: {}, which had it, is lost", name(from)),
        PlaceReason::Mirrored => {
            format!("goes to {to}: the replica that this one mirrors, or that mirrors it, has it there")
        }
    }
}

fn moves(from: &str, to: &str, why: MoveReason) -> String {
    let why = match why {
        MoveReason::OverMemory { by } => format!("{from} holds {} series more than its budget", grouped(by.0)),
        MoveReason::OverWork { by } => format!("{from} scrapes {} samples a second more than its budget", rate(by)),
        MoveReason::Drain => format!("{from} is to go"),
        MoveReason::Rebalance => format!("{from} uses much more of its budget than others"),
        MoveReason::Mirrored => "the replica that this one mirrors has it there".to_owned(),
        MoveReason::MakesWay => {
            format!("it makes way for a target that belongs on {from}, until there is room where it belongs itself")
        }
        MoveReason::HeldTwice => return format!("stays on {to} and leaves {from}: both had it"),
    };
    format!("moves from {from} to {to}: {why}")
}

/// Why a target is suspected, in words.
pub(super) fn suspicion_in_words(why: Suspicion, shard: &str) -> String {
    match why {
        Suspicion::Grew => format!("{shard} was lost after the target had grown"),
        Suspicion::DiedAgain => format!("{shard} was lost after it had taken the target over from another lost shard"),
    }
}

/// What a target that is larger than a shard may fill means, in words.
pub(super) fn oversized_in_words(cost: Option<Cost>, waits: bool) -> String {
    let size = cost.map_or_else(String::new, |cost| {
        format!(", with {} series and {} samples a second", grouped(cost.series.0), rate(cost.work))
    });
    let gets = if waits { "waits for a shard of its own" } else { "gets a shard of its own" };
    format!("is larger than a shard may fill{size}, and {gets}")
}

/// Why a target has no shard, in words.
pub(super) const fn unplaced_in_words(why: Unplaced) -> &'static str {
    match why {
        Unplaced::MaybeHeld => "a shard that was there before the coordinator has not answered yet, and may scrape it",
        Unplaced::LoadUnknown => "its load is being probed; it is placed as soon as that is known or takes too long",
        Unplaced::WaitingForShards => {
            "there is no room on the shards that answer; new or silent ones that have it are on their way"
        }
        Unplaced::ShardLimit => "there is no room for it, and there may be no more shards (--shard.max-shard)",
        Unplaced::CannotScale => "there is no room for it, and shards of this kind cannot be added",
        Unplaced::ShardLost => "the shard that had it is lost; it waits for its turn, or for room elsewhere",
        Unplaced::Suspected => {
            "it may have killed its shard; it waits for a shard of its own, or had one that was lost, too, and is put on \
             no other"
        }
        Unplaced::BelowMinimum => "fewer shards are there than --shard.min-shard asks for to begin with",
        Unplaced::WaitingForMirror => {
            "another replica has it on a shard that cannot take it in this one, or the replica that is mirrored has it on none"
        }
    }
}

/// A number with its digits in groups of three.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn rate(rate: SampleRate) -> String {
    match rate.0 {
        // Fractions matter only of small numbers.
        0..100_000 => rate.to_string(),
        thousandths => grouped(thousandths / 1000),
    }
}

#[cfg(test)]
mod tests {
    use narthex_common::{fingerprint::Fingerprint, load::Series};

    use super::*;

    #[test]
    fn a_move_says_where_from_where_to_and_why() {
        let (target, from, to) = (TargetId(Fingerprint(1)), Ordinal(3), Ordinal(7));
        let words =
            |why| change_in_words(&Change::Move { target, from, to, why }, &|ordinal| format!("shard-{ordinal}"));
        assert_eq!(
            words(MoveReason::OverMemory { by: Series(40_000) }),
            "moves from shard-3 to shard-7: shard-3 holds 40,000 series more than its budget"
        );
        assert_eq!(
            words(MoveReason::OverWork { by: SampleRate(1_500) }),
            "moves from shard-3 to shard-7: shard-3 scrapes 1.5 samples a second more than its budget"
        );
        assert_eq!(words(MoveReason::HeldTwice), "stays on shard-7 and leaves shard-3: both had it");
    }

    #[test]
    fn numbers_are_written_in_groups_of_three_digits() {
        let written = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }
}
