//! Whatever happens to a fleet: the invariants hold in every round, nothing is lost, and it comes to rest.

use std::{collections::BTreeSet, time::Duration};

use narthex_common::load::{Load, SampleRate, Series};
use narthex_planner::{Policy, invariant, policy::Settings, reason::Unplaced, world::OwnBudget};
use proptest::prelude::*;

use crate::{
    fleet::{Fleet, Shard},
    made_up::target,
};

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
    ShardFallsSilent {
        shard: usize,
    },
    ShardsAnswer,
    ShardRunsAnotherConfig {
        shard: usize,
    },
    ShardLosesItsDisk {
        shard: usize,
    },
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
        6 => (number.clone(), load(), prop::bool::weighted(0.8))
            .prop_map(|(number, load, up)| Event::TargetAppears { number, load, up }),
        2 => number.clone().prop_map(|number| Event::TargetGoes { number }),
        3 => (number.clone(), load()).prop_map(|(number, load)| Event::TargetGrows { number, load }),
        1 => number.prop_map(|number| Event::TargetChangesHealth { number }),
        1 => shard.clone().prop_map(|shard| Event::ShardFallsSilent { shard }),
        2 => Just(Event::ShardsAnswer),
        1 => shard.clone().prop_map(|shard| Event::ShardRunsAnotherConfig { shard }),
        1 => shard.clone().prop_map(|shard| Event::ShardLosesItsDisk { shard }),
        1 => Just(Event::CoordinatorRestarts),
        1 => shard.prop_map(|shards_told| Event::CoordinatorIsKilled { shards_told }),
        1 => Just(Event::MemberJoins),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let limits = (0..3u32, 2..8u32, prop::option::of(Just(110u64)));
    (limits, prop::option::of(Just(Duration::from_secs(60))), 1..12u32).prop_map(
        |((min_shards, max_shards, max_samples_per_second), max_idle_time, max_moves)| {
            Policy::new(Settings {
                max_series: Series(100),
                max_samples_per_second: max_samples_per_second.map(SampleRate::per_second),
                min_shards,
                max_shards,
                max_idle_time,
                max_moves,
                max_silence: Duration::from_secs(30),
                ..Settings::default()
            })
            .unwrap()
        },
    )
}

fn happen(fleet: &mut Fleet, event: &Event) {
    let shards = fleet.shards.len().max(1);
    match *event {
        Event::Nothing | Event::CoordinatorIsKilled { .. } => {}
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
        Event::ShardFallsSilent { shard } => {
            if let Some(shard) = fleet.shards.get_mut(shard % shards) {
                shard.silent = true;
            }
        }
        Event::ShardsAnswer => {
            for shard in &mut fleet.shards {
                (shard.silent, shard.config_matches) = (false, true);
            }
        }
        Event::ShardRunsAnotherConfig { shard } => {
            if let Some(shard) = fleet.shards.get_mut(shard % shards) {
                shard.config_matches = false;
            }
        }
        Event::ShardLosesItsDisk { shard } => {
            if let Some(shard) = fleet.shards.get_mut(shard % shards) {
                shard.targets.clear();
            }
        }
        Event::CoordinatorRestarts => fleet.restart_coordinator(),
        Event::MemberJoins => {
            if !fleet.scalable && fleet.shards.len() < 6 {
                fleet.shards.push(Shard::starting(fleet.now, 1));
                fleet.wanted_shards += 1;
            }
        }
    }
}

/// One round in which the plan is right, the same when made twice, and what is scraped goes on being scraped.
fn checked_round(fleet: &mut Fleet, policy: &Policy, shards_told: usize) {
    let world = fleet.look();
    let plan = narthex_planner::plan(&world, policy);
    assert_eq!(invariant::broken(&world, policy, &plan), []);
    assert_eq!(narthex_planner::plan(&world, policy), plan, "the same world gives the same plan");
    let before = fleet.scraped();
    fleet.apply(&plan, shards_told);
    let after = fleet.scraped();
    for (id, scrapes) in before.iter().filter(|(id, _)| fleet.targets.contains_key(id)) {
        assert!(after.get(id).is_some_and(|now| now >= scrapes), "target {id} is torn from the one that scraped it");
    }
    fleet.pass_time();
}

fn heal(fleet: &mut Fleet) {
    for shard in &mut fleet.shards {
        (shard.silent, shard.config_matches, shard.starts_in) = (false, true, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_invariants_hold_and_the_fleet_comes_to_rest(
        policy in policy(),
        shards in 0..5u32,
        scalable in prop::bool::weighted(0.8),
        events in prop::collection::vec((event(), 1..4u32), 1..40),
    ) {
        let mut fleet = Fleet::new(shards, scalable);
        for (event, rounds) in events {
            happen(&mut fleet, &event);
            if let Event::CoordinatorIsKilled { shards_told } = event {
                checked_round(&mut fleet, &policy, shards_told);
                fleet.restart_coordinator();
            }
            for _ in 0..rounds {
                checked_round(&mut fleet, &policy, usize::MAX);
            }
        }
        heal(&mut fleet);
        let last = fleet.settle(&policy);

        let mut held = BTreeSet::new();
        for id in fleet.shards.iter().flat_map(|shard| shard.targets.keys()) {
            prop_assert!(held.insert(*id), "two shards hold target {id} at rest");
            prop_assert!(fleet.targets.contains_key(id), "target {id} is held and gone");
        }
        for id in fleet.targets.keys().filter(|id| !held.contains(id)) {
            let why = last.unplaced[id];
            let expected = if fleet.scalable { Unplaced::ShardLimit } else { Unplaced::CannotScale };
            prop_assert!(why == expected || why == Unplaced::BelowMinimum && !fleet.scalable, "{why:?}");
        }
        if fleet.scalable && last.unplaced.is_empty() && fleet.shards.len() < policy.max_shards as usize {
            for (shard, kept) in fleet.shards.iter().zip(fleet.kept()) {
                prop_assert!(kept <= policy.budget(OwnBudget::default()).relief().series || shard.targets.len() == 1, "a shard is left over its budget");
            }
        }
    }
}
