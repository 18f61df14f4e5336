//! How much a plan changes, in numbers.

use std::collections::BTreeMap;

use narthex_planner::{Plan, ReplicaPlan, World, world::ReplicaView};
use serde::{Deserialize, Serialize};

/// How much of everything there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Shards there are.
    pub shards: u64,
    /// Shards there are to be.
    pub wanted_shards: u64,
    /// Targets that discovery lists.
    pub targets: u64,
    /// Targets that get a shard.
    pub places: u64,
    /// Targets that start to move.
    pub moves: u64,
    /// Targets that leave because discovery no longer lists them.
    pub removed: u64,
    /// All changes, by kind.
    pub changes: BTreeMap<String, u64>,
    /// Targets without a shard, by why.
    pub unplaced: BTreeMap<String, u64>,
    /// Targets that are larger than a shard may fill.
    pub oversized: u64,
    /// Targets that may have killed a shard.
    pub suspects: u64,
    /// Targets that were taken over from lost shards and whose new shards are being watched.
    pub taken_over: u64,
}

impl Totals {
    /// All replicas together.
    pub(in crate::status) fn of(world: &World, plan: &Plan) -> Self {
        let mut totals = Self { targets: world.targets.len() as u64, ..Self::default() };
        for view in &world.replicas {
            if let Some(plan) = plan.replicas.get(&view.id) {
                totals.add(&Self::of_replica(world, view, plan));
            }
        }
        totals
    }

    /// One replica.
    pub(super) fn of_replica(world: &World, view: &ReplicaView, plan: &ReplicaPlan) -> Self {
        // Counted by what does not allocate: there may be a million.
        let (mut by_kind, mut by_why) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        plan.changes.iter().for_each(|change| *by_kind.entry(change.kind()).or_default() += 1);
        plan.unplaced.values().for_each(|why| *by_why.entry(why.as_str()).or_default() += 1);
        let mut totals = Self {
            shards: view.shards.len() as u64,
            wanted_shards: u64::from(plan.wanted_shards),
            targets: world.targets.len() as u64,
            unplaced: by_why.into_iter().map(|(why, n)| (why.to_owned(), n)).collect(),
            oversized: plan.oversized.len() as u64,
            suspects: plan.memory.suspects.len() as u64,
            taken_over: plan.memory.taken_over.len() as u64,
            ..Self::default()
        };
        by_kind.into_iter().for_each(|(kind, n)| totals.count(kind, n));
        totals
    }

    /// Counts changes of a kind.
    pub(in crate::status) fn count(&mut self, kind: &str, n: u64) {
        match kind {
            "place" => self.places += n,
            "move" => self.moves += n,
            "forget" => self.removed += n,
            _others => {}
        }
        *self.changes.entry(kind.to_owned()).or_default() += n;
    }

    /// Adds another replica's. Every replica has the same targets.
    fn add(&mut self, other: &Self) {
        self.shards += other.shards;
        self.wanted_shards += other.wanted_shards;
        self.oversized += other.oversized;
        self.suspects += other.suspects;
        self.taken_over += other.taken_over;
        other.changes.iter().for_each(|(kind, n)| self.count(kind, *n));
        for (why, n) in &other.unplaced {
            *self.unplaced.entry(why.clone()).or_default() += n;
        }
    }
}
