//! History: what was decided about targets, round by round, in bounded memory. A value: whoever has a copy keeps it,
//! and copies share what they have in common.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::Vector;
use narthex_common::{
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Plan, ReplicaPlan, World,
    reason::{Change, Unplaced},
};

use super::words::{shards_of, target_of};

/// How many decisions are kept at least: with as many moves as the default policy allows, those of half a day. At some
/// 40 bytes each they cost a few megabytes. A fleet with more targets keeps one for each, so that the placement of all
/// of them does not push itself out.
const KEPT: usize = 100_000;

/// What was decided about targets since the coordinator started, of late.
#[derive(Clone, Debug, Default)]
pub struct History {
    recorded_since: Option<Timestamp>,
    /// Oldest first.
    rounds: Vector<Arc<Recorded>>,
    /// Decisions in all of them.
    decisions: usize,
    /// What the last round decided: what it could not apply is decided again, and recorded once.
    last: BTreeMap<ReplicaId, Arc<Recorded>>,
    /// The targets that have no shard, by replica.
    unplaced: BTreeMap<ReplicaId, Arc<BTreeMap<TargetId, Waiting>>>,
}

/// What one round decided for one replica.
#[derive(Debug)]
struct Recorded {
    at: Timestamp,
    replica: ReplicaId,
    /// The names of the shards that are mentioned: later another shard may have the ordinal.
    names: BTreeMap<Ordinal, ShardId>,
    decisions: Vec<Decision>,
}

/// What is decided about a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Something changes.
    Changed(Change),
    /// It gets no shard.
    Unplaced {
        /// Which target.
        target: TargetId,
        /// Why.
        why: Unplaced,
    },
}

/// A target without a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Since when it has had none.
    pub since: Timestamp,
    /// Why it has none now.
    pub why: Unplaced,
}

/// One decision, as it is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Remembered<'a> {
    /// When it was decided.
    pub at: Timestamp,
    /// For which replica.
    pub replica: &'a ReplicaId,
    /// What.
    pub decision: &'a Decision,
    /// What the shards it mentions were called.
    pub names: &'a BTreeMap<Ordinal, ShardId>,
}

impl History {
    /// Records what a round decided.
    pub fn record(&mut self, world: &World, plan: &Plan) {
        self.recorded_since.get_or_insert(world.now);
        if plan.replicas.is_empty() {
            // The provider could not say who the shards are: nothing was decided.
            return;
        }
        self.unplaced.retain(|replica, _| plan.replicas.contains_key(replica));
        self.last.retain(|replica, _| plan.replicas.contains_key(replica));
        let at_most = KEPT.max(world.targets.len());
        for view in &world.replicas {
            let Some(planned) = plan.replicas.get(&view.id) else { continue };
            let mut decisions = self.waits(world.now, &view.id, planned);
            decisions.extend(
                planned.changes.iter().filter(|change| target_of(change).is_some()).cloned().map(Decision::Changed),
            );
            let names = |ordinal| Some((ordinal, view.shards.get(&ordinal)?.id.clone()));
            let mentioned: BTreeSet<Ordinal> = decisions.iter().flat_map(Decision::shards).collect();
            let names = mentioned.into_iter().filter_map(names).collect();
            let decided = Arc::new(Recorded { at: world.now, replica: view.id.clone(), names, decisions });
            self.keep(decided, at_most);
        }
        while self.decisions > at_most
            && let Some(oldest) = self.rounds.pop_front()
        {
            self.decisions -= oldest.decisions.len();
        }
    }

    /// Takes over which targets wait; returns those that begin to, or that wait for another reason than before.
    fn waits(&mut self, now: Timestamp, replica: &ReplicaId, planned: &ReplicaPlan) -> Vec<Decision> {
        let before = self.unplaced.entry(replica.clone()).or_default();
        let same = before.len() == planned.unplaced.len()
            && before
                .iter()
                .zip(&planned.unplaced)
                .all(|((id, waiting), (other, why))| id == other && waiting.why == *why);
        if same {
            return Vec::new();
        }
        let mut begun = Vec::new();
        let waiting = planned.unplaced.iter().map(|(&target, &why)| {
            let known = before.get(&target);
            if known.is_none_or(|known| known.why != why) {
                begun.push(Decision::Unplaced { target, why });
            }
            (target, Waiting { since: known.map_or(now, |known| known.since), why })
        });
        *before = Arc::new(waiting.collect());
        begun
    }

    /// Keeps what is not a repetition of the round before, and of one round no more than fits at all.
    fn keep(&mut self, decided: Arc<Recorded>, at_most: usize) {
        let before = self.last.insert(decided.replica.clone(), Arc::clone(&decided));
        let repeated = before.map(|before| repeated(&before.decisions, &decided.decisions)).unwrap_or_default();
        let new = decided.decisions.len() - repeated.len();
        if new == 0 {
            return;
        }
        let kept = if repeated.is_empty() && new <= at_most {
            decided
        } else {
            let fresh = decided.decisions.iter().enumerate().filter(|(index, _)| !repeated.contains(index));
            let decisions = fresh.map(|(_, decision)| decision.clone()).skip(new.saturating_sub(at_most)).collect();
            let Recorded { at, replica, names, .. } = &*decided;
            Arc::new(Recorded { at: *at, replica: replica.clone(), names: names.clone(), decisions })
        };
        self.decisions += kept.decisions.len();
        self.rounds.push_back(kept);
    }

    /// Since when there is any history: the coordinator's first round. None before it.
    #[must_use]
    pub const fn recorded_since(&self) -> Option<Timestamp> {
        self.recorded_since
    }

    /// What was decided about a target, newest first.
    pub fn of(&self, target: TargetId) -> impl Iterator<Item = Remembered<'_>> {
        self.rounds.iter().rev().flat_map(move |round| {
            let about = round.decisions.iter().rev().filter(move |decision| decision.target() == Some(target));
            about.map(|decision| Remembered { at: round.at, replica: &round.replica, decision, names: &round.names })
        })
    }

    /// The replicas in which a target has no shard.
    pub fn waiting(&self, target: TargetId) -> impl Iterator<Item = (&ReplicaId, Waiting)> {
        self.unplaced.iter().filter_map(move |(replica, waiting)| Some((replica, *waiting.get(&target)?)))
    }
}

impl Decision {
    /// Which target it is about.
    const fn target(&self) -> Option<TargetId> {
        match self {
            Self::Changed(change) => target_of(change),
            Self::Unplaced { target, .. } => Some(*target),
        }
    }

    const fn kind(&self) -> &'static str {
        match self {
            Self::Changed(change) => change.kind(),
            Self::Unplaced { .. } => "unplaced",
        }
    }

    fn shards(&self) -> impl Iterator<Item = Ordinal> {
        let [from, to] = match self {
            Self::Changed(change) => shards_of(change),
            Self::Unplaced { .. } => [None, None],
        };
        from.into_iter().chain(to)
    }
}

/// The decisions that are the same as the one about their target in the round before, by their places.
fn repeated(before: &[Decision], now: &[Decision]) -> BTreeSet<usize> {
    if before.is_empty() || now.is_empty() {
        return BTreeSet::new();
    }
    let key = |decision: &Decision| (decision.target(), decision.kind());
    let places: BTreeMap<_, usize> = now.iter().enumerate().map(|(place, decision)| (key(decision), place)).collect();
    let same = before.iter().filter_map(|decision| {
        let place = *places.get(&key(decision))?;
        (now.get(place) == Some(decision)).then_some(place)
    });
    same.collect()
}

#[cfg(test)]
mod tests;
