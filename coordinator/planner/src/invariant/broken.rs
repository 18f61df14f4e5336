//! What is wrong with a plan, in words.

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
    /// A listed target is neither assigned nor unplaced, or both; or one is unplaced that nobody lists.
    #[error("target {target} is not either assigned or unplaced")]
    Unaccounted {
        /// Which target.
        target: TargetId,
    },
    /// The changes that the plan names do not lead from what is to what is to be.
    #[error("what is to become of target {target} is not what the reasons say")]
    Unexplained {
        /// Which target.
        target: TargetId,
    },
    /// The changes that the plan names do not lead from the number of shards to the one that is asked for.
    #[error("the reasons do not lead to {to} shards")]
    ScaleUnexplained {
        /// How many there are to be.
        to: u32,
    },
    /// A shard is told what it does already, or to let go of what it does not hold.
    #[error("what shard {shard} is told of target {target} makes no difference")]
    NoDifference {
        /// Which target.
        target: TargetId,
        /// Who is told.
        shard: Ordinal,
    },
    /// A shard gets targets, and has no room for them.
    #[error("shard {shard} is brought over its budget")]
    OverBudget {
        /// Which shard.
        shard: Ordinal,
    },
    /// A shard gets targets that takes none: it is not ready, is to go, or its memory is full.
    #[error("shard {shard} gets targets and can take none")]
    Closed {
        /// Which shard.
        shard: Ordinal,
    },
    /// A suspect gets a shard with others on it, or others join it.
    #[error("target {target} is suspected of having killed a shard, and shares shard {shard}")]
    SuspectNotAlone {
        /// The suspect.
        target: TargetId,
        /// Which shard.
        shard: Ordinal,
    },
    /// A target is said to be larger than any shard may be filled, and is not.
    #[error("target {target} is not larger than a shard may be filled")]
    NotOversized {
        /// Which target.
        target: TargetId,
    },
    /// A target of a replica that mirrors another goes to another shard than there.
    #[error("target {target} goes elsewhere than in the replica that is mirrored")]
    NotMirrored {
        /// Which target.
        target: TargetId,
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
    /// A target gets another shard while the one that has it lives, and is not told to hand it over.
    #[error("target {target} is taken from a shard that is not lost")]
    TakenFromTheLiving {
        /// Which target.
        target: TargetId,
    },
    /// A target gets a shard that discovery no longer lists.
    #[error("target {target} gets a shard and is gone")]
    Gone {
        /// Which target.
        target: TargetId,
    },
    /// A shard is told something that cannot be told, or is not there.
    #[error("shard {shard} is told something and is out of reach")]
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
    /// More targets are taken over from lost shards than a round may take over.
    #[error("{takeovers} targets are taken over in one round")]
    TooManyTakeovers {
        /// How many.
        takeovers: usize,
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
