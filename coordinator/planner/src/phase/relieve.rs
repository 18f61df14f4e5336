//! Relief: which targets leave a shard that is over its budget, and why those.
//!
//! It begins above one line and goes down to a lower one, so that a load that moves by a tenth around either does not set
//! it off again; the further over, the more goes. As few targets as possible leave: the smallest that is enough, or else
//! the largest that finds room. Those that came not long ago stay, if the others are enough. A target larger than a whole
//! budget stays, too, and the others leave it alone. The shard that is furthest over comes first.

use std::cmp::Reverse;

use narthex_common::{
    assignment::TargetState,
    load::{SampleRate, Series},
};

use crate::{
    catalogue::TargetIx,
    cost::Cost,
    draft::{Draft, DraftShard, Held, ShardIx, Wanting},
    reason::MoveReason,
};

pub(crate) fn relieve(draft: &mut Draft<'_>) {
    // A move needs to know all holders of its target.
    if !draft.policy.relief || draft.has_unread_shards() {
        return;
    }
    let may_grow = draft.view.scalable && draft.wanted_shards < draft.policy.max_shards;
    if !may_grow && !draft.has_room() {
        return;
    }
    let is_over = |shard: &DraftShard<'_>| shard.reach.can_be_told() && !shard.staying.fits(shard.budget.relief());
    let mut over: Vec<ShardIx> = (0..draft.shards().len()).filter(|shard| is_over(&draft.shards()[*shard])).collect();
    over.sort_by_key(|shard| {
        let DraftShard { staying, budget, .. } = &draft.shards()[*shard];
        (Reverse(staying.share_of(budget.whole())), *shard)
    });
    let mut refused = Refused::default();
    for shard in over {
        if draft.moves_left == 0 {
            return;
        }
        relieve_shard(draft, shard, &mut refused);
    }
}

/// A target that may leave its shard.
struct Candidate {
    target: TargetIx,
    cost: Cost,
    /// Whether it may share a shard with others.
    shares: bool,
    has_moved_lately: bool,
    /// Where it could not go when that was last tried.
    not_to: Option<ShardIx>,
}

impl Candidate {
    fn suffices(&self, excess: Cost) -> bool {
        excess.fits(self.cost)
    }

    fn helps(&self, excess: Cost) -> bool {
        excess.minus(self.cost) != excess
    }
}

/// Costs for which no shard has room. There will be none for anything larger, because room only shrinks in this phase:
/// so thousands of candidates of a shard cost a few searches.
#[derive(Default)]
struct Refused(Vec<Cost>);

impl Refused {
    /// More than these would cost more to look through than they save.
    const MOST: usize = 32;

    fn covers(&self, cost: Cost) -> bool {
        self.0.iter().any(|refused| refused.fits(cost))
    }

    fn add(&mut self, cost: Cost) {
        if self.0.len() < Self::MOST {
            self.0.push(cost);
        }
    }
}

fn relieve_shard(draft: &mut Draft<'_>, from: ShardIx, refused: &mut Refused) {
    let targets = draft.targets_of(from);
    let stays = largest_oversized(draft, from, &targets);
    let shard = &draft.shards()[from];
    let mut excess = stays.map_or_else(|| excess(shard), |target| shard.staying.minus(draft.cost(target)));
    let why = if excess.series > Series::ZERO {
        MoveReason::OverMemory { by: excess.series }
    } else {
        MoveReason::OverWork { by: excess.work }
    };
    let mut candidates = candidates(draft, from, &targets, stays);
    while excess != Cost::ZERO {
        if draft.moves_left == 0 {
            return;
        }
        let Some((picked, to)) = pick(draft, &candidates, excess, refused) else { break };
        let Candidate { target, cost, .. } = candidates.remove(picked);
        excess = excess.minus(cost);
        draft.begin_move(target, from, to, why);
    }
    if draft.shards()[from].targets > 1 {
        want_room(draft, &candidates, excess);
    }
}

/// What a shard has too much, of the figure for which it needs relief: the other one may stay between the lines.
fn excess(shard: &DraftShard<'_>) -> Cost {
    let (over, relief) = (shard.staying.minus(shard.budget.fill()), shard.budget.relief());
    Cost {
        series: if shard.staying.series > relief.series { over.series } else { Series::ZERO },
        work: if shard.staying.work > relief.work { over.work } else { SampleRate::ZERO },
    }
}

/// The largest target of a shard that is larger than a whole budget.
fn largest_oversized(draft: &Draft<'_>, shard: ShardIx, targets: &[(TargetIx, Held)]) -> Option<TargetIx> {
    let budget = draft.shards()[shard].budget.whole();
    let owned = targets.iter().filter(|(_, held)| held.state == TargetState::Normal).map(|(target, _)| *target);
    let oversized = owned.filter(|target| draft.is_oversized(*target));
    oversized.max_by_key(|target| (draft.cost(*target).share_of(budget), Reverse(draft.id(*target))))
}

/// What may leave a shard, the smallest first.
fn candidates(
    draft: &Draft<'_>,
    shard: ShardIx,
    targets: &[(TargetIx, Held)],
    stays: Option<TargetIx>,
) -> Vec<Candidate> {
    let budget = draft.shards()[shard].budget.whole();
    let may_leave = |(target, held): &&(TargetIx, Held)| Some(*target) != stays && draft.is_movable(*target, *held);
    let candidate = |&(target, _): &(TargetIx, Held)| Candidate {
        target,
        cost: draft.cost(target),
        shares: !draft.is_suspect(target) && !draft.is_oversized(target),
        has_moved_lately: draft.has_moved_lately(target),
        not_to: draft.could_not_move_to(target),
    };
    let mut candidates: Vec<Candidate> = targets.iter().filter(may_leave).map(candidate).collect();
    candidates.sort_by_cached_key(|candidate| (candidate.cost.share_of(budget), draft.id(candidate.target)));
    candidates
}

/// The next target to leave, by its position among the candidates, and where to.
fn pick(draft: &Draft<'_>, candidates: &[Candidate], excess: Cost, refused: &mut Refused) -> Option<(usize, ShardIx)> {
    let has_stayed = |candidate: &Candidate| !candidate.has_moved_lately;
    let of_those: Cost = candidates.iter().filter(|candidate| has_stayed(candidate)).map(|c| c.cost).sum();
    let patiently = if excess.fits(of_those) { pick_of(draft, candidates, has_stayed, excess, refused) } else { None };
    patiently.or_else(|| pick_of(draft, candidates, |_| true, excess, refused))
}

fn pick_of(
    draft: &Draft<'_>,
    candidates: &[Candidate],
    may_go: impl Fn(&Candidate) -> bool,
    excess: Cost,
    refused: &mut Refused,
) -> Option<(usize, ShardIx)> {
    let mut with_shard =
        |(position, candidate): (usize, &Candidate)| Some((position, shard_for(draft, candidate, refused)?));
    let candidates = || candidates.iter().enumerate().filter(|(_, candidate)| may_go(candidate));
    let enough = candidates().filter(|(_, candidate)| candidate.suffices(excess)).find_map(&mut with_shard);
    enough.or_else(|| candidates().rev().filter(|(_, candidate)| candidate.helps(excess)).find_map(with_shard))
}

fn shard_for(draft: &Draft<'_>, candidate: &Candidate, refused: &mut Refused) -> Option<ShardIx> {
    if candidate.shares && refused.covers(candidate.cost) {
        return None;
    }
    let to = draft.best_shard_but(candidate.not_to, candidate.target);
    if to.is_none() && candidate.shares && candidate.not_to.is_none() {
        refused.add(candidate.cost);
    }
    to
}

/// Asks for room for what would have to leave and cannot. A target whose move was given up asks for none: a new shard
/// would most likely not scrape it either, nor would the next.
fn want_room(draft: &mut Draft<'_>, candidates: &[Candidate], mut excess: Cost) {
    if excess == Cost::ZERO {
        return;
    }
    let candidates = || candidates.iter().filter(|candidate| candidate.not_to.is_none());
    if let Some(enough) = candidates().find(|candidate| candidate.suffices(excess)) {
        draft.wanting.push(Wanting::Crowded(enough.target));
        return;
    }
    for candidate in candidates().rev() {
        if excess == Cost::ZERO {
            return;
        }
        if candidate.helps(excess) {
            draft.wanting.push(Wanting::Crowded(candidate.target));
        }
        excess = excess.minus(candidate.cost);
    }
}
