//! Report: what a simulation saw, round by round and in total.

use std::collections::BTreeMap;

use narthex_common::{shard::ReplicaId, target::TargetId};
use narthex_planner::{
    Plan,
    reason::{Change, MoveReason, PlaceReason, Unplaced},
};
use serde::Serialize;

/// What a simulation saw.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What the scenario shows.
    pub about: String,
    /// The seed it was played with.
    pub seed: u64,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// All of them together.
    pub totals: Totals,
    /// The expectations, and whether they came true.
    pub expectations: Vec<Expectation>,
}

/// One round.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Round {
    /// Which one; the first is 1.
    pub round: u32,
    /// Seconds since the start.
    pub at_seconds: f64,
    /// What happened before it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// Whether there was a coordinator.
    pub planned: bool,
    /// Targets that discovery lists.
    pub targets: u64,
    /// What was planned.
    pub planned_changes: Changes,
    /// Targets that got no shard, by reason.
    pub unplaced: BTreeMap<&'static str, u64>,
    /// Targets that are larger than a shard.
    pub oversized: u64,
    /// Shards that live, in all replicas.
    pub shards_running: u64,
    /// Shards asked for, in all replicas.
    pub shards_wanted: u64,
    /// The fewest shards that could do, in all replicas.
    pub shards_lower_bound: u64,
    /// Scrape intervals that were missed until the next round.
    pub missed: u64,
    /// Those of them that the plan tore.
    pub torn: u64,
    /// Targets that nobody has ever scraped.
    pub never_scraped: u64,
    /// Targets that were scraped before, and are not now.
    pub not_scraped: u64,
    /// Targets that two shards of a replica scrape.
    pub double_scraped: u64,
    /// Shards that their load killed until the next round.
    pub shards_killed: u64,
    /// How full the shards are that live.
    pub load: Spread,
    /// Invariants that the plan breaks; none when they were not checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broken: Option<Vec<String>>,
    /// How long planning took, in seconds; 0 when nobody measured.
    pub plan_seconds: f64,
}

/// What was planned, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Targets that got a shard.
    pub places: u64,
    /// Those of them that had been placed before, and were not taken over.
    pub places_again: u64,
    /// Those of them that were taken over from a lost shard.
    pub takeovers: u64,
    /// Moves begun.
    pub moves: u64,
    /// Moves that came to their end.
    pub settles: u64,
    /// Moves given up.
    pub give_backs: u64,
    /// Targets that are suspected of having killed a shard.
    pub suspects: u64,
    /// Targets that left because discovery no longer lists them.
    pub forgets: u64,
    /// Changes of the number of shards, of all replicas.
    pub scales: u64,
}

/// How full shards are, in budgets, of whichever is scarcer: memory or work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The fullest.
    pub max: f64,
    /// All together.
    pub mean: f64,
    /// The emptiest.
    pub min: f64,
}

/// All rounds together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Totals {
    /// What was planned.
    pub planned_changes: Changes,
    /// Scrape intervals that were missed.
    pub missed: u64,
    /// Those of them that the plan tore.
    pub torn: u64,
    /// Targets that nobody has ever scraped, at the end.
    pub never_scraped: u64,
    /// Rounds times targets that two shards of a replica scraped.
    pub double_scrapes: u64,
    /// The moves of the target that was moved most.
    pub moves_of_one_target: u64,
    /// The takeovers of the target that was taken over most.
    pub takeovers_of_one_target: u64,
    /// Shards that their load killed.
    pub shards_killed: u64,
    /// The most shards ever asked for.
    pub most_shards: u64,
    /// The fullest that any shard ever was, in budgets.
    pub peak_load: f64,
    /// Rounds from the last event (or the start) to the last plan that changed something.
    pub converged_after: u64,
    /// Instructions for a shard that could not be told.
    pub refused: u64,
    /// How many rounds' invariants were checked.
    pub rounds_checked: u64,
    /// Invariants that broke.
    pub broken: u64,
    /// How long planning took.
    pub plan_seconds: PlanTime,
    /// Memory of the whole simulation at its end, where it was measured: the coordinator's world, the planner, and the
    /// made-up fleet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

/// How long planning took, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PlanTime {
    /// The slowest round.
    pub max: f64,
    /// Half of the rounds were faster.
    pub median: f64,
    /// The fastest round.
    pub min: f64,
}

/// An expectation, and whether it came true.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Expectation {
    /// Of what.
    pub figure: &'static str,
    /// What was expected.
    pub expected: String,
    /// What it was.
    pub was: String,
    /// Whether that is right.
    pub holds: bool,
}

impl Report {
    /// Whether everything came out as it must.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.expectations.iter().all(|expectation| expectation.holds)
    }
}

impl Changes {
    pub(crate) fn add(&mut self, more: Self) {
        self.places += more.places;
        self.places_again += more.places_again;
        self.takeovers += more.takeovers;
        self.moves += more.moves;
        self.settles += more.settles;
        self.give_backs += more.give_backs;
        self.suspects += more.suspects;
        self.forgets += more.forgets;
        self.scales += more.scales;
    }

    /// Whether anything was planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Spread {
    pub(crate) fn of(fill: &[f64]) -> Self {
        if fill.is_empty() {
            return Self::default();
        }
        let max = fill.iter().copied().fold(0.0, f64::max);
        let min = fill.iter().copied().fold(f64::INFINITY, f64::min);
        Self { max, mean: fill.iter().sum::<f64>() / fill.len() as f64, min }
    }

    /// How uneven it is: the fullest over the mean.
    #[must_use]
    pub fn max_over_mean(&self) -> f64 {
        if self.mean > 0.0 { self.max / self.mean } else { 1.0 }
    }
}

/// What was done to each target so far, by replica: to know what happened twice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deeds {
    placed: BTreeMap<(ReplicaId, TargetId), Deed>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Deed {
    moves: u32,
    takeovers: u32,
}

impl Deeds {
    /// Counts what a plan does.
    pub(crate) fn count(&mut self, plan: &Plan, totals: &mut Totals) -> Changes {
        let mut changes = Changes::default();
        for (replica, change) in plan.replicas.iter().flat_map(|(id, plan)| plan.changes.iter().map(move |c| (id, c))) {
            match change {
                Change::Place { target, why, .. } => self.place(replica, *target, *why, &mut changes, totals),
                Change::Move { why: MoveReason::HeldTwice, .. } => {}
                Change::Move { target, .. } => {
                    changes.moves += 1;
                    let deed = self.placed.entry((replica.clone(), *target)).or_default();
                    deed.moves += 1;
                    totals.moves_of_one_target = totals.moves_of_one_target.max(deed.moves.into());
                }
                Change::Settle { .. } => changes.settles += 1,
                Change::GiveBack { .. } => changes.give_backs += 1,
                Change::Suspect { .. } => changes.suspects += 1,
                Change::Forget { .. } => changes.forgets += 1,
                Change::Scale { .. } => changes.scales += 1,
            }
        }
        changes
    }

    fn place(
        &mut self,
        replica: &ReplicaId,
        target: TargetId,
        why: PlaceReason,
        changes: &mut Changes,
        totals: &mut Totals,
    ) {
        changes.places += 1;
        let known = self.placed.contains_key(&(replica.clone(), target));
        let deed = self.placed.entry((replica.clone(), target)).or_default();
        match why {
            PlaceReason::TakenOver { .. } => {
                changes.takeovers += 1;
                deed.takeovers += 1;
                totals.takeovers_of_one_target = totals.takeovers_of_one_target.max(deed.takeovers.into());
            }
            PlaceReason::LowestWithRoom
            | PlaceReason::MostRoom
            | PlaceReason::Oversized
            | PlaceReason::Isolated
            | PlaceReason::Mirrored => changes.places_again += u64::from(known),
        }
    }
}

/// Unplaced targets of a plan, by reason.
pub(crate) fn unplaced(plan: &Plan) -> BTreeMap<&'static str, u64> {
    let mut count = BTreeMap::new();
    for why in plan.replicas.values().flat_map(|plan| plan.unplaced.values()) {
        *count.entry(Unplaced::as_str(*why)).or_insert(0) += 1;
    }
    count
}
