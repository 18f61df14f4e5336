//! Whatever happens to a fleet: the invariants hold in every round, nothing that is scraped is torn from its shard, and
//! once all is quiet it comes to rest.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{
    assignment::TargetState,
    load::{Load, SampleRate, Series},
    shard::ReplicaId,
    target::TargetId,
};
use narthex_planner::{
    Plan, Planner, Policy, World,
    invariant::Inspector,
    policy::{Placement, Settings},
    reason::Unplaced,
    world::OwnBudget,
};
use proptest::prelude::*;

use crate::{
    arbitrary::cases,
    fleet::{Fleet, Shard},
    made_up::target,
};

/// Rounds of ten seconds after which nothing moves any more that need not wait: for targets that moved lately, or could
/// not move. The slowest is a fleet that moves one target a round.
const ROUNDS_TO_REST: usize = 240;

/// By then nothing has moved lately.
const FOUR_HOURS: Duration = Duration::from_secs(4 * 60 * 60);

/// Something that happens between two rounds.
#[derive(Clone, Debug)]
enum Event {
    Nothing,
    TargetAppears {
        number: u64,
        load: Load,
        up: bool,
    },
    TargetGoes {
        number: u64,
    },
    TargetGrows {
        number: u64,
        load: Load,
    },
    TargetChangesHealth {
        number: u64,
    },
    /// It scrapes on, and the coordinator does not hear of it.
    ShardIsCutOff {
        shard: usize,
    },
    ShardDies {
        shard: usize,
    },
    ShardsAnswer,
    ShardRunsAnotherConfig {
        shard: usize,
    },
    ShardLosesItsDisk {
        shard: usize,
    },
    /// Shards that have not started yet take a minute longer.
    ProviderIsSlow,
    /// Nothing is discovered any more, as after a restart.
    DiscoveryFails,
    DiscoveryAnswers,
    CoordinatorRestarts,
    /// The coordinator is killed after it has told some shards, and restarts.
    CoordinatorIsKilled {
        shards_told: usize,
    },
    MemberJoins,
}

fn load() -> impl Strategy<Value = Load> {
    let kept = prop_oneof![8 => 0..60u64, 1 => 60..100u64, 1 => 100..250u64];
    (kept, 0..30u64).prop_map(|(kept, dropped)| Load { exposed: Series(kept + dropped), kept: Series(kept) })
}

fn event() -> impl Strategy<Value = Event> {
    let number = 0..40u64;
    let shard = 0..6usize;
    prop_oneof![
        4 => Just(Event::Nothing),
        8 => (number.clone(), load(), prop::bool::weighted(0.8))
            .prop_map(|(number, load, up)| Event::TargetAppears { number, load, up }),
        2 => number.clone().prop_map(|number| Event::TargetGoes { number }),
        3 => (number.clone(), load()).prop_map(|(number, load)| Event::TargetGrows { number, load }),
        1 => number.prop_map(|number| Event::TargetChangesHealth { number }),
        1 => shard.clone().prop_map(|shard| Event::ShardIsCutOff { shard }),
        1 => shard.clone().prop_map(|shard| Event::ShardDies { shard }),
        2 => Just(Event::ShardsAnswer),
        1 => shard.clone().prop_map(|shard| Event::ShardRunsAnotherConfig { shard }),
        1 => shard.clone().prop_map(|shard| Event::ShardLosesItsDisk { shard }),
        1 => Just(Event::ProviderIsSlow),
        1 => Just(Event::DiscoveryFails),
        2 => Just(Event::DiscoveryAnswers),
        1 => Just(Event::CoordinatorRestarts),
        1 => shard.prop_map(|shards_told| Event::CoordinatorIsKilled { shards_told }),
        1 => Just(Event::MemberJoins),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let limits = (0..3u32, 2..8u32, prop::option::of(Just(110u64)));
    let minute = || prop::option::of(Just(Duration::from_secs(60)));
    let bounds = (1..12u32, 1..12u32);
    (limits, minute(), minute(), bounds, any::<[bool; 3]>()).prop_map(
        |((min_shards, max_shards, max_samples_per_second), max_idle_time, failover_after, bounds, switches)| {
            let [relief, rebalance, mirrored] = switches;
            Policy::new(Settings {
                max_series: Series(100),
                max_samples_per_second: max_samples_per_second.map(SampleRate::per_second),
                min_shards,
                max_shards,
                max_idle_time,
                max_moves: bounds.0,
                max_takeovers: bounds.1,
                max_silence: Duration::from_secs(30),
                failover_after,
                relief,
                rebalance: rebalance && relief && max_idle_time.is_none(),
                placement: if mirrored { Placement::Mirrored } else { Placement::Independent },
                ..Settings::default()
            })
            .unwrap()
        },
    )
}

/// One fleet, or two with the same targets, and what plans and inspects them from round to round.
struct Fleets {
    replicas: Vec<Fleet>,
    discovered: bool,
    planner: Planner,
    inspector: Inspector,
}

impl Fleets {
    fn new(replicas: usize, shards: u32, scalable: bool) -> Self {
        let replicas = vec![Fleet::new(shards, scalable); replicas];
        Self { replicas, discovered: true, planner: Planner::default(), inspector: Inspector::default() }
    }

    fn look(&mut self) -> World {
        let worlds = self.replicas.iter_mut().map(Fleet::look);
        let mut world = worlds.reduce(|mut all, other| {
            all.replicas.extend(other.replicas);
            all
        });
        let world = world.as_mut().unwrap();
        for (place, view) in world.replicas.iter_mut().enumerate() {
            view.id = name(place);
        }
        if !self.discovered {
            world.targets.clear();
            world.jobs.values_mut().for_each(|job| job.discovered = false);
        }
        world.clone()
    }

    /// One round in which the plan is right, and what is scraped goes on being scraped; whether anything changed.
    fn round(&mut self, policy: &Policy, shards_told: usize) -> Option<Plan> {
        let world = self.look();
        let plan = self.planner.plan(&world, policy);
        assert_eq!(self.inspector.broken(&world, policy, &plan), []);
        for (place, fleet) in self.replicas.iter_mut().enumerate() {
            let plan = plan.replicas[&name(place)].clone();
            let before = scraped_by(fleet);
            fleet.apply(&Plan { replicas: BTreeMap::from([(name(0), plan)]) }, shards_told);
            let after = scraped_by(fleet);
            for (id, before) in before.iter().filter(|(id, _)| fleet.targets.contains_key(id)) {
                let goes_on = after.get(id).is_some_and(|after| {
                    let by_the_same = after.keys().any(|shard| before.contains_key(shard));
                    by_the_same && after.values().max() >= before.values().max()
                });
                assert!(goes_on, "target {id} is torn from the shard that scraped it");
            }
            fleet.pass_time();
        }
        plan.replicas.values().any(|plan| !plan.changes.is_empty()).then_some(plan)
    }

    /// A new coordinator, that remembers nothing.
    fn restart_coordinator(&mut self) {
        (self.planner, self.inspector) = (Planner::default(), Inspector::default());
        self.replicas.iter_mut().for_each(Fleet::restart_coordinator);
    }

    fn heal(&mut self) {
        self.discovered = true;
        for shard in self.replicas.iter_mut().flat_map(|fleet| &mut fleet.shards) {
            (shard.silent, shard.dead, shard.config_matches, shard.starts_in) = (false, false, true, 0);
        }
    }

    /// Rounds until nothing changes any more, of which there may be so many; afterwards nothing does.
    fn come_to_rest(&mut self, policy: &Policy) {
        let mut last = None;
        for _ in 0..ROUNDS_TO_REST {
            last = self.round(policy, usize::MAX);
        }
        assert!(last.is_none(), "it does not come to rest: {last:#?}");
        self.replicas.iter_mut().for_each(|fleet| fleet.now = fleet.now.after(FOUR_HOURS));
        for _ in 0..ROUNDS_TO_REST {
            last = self.round(policy, usize::MAX);
        }
        assert!(last.is_none(), "it does not come to rest hours later: {last:#?}");
        for _ in 0..10 {
            self.replicas.iter_mut().for_each(|fleet| fleet.now = fleet.now.after(FOUR_HOURS));
            let plan = self.round(policy, usize::MAX);
            assert!(plan.is_none(), "something moves though nothing happened: {plan:#?}");
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::DiscoveryFails => {
                self.restart_coordinator();
                self.discovered = false;
            }
            Event::DiscoveryAnswers => self.discovered = true,
            Event::CoordinatorRestarts => self.restart_coordinator(),
            Event::Nothing
            | Event::TargetAppears { .. }
            | Event::TargetGoes { .. }
            | Event::TargetGrows { .. }
            | Event::TargetChangesHealth { .. }
            | Event::ShardIsCutOff { .. }
            | Event::ShardDies { .. }
            | Event::ShardsAnswer
            | Event::ShardRunsAnotherConfig { .. }
            | Event::ShardLosesItsDisk { .. }
            | Event::ProviderIsSlow
            | Event::CoordinatorIsKilled { .. }
            | Event::MemberJoins => {}
        }
        for (place, fleet) in self.replicas.iter_mut().enumerate() {
            happen_to_targets(fleet, event);
            happen_to_shards(fleet, place, event);
        }
    }
}

/// Plans of single fleets are for the replica of this name.
fn name(place: usize) -> ReplicaId {
    ReplicaId(format!("replica-{place}"))
}

/// By target, the shards that scrape it, and how often they have.
fn scraped_by(fleet: &Fleet) -> BTreeMap<TargetId, BTreeMap<usize, u32>> {
    let mut scraped: BTreeMap<TargetId, BTreeMap<usize, u32>> = BTreeMap::new();
    for (place, shard) in fleet.shards.iter().enumerate().filter(|(_, shard)| shard.scrapes()) {
        for (&id, held) in &shard.targets {
            scraped.entry(id).or_default().insert(place, held.scrapes);
        }
    }
    scraped
}

fn happen_to_targets(fleet: &mut Fleet, event: &Event) {
    match *event {
        Event::TargetAppears { number, load, up } => fleet.add(target(number), load, up),
        Event::TargetGoes { number } => drop(fleet.targets.remove(&target(number))),
        Event::TargetGrows { number, load } => {
            if let Some(truth) = fleet.targets.get_mut(&target(number)) {
                truth.load = load;
            }
        }
        Event::TargetChangesHealth { number } => {
            if let Some(truth) = fleet.targets.get_mut(&target(number)) {
                truth.up = !truth.up;
            }
        }
        Event::Nothing
        | Event::ShardIsCutOff { .. }
        | Event::ShardDies { .. }
        | Event::ShardsAnswer
        | Event::ShardRunsAnotherConfig { .. }
        | Event::ShardLosesItsDisk { .. }
        | Event::ProviderIsSlow
        | Event::DiscoveryFails
        | Event::DiscoveryAnswers
        | Event::CoordinatorRestarts
        | Event::CoordinatorIsKilled { .. }
        | Event::MemberJoins => {}
    }
}

fn happen_to_shards(fleet: &mut Fleet, replica: usize, event: &Event) {
    // In the second replica it happens to another shard.
    let mut to_shard = |place: usize, happen: fn(&mut Shard)| {
        if let Some(shard) = fleet.shards.get_mut((place + 3 * replica) % 6) {
            happen(shard);
        }
    };
    match *event {
        Event::ShardIsCutOff { shard } => to_shard(shard, |shard| shard.silent = true),
        Event::ShardDies { shard } => to_shard(shard, |shard| shard.dead = true),
        Event::ShardRunsAnotherConfig { shard } => to_shard(shard, |shard| shard.config_matches = false),
        Event::ShardLosesItsDisk { shard } => to_shard(shard, |shard| shard.targets.clear()),
        Event::ShardsAnswer => {
            for shard in &mut fleet.shards {
                (shard.silent, shard.dead, shard.config_matches) = (false, false, true);
            }
        }
        Event::ProviderIsSlow => {
            fleet.shards.iter_mut().filter(|shard| shard.starts_in > 0).for_each(|shard| shard.starts_in += 6);
        }
        Event::MemberJoins => {
            if !fleet.scalable && fleet.shards.len() < 6 {
                fleet.shards.push(Shard::starting(fleet.now, 1));
                fleet.wanted_shards += 1;
            }
        }
        Event::Nothing
        | Event::TargetAppears { .. }
        | Event::TargetGoes { .. }
        | Event::TargetGrows { .. }
        | Event::TargetChangesHealth { .. }
        | Event::DiscoveryFails
        | Event::DiscoveryAnswers
        | Event::CoordinatorRestarts
        | Event::CoordinatorIsKilled { .. } => {}
    }
}

/// At rest every target has one shard that owns it, or a reason that only a person can do something about; and no shard
/// is over its budget while it could be relieved.
fn is_in_order(fleet: &Fleet, policy: &Policy, unplaced: &BTreeMap<TargetId, Unplaced>, is_mirror: bool) {
    let mut held = BTreeMap::new();
    for (&id, how) in fleet.shards.iter().flat_map(|shard| &shard.targets) {
        assert_eq!(held.insert(id, how.state), None, "two shards hold target {id} at rest");
        assert!(fleet.targets.contains_key(&id), "target {id} is held and gone");
    }
    assert!(held.values().all(|state| *state == TargetState::Normal), "something leaves, and goes nowhere");
    for id in fleet.targets.keys().filter(|id| !held.contains_key(id)) {
        let expected = match unplaced[id] {
            Unplaced::ShardLimit => fleet.scalable,
            Unplaced::CannotScale | Unplaced::BelowMinimum => !fleet.scalable,
            Unplaced::WaitingForMirror => is_mirror,
            Unplaced::MaybeHeld
            | Unplaced::LoadUnknown
            | Unplaced::WaitingForShards
            | Unplaced::ShardLost
            | Unplaced::Suspected => false,
        };
        assert!(expected, "target {id} waits: {:?}", unplaced[id]);
    }
    let could_be_relieved = policy.relief && fleet.scalable && unplaced.is_empty();
    if could_be_relieved && fleet.shards.len() < policy.max_shards as usize && !is_mirror {
        for (shard, kept) in fleet.shards.iter().zip(fleet.kept()) {
            let limit = policy.budget(OwnBudget::default()).relief().series;
            assert!(kept <= limit || shard.targets.len() == 1, "a shard is left over its budget with {kept} series");
        }
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn whatever_happens_the_invariants_hold_and_the_fleet_comes_to_rest(
        policy in policy(),
        replicas in 1..3usize,
        shards in 0..5u32,
        scalable in prop::bool::weighted(0.8),
        events in prop::collection::vec((event(), prop_oneof![8 => 1..4u32, 1 => 10..20u32]), 1..60),
    ) {
        let mut fleets = Fleets::new(replicas, shards, scalable);
        for (event, rounds) in events {
            fleets.happen(&event);
            if let Event::CoordinatorIsKilled { shards_told } = event {
                fleets.round(&policy, shards_told);
                fleets.restart_coordinator();
            }
            for _ in 0..rounds {
                fleets.round(&policy, usize::MAX);
            }
        }
        fleets.heal();
        fleets.come_to_rest(&policy);
        let world = fleets.look();
        let plan = Planner::default().plan(&world, &policy);
        for (place, fleet) in fleets.replicas.iter().enumerate() {
            let is_mirror = place > 0 && policy.placement == Placement::Mirrored;
            is_in_order(fleet, &policy, &plan.replicas[&name(place)].unplaced, is_mirror);
        }
    }
}
