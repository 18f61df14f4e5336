//! The phases of a round, one file each. Every phase is a function that changes a draft.

use crate::{
    draft::{Draft, DraftShard, Reach},
    reason::Unplaced,
};

mod apart;
pub(crate) mod drain;
pub(crate) mod forget;
pub(crate) mod mirror;
pub(crate) mod place;
pub(crate) mod rebalance;
pub(crate) mod relieve;
pub(crate) mod scale;
pub(crate) mod settle;
mod suspect;
pub(crate) mod take_over;

/// For one target that waits for its probe so many have to be held. In a large fleet there is always some pod that has
/// just started; a hundredth more is within the reserve of everything that waits for rest.
const HELD_FOR_ONE_THAT_WAITS: usize = 100;

/// Whether nothing more urgent is to be done than to improve what is well: every shard answers, nothing wants room, and
/// no shard is, or was in this round, over its budget.
fn is_at_rest(draft: &Draft<'_>) -> bool {
    let answers = |reach: Reach| matches!(reach, Reach::Open | Reach::Full);
    draft.wanting.is_empty()
        && draft.moves_left == draft.policy.max_moves
        && few_wait_for_their_probe(draft)
        && usize::try_from(draft.wanted_shards).is_ok_and(|wanted| wanted == draft.shards().len())
        && draft.shards().iter().all(|shard| answers(shard.reach) && !needs_relief(shard))
}

fn few_wait_for_their_probe(draft: &Draft<'_>) -> bool {
    let unplaced = draft.unplaced();
    let held = || draft.shards().iter().map(|shard| shard.targets).sum::<usize>();
    unplaced.is_empty()
        || unplaced.len().saturating_mul(HELD_FOR_ONE_THAT_WAITS) <= held()
            && unplaced.iter().all(|(_, why)| *why == Unplaced::LoadUnknown)
}

/// Whether a shard is over its budget and something may leave it: a target that has a shard of its own has what it
/// needs, however large it is.
fn needs_relief(shard: &DraftShard<'_>) -> bool {
    shard.targets > 1 && !shard.staying.fits(shard.budget.relief())
}
