//! Why: every decision carries its reason, from which logs, metrics and pages are written.

use narthex_common::{
    load::{SampleRate, Series},
    shard::Ordinal,
    target::TargetId,
};
use serde::{Deserialize, Serialize};

use crate::memory::Suspicion;

/// One difference between world and plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// A target gets a shard.
    Place {
        /// Which target.
        target: TargetId,
        /// Where to.
        to: Ordinal,
        /// Why there.
        why: PlaceReason,
    },
    /// A target starts to move.
    Move {
        /// Which target.
        target: TargetId,
        /// Where from.
        from: Ordinal,
        /// Where to.
        to: Ordinal,
        /// Why.
        why: MoveReason,
    },
    /// A move is over: the source lets go.
    Settle {
        /// Which target.
        target: TargetId,
        /// Where it was scraped besides.
        from: Ordinal,
    },
    /// A move is given up: the source owns the target again.
    GiveBack {
        /// Which target.
        target: TargetId,
        /// Whose it is again.
        to: Ordinal,
        /// Why.
        why: GiveBackReason,
    },
    /// A target may have killed its shard: from now on it gets a shard of its own.
    Suspect {
        /// Which target.
        target: TargetId,
        /// Which shard was lost.
        shard: Ordinal,
        /// Why this one.
        why: Suspicion,
    },
    /// A target that discovery no longer lists leaves its shard.
    Forget {
        /// Which target.
        target: TargetId,
        /// Where it was.
        from: Ordinal,
    },
    /// The number of shards changes.
    Scale {
        /// How many there were to be.
        from: u32,
        /// How many there are to be.
        to: u32,
        /// Why.
        why: ScaleReason,
    },
}

impl Change {
    /// What kind of change it is, as a word for logs and metrics.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Place { .. } => "place",
            Self::Move { .. } => "move",
            Self::Settle { .. } => "settle",
            Self::GiveBack { .. } => "give_back",
            Self::Suspect { .. } => "suspect",
            Self::Forget { .. } => "forget",
            Self::Scale { .. } => "scale",
        }
    }
}

/// Why a target gets the shard it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaceReason {
    /// It is the lowest shard that has room.
    LowestWithRoom,
    /// It is the shard that has the most room.
    MostRoom,
    /// The target is larger than a shard may fill, and this shard is empty.
    Oversized,
    /// The target is a suspect, and this shard is empty.
    Isolated,
    /// The shard that had it is lost, and this one has room.
    TakenOver {
        /// The lost shard.
        from: Ordinal,
    },
    /// Another replica has it there, and they mirror each other.
    Mirrored,
}

/// Why a target moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// Its shard holds too many series.
    OverMemory {
        /// How many more than its budget.
        by: Series,
    },
    /// Its shard scrapes too many samples.
    OverWork {
        /// How many a second more than its budget.
        by: SampleRate,
    },
    /// Its shard is to go.
    Drain,
    /// Its shard uses much more of its budget than others.
    Rebalance,
    /// The replica that this one mirrors has it there.
    Mirrored,
    /// It makes room for one that is to be where it is, and waits for room where it is to be itself.
    MakesWay,
    /// Two shards own it, and this one is not to. No move begins: both scrape it already.
    HeldTwice,
}

/// Why a move is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GiveBackReason {
    /// The destination does not have the target.
    NotThere,
    /// The destination has not been heard of for too long.
    DestinationSilent,
    /// The destination has not scraped the target three times within the time that a move may take.
    TookTooLong,
}

/// Why the number of shards changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleReason {
    /// Targets found no room.
    Unplaced {
        /// How many.
        targets: u64,
    },
    /// Shards are over their budget and there is no room elsewhere.
    Overloaded,
    /// Fewer than the minimum.
    Minimum,
    /// More than the maximum: shards that are not there yet are not waited for.
    Maximum,
    /// The last shard was idle for long enough.
    Idle,
    /// The replica that this one mirrors is to have as many.
    Mirrored,
}

/// Why a target has no shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unplaced {
    /// A shard that was there before the coordinator has not answered yet, and may hold it.
    MaybeHeld,
    /// Its load is being probed; it is placed once that is known.
    LoadUnknown,
    /// There is no room on the shards that answer; new or silent ones that have it are on their way.
    WaitingForShards,
    /// There is no room, and there may be no more shards.
    ShardLimit,
    /// There is no room, and the provider cannot add shards.
    CannotScale,
    /// Fewer shards are there than the minimum to begin with.
    BelowMinimum,
    /// It goes where the replica that is mirrored has it, and it has no shard there, or that shard cannot take it here.
    /// In the replica that is mirrored: another replica has it on a shard that is expected back in this one.
    WaitingForMirror,
    /// The shard that had it is lost; it waits for its turn, or for room.
    ShardLost,
    /// It may have killed its shard, and no other is put at risk: it waits for a shard of its own, or had one that was
    /// lost, too.
    Suspected,
}

impl Unplaced {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::MaybeHeld,
        Self::LoadUnknown,
        Self::WaitingForShards,
        Self::ShardLimit,
        Self::CannotScale,
        Self::BelowMinimum,
        Self::WaitingForMirror,
        Self::ShardLost,
        Self::Suspected,
    ];

    /// The reason as a word for metrics and APIs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MaybeHeld => "maybe_held",
            Self::LoadUnknown => "load_unknown",
            Self::WaitingForShards => "waiting_for_shards",
            Self::ShardLimit => "shard_limit",
            Self::CannotScale => "cannot_scale",
            Self::BelowMinimum => "below_minimum",
            Self::WaitingForMirror => "waiting_for_mirror",
            Self::ShardLost => "shard_lost",
            Self::Suspected => "suspected",
        }
    }
}
