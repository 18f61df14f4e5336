//! What can be wrong with a plan.

use narthex_common::{
    shard::{Ordinal, ReplicaId},
    target::TargetId,
};

/// An invariant that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the plan of replica {replica} is wrong: {fault}")]
pub struct Broken {
    /// Whose plan.
    pub replica: ReplicaId,
    /// What is wrong.
    pub fault: Fault,
}

/// How a plan breaks an invariant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A replica of the world has no plan.
    #[error("there is none")]
    NotPlanned,
    /// A listed target is neither assigned nor unplaced, or both.
    #[error("target {target} is not either assigned or unplaced")]
    Unaccounted {
        /// Which target.
        target: TargetId,
    },
    /// A shard gets targets, and has no room for them.
    #[error("shard {shard} is brought over its budget")]
    OverBudget {
        /// Which shard.
        shard: Ordinal,
    },
    /// A shard lets go of a target that no other has scraped often enough.
    #[error("shard {shard} lets go of target {target} too early")]
    LetGoTooEarly {
        /// Which target.
        target: TargetId,
        /// Who lets go.
        shard: Ordinal,
    },
    /// More shards scrape a target than a move needs.
    #[error("target {target} is scraped by too many shards")]
    ScrapedByTooMany {
        /// Which target.
        target: TargetId,
    },
    /// Two shards are told that a target is theirs.
    #[error("target {target} is owned twice")]
    OwnedTwice {
        /// Which target.
        target: TargetId,
    },
    /// A target had an owner, or gets a shard, and is to have no owner.
    #[error("target {target} is owned by nobody")]
    OwnedByNobody {
        /// Which target.
        target: TargetId,
    },
    /// A shard is told something that cannot be told, or the other way round.
    #[error("shard {shard} is told something out of reach, or nothing within reach")]
    OutOfReach {
        /// Which shard.
        shard: Ordinal,
    },
    /// A target gets a shard before it is known that no other has it, or before the minimum of shards is there.
    #[error("target {target} gets a shard too early")]
    TooEarly {
        /// Which target.
        target: TargetId,
    },
    /// More moves begin than a round may begin.
    #[error("{moves} moves begin in one round")]
    TooManyMoves {
        /// How many.
        moves: usize,
    },
    /// A replica is scaled that cannot be.
    #[error("it scales what cannot be scaled")]
    CannotScale,
    /// The number of shards leaves its bounds.
    #[error("{to} shards are out of bounds")]
    OutOfBounds {
        /// How many there are to be.
        to: u32,
    },
    /// A shard goes that has targets, is silent, or has not been idle for long enough.
    #[error("shard {shard} is removed too early")]
    RemovedTooEarly {
        /// Which shard.
        shard: Ordinal,
    },
}
