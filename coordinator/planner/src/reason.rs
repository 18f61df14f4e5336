//! Why: every decision carries its reason, from which logs, metrics and pages are written.

use narthex_common::{load::Series, shard::Ordinal, target::TargetId};
use serde::{Deserialize, Serialize};

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
    /// A move is given up, because the destination does not have the target: the source owns it again.
    GiveBack {
        /// Which target.
        target: TargetId,
        /// Whose it is again.
        to: Ordinal,
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
            Self::Forget { .. } => "forget",
            Self::Scale { .. } => "scale",
        }
    }
}

/// Why a target moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MoveReason {
    /// Its shard holds too many series.
    OverBudget {
        /// How many too many.
        by: Series,
    },
    /// Its shard is to go.
    Drain,
    /// Two shards own it, and this one is not to. No move begins: both scrape it already.
    HeldTwice,
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
}

impl Unplaced {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::MaybeHeld,
        Self::LoadUnknown,
        Self::WaitingForShards,
        Self::ShardLimit,
        Self::CannotScale,
        Self::BelowMinimum,
    ];
}
