//! Two replicas: each planned by itself, or the second one mirrors the first.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use narthex_common::{assignment::TargetState, load::Series, shard::Ordinal, shard::ReplicaId, target::TargetId};
use narthex_planner::{
    Plan, Policy, ReplicaPlan, World, invariant,
    policy::{Placement, Settings},
    reason::{Change, MoveReason, PlaceReason, ScaleReason, Unplaced},
    world::{OwnBudget, ShardView},
};

use crate::{
    fleet::{Fleet, Shard},
    made_up::{
        NOW, but, gone_quiet, held, moves, owned, packing, quiet_for, series, shard, silent_shard, spreading, target,
        world,
    },
};

/// Two fleets with the same targets.
struct Pair {
    first: Fleet,
    second: Fleet,
}

/// A shard that is told what it has: nothing of it was measured, or asked about, in any other replica.
fn scrapes<const T: usize>(numbers: [u64; T]) -> ShardView {
    shard(numbers.map(|number| owned(number, 3)))
}

impl Pair {
    fn new(first: u32, second: u32) -> Self {
        Self { first: Fleet::new(first, true), second: Fleet::new(second, true) }
    }

    fn add(&mut self, number: u64, kept: u64) {
        self.first.add(target(number), series(kept), true);
        self.second.add(target(number), series(kept), true);
    }

    fn look(&mut self) -> World {
        pair(self.first.look(), self.second.look())
    }

    /// One round, with its plan checked; what each replica is told.
    fn round(&mut self, policy: &Policy) -> (ReplicaPlan, ReplicaPlan) {
        let world = self.look();
        let plan = narthex_planner::plan(&world, policy);
        assert_eq!(invariant::broken(&world, policy, &plan), []);
        let (first, second) = of_both(plan);
        for (fleet, plan) in [(&mut self.first, &first), (&mut self.second, &second)] {
            let alone = Plan { replicas: BTreeMap::from([(ReplicaId("replica".into()), plan.clone())]) };
            fleet.apply(&alone, usize::MAX);
            fleet.pass_time();
        }
        (first, second)
    }

    /// Rounds until nothing changes any more; how many.
    fn settle(&mut self, policy: &Policy) -> u32 {
        let mut quiet = 0;
        for rounds in 1..1_000 {
            let (first, second) = self.round(policy);
            quiet = if first.changes.is_empty() && second.changes.is_empty() { quiet + 1 } else { 0 };
            if quiet == 20 {
                return rounds - quiet;
            }
        }
        panic!("it never comes to rest: {:#?}", self.round(policy));
    }

    fn is_mirrored(&self) -> bool {
        contents(&self.first) == contents(&self.second)
    }

    fn each_target_is_once_in_each(&self) -> bool {
        [&self.first, &self.second].into_iter().all(|fleet| {
            let mut all: Vec<TargetId> = contents(fleet).into_iter().flatten().collect();
            all.sort_unstable();
            all.iter().copied().eq(fleet.targets.keys().copied())
        })
    }
}

/// The worlds of two replicas, as one.
fn pair(first: World, second: World) -> World {
    let mut world = first;
    world.replicas.extend(second.replicas);
    for (name, replica) in ["a", "b"].into_iter().zip(&mut world.replicas) {
        replica.id = ReplicaId(name.into());
    }
    world
}

fn of_both(plan: Plan) -> (ReplicaPlan, ReplicaPlan) {
    let mut plans = plan.replicas.into_values();
    (plans.next().unwrap(), plans.next().unwrap())
}

/// Plans a world of two replicas.
fn plan(world: &World, settings: Settings) -> (ReplicaPlan, ReplicaPlan) {
    of_both(narthex_planner::plan(world, &Policy::new(settings).unwrap()))
}

fn mirrored(settings: Settings) -> Settings {
    Settings { placement: Placement::Mirrored, ..settings }
}

/// What every shard owns; shards at the end that own nothing are left out.
fn contents(fleet: &Fleet) -> Vec<BTreeSet<TargetId>> {
    let owns = |shard: &Shard| {
        let owned = shard.targets.iter().filter(|(_, held)| held.state == TargetState::Normal);
        owned.map(|(id, _)| *id).collect::<BTreeSet<_>>()
    };
    let mut contents: Vec<_> = fleet.shards.iter().map(owns).collect();
    while contents.last().is_some_and(BTreeSet::is_empty) {
        contents.pop();
    }
    contents
}

/// The targets that get a shard, as target, shard and reason.
fn placed(plan: &ReplicaPlan) -> Vec<(u64, u32, PlaceReason)> {
    let place = |change: &Change| match *change {
        Change::Place { target, to, why } => Some((target.0.0, to.0, why)),
        Change::Move { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    };
    plan.changes.iter().filter_map(place).collect()
}

fn why_moved(plan: &ReplicaPlan) -> Vec<MoveReason> {
    let why = |change: &Change| match *change {
        Change::Move { why, .. } => Some(why),
        Change::Place { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    };
    plan.changes.iter().filter_map(why).collect()
}

mod independent;
mod mirror;
mod whatever_happens;
