//! Suspects: a target that kills the shard that scrapes it is not carried from shard to shard.

use std::collections::BTreeMap;

use narthex_common::{load::Series, shard::Ordinal};
use narthex_planner::{
    Policy, World,
    memory::{Suspect, Suspicion, TakenOver},
    policy::Settings,
    reason::{Change, PlaceReason, Unplaced},
    world::{HeldTarget, OwnBudget, ShardView},
};

use crate::{
    fleet::Fleet,
    made_up::{NOW, Round, moves, owned, packing, plan, quiet_for, series, shard, spreading, target, world},
};

/// A target that was assigned with one load and measured with another.
fn grown(number: u64, from: u64, to: u64) -> (u64, HeldTarget) {
    let (number, held) = owned(number, 3);
    (number, HeldTarget { planned: Some(series(from)), load: Some(series(to)), ..held })
}

/// Who is suspected of what.
fn suspected(plan: &Round) -> Vec<(u64, Suspicion)> {
    let suspected = plan.changes.iter().filter_map(|change| match change {
        Change::Suspect { target, why, .. } => Some((target.0.0, *why)),
        Change::Place { .. }
        | Change::Move { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    });
    suspected.collect()
}

fn placed(plan: &Round, number: u64) -> Option<(u32, PlaceReason)> {
    plan.changes.iter().find_map(|change| match change {
        Change::Place { target: placed, to, why } if *placed == target(number) => Some((to.0, *why)),
        Change::Place { .. }
        | Change::Move { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    })
}

/// Notes that the shard of ordinal 9 was lost with a target before.
fn taken_over_before(world: &mut World, targets: &[u64]) {
    let taken_over = TakenOver { at: NOW, from: Ordinal(9), times: 1 };
    world.replicas[0].memory.taken_over = targets.iter().map(|number| (target(*number), taken_over)).collect();
}

#[test]
fn the_target_that_grew_most_is_suspected_and_gets_an_empty_shard_while_the_rest_goes_where_there_is_room() {
    let lost = quiet_for(300, shard([grown(1, 10, 30), grown(2, 5, 14), grown(3, 30, 50)]));
    let world = world([(1, 0), (2, 0), (3, 0), (4, 10)], [lost, shard([owned(4, 3)]), shard([])]);
    let plan = plan(&world, packing());
    assert_eq!(suspected(&plan), [(1, Suspicion::Grew)]);
    assert_eq!(placed(&plan, 1), Some((2, PlaceReason::Isolated)));
    for number in [2, 3] {
        assert_eq!(placed(&plan, number), Some((1, PlaceReason::TakenOver { from: Ordinal(0) })));
    }
}

#[test]
fn who_did_not_grow_to_twice_its_load_and_by_a_tenth_of_a_budget_is_not_suspected() {
    let lost = quiet_for(300, shard([grown(1, 1, 10), grown(2, 20, 39), owned(3, 3)]));
    let plan = plan(&world([(1, 0), (2, 0), (3, 60)], [lost, shard([]), shard([])]), spreading());
    assert_eq!(suspected(&plan), []);
}

#[test]
fn of_those_that_lose_a_second_shard_the_heaviest_is_suspected_that_was_scraped_least() {
    let lost = || quiet_for(300, shard([owned(1, 0), owned(2, 0), owned(3, 3), owned(4, 0)]));
    let mut world = world([(1, 10), (2, 20), (3, 30), (4, 40)], [lost(), shard([]), shard([])]);
    assert_eq!(suspected(&plan(&world, spreading())), [], "once is chance");
    taken_over_before(&mut world, &[1, 2, 3]);
    assert_eq!(suspected(&plan(&world, spreading())), [(2, Suspicion::DiedAgain)]);
    world.replicas[0].memory.taken_over.get_mut(&target(3)).unwrap().times = 2;
    assert_eq!(suspected(&plan(&world, spreading())), [(3, Suspicion::DiedAgain)], "or that lost most of all");
}

#[test]
fn those_that_lose_a_second_shard_go_to_different_ones_as_far_as_there_are_any() {
    let lost = quiet_for(300, shard([owned(1, 0), owned(2, 0), owned(3, 0), owned(4, 0), owned(5, 0)]));
    let targets = [(1, 9), (2, 8), (3, 7), (4, 6), (5, 5), (6, 10), (7, 10)];
    let mut world = world(targets, [lost, shard([]), shard([owned(6, 3)]), shard([owned(7, 3)])]);
    taken_over_before(&mut world, &[1, 2, 3, 4, 5]);
    let plan = plan(&world, packing());
    assert_eq!(placed(&plan, 1), Some((1, PlaceReason::Isolated)));
    let shards: Vec<_> = [2, 3, 4, 5].iter().map(|number| placed(&plan, *number).unwrap().0).collect();
    assert_eq!(shards, [2, 3, 2, 3], "though the lowest has room for all");
    assert!(plan.memory.taken_over.values().filter(|taken| taken.from == Ordinal(0)).all(|taken| taken.times == 2));
}

#[test]
fn a_suspect_that_finds_no_empty_shard_asks_for_one_and_waits() {
    let lost = quiet_for(300, shard([grown(1, 10, 30), owned(2, 3)]));
    let mut world = world([(1, 0), (2, 10), (3, 10)], [lost, shard([owned(3, 3)])]);
    let first = plan(&world, spreading());
    assert_eq!((placed(&first, 1), first.wanted_shards), (None, 3));
    assert_eq!(first.unplaced, BTreeMap::from([(target(1), Unplaced::Suspected)]));
    assert!(placed(&first, 2).is_some());
    world.replicas[0].wanted_shards = 3;
    world.replicas[0].memory = first.memory.clone();
    let next = plan(&world, spreading());
    assert_eq!((next.wanted_shards, suspected(&next)), (3, vec![]));
}

#[test]
fn a_suspect_whose_own_shard_is_lost_is_carried_to_no_other_one() {
    let lost = quiet_for(300, shard([owned(1, 3)]));
    let mut world = world([(1, 10)], [lost, shard([])]);
    let suspect = Suspect { since: NOW, why: Suspicion::DiedAgain, isolated_on: Some(Ordinal(0)), lives_since: None };
    world.replicas[0].memory.suspects = [(target(1), suspect)].into();
    let plan = plan(&world, spreading());
    assert_eq!(plan.changes, []);
    assert_eq!(plan.unplaced, BTreeMap::from([(target(1), Unplaced::Suspected)]), "it is said");
}

#[test]
fn a_suspect_is_not_drained_onto_an_empty_shard_that_is_too_small_for_it() {
    let too_small = || {
        let budget = OwnBudget { max_series: Some(Series(5)), ..OwnBudget::default() };
        ShardView { budget, ..shard([]) }
    };
    let mut world = world([(1, 50), (2, 10)], [too_small(), shard([owned(1, 3)]), shard([owned(2, 3)])]);
    let suspect = Suspect { since: NOW, why: Suspicion::Grew, isolated_on: Some(Ordinal(2)), lives_since: None };
    world.replicas[0].memory.suspects = [(target(2), suspect)].into();
    assert_eq!(plan(&world, packing()).changes, []);
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = OwnBudget::default();
    assert_eq!(moves(&plan(&world, packing())), [(2, 2, 0)], "nor is it kept where it is for ever");
}

#[test]
fn whoever_dies_with_a_suspect_is_not_to_blame() {
    let lost = quiet_for(300, shard([owned(1, 3), grown(2, 10, 40)]));
    let mut world = world([(1, 10), (2, 10)], [lost, shard([]), shard([])]);
    let suspect = Suspect { since: NOW, why: Suspicion::DiedAgain, isolated_on: None, lives_since: None };
    world.replicas[0].memory.suspects = [(target(1), suspect)].into();
    assert_eq!(suspected(&plan(&world, spreading())), []);
}

#[test]
fn a_shard_that_was_to_go_was_killed_by_nobody() {
    let lost = quiet_for(300, shard([grown(1, 10, 30)]));
    let mut world = world([(1, 0)], [shard([]), lost]);
    world.replicas[0].wanted_shards = 1;
    let plan = plan(&world, spreading());
    assert_eq!(suspected(&plan), []);
    assert!(placed(&plan, 1).is_some());
}

#[test]
fn a_suspect_is_trusted_again_once_it_has_lived_for_an_hour_and_what_was_taken_over_is_forgotten() {
    let suspect = Suspect { since: NOW, why: Suspicion::Grew, isolated_on: Some(Ordinal(0)), lives_since: None };
    let mut world = world([(1, 10), (2, 10)], [shard([grown(1, 10, 30)]), shard([owned(2, 3)])]);
    let memory = &mut world.replicas[0].memory;
    memory.suspects = [(target(1), suspect), (target(7), suspect)].into();
    let taken_over = TakenOver { at: NOW, from: Ordinal(9), times: 1 };
    memory.taken_over = [(target(2), taken_over), (target(8), taken_over)].into();
    let mut round_after = |seconds: i64| {
        world.now.0 = NOW.0 + seconds * 1000;
        let plan = plan(&world, spreading());
        world.replicas[0].memory = plan.memory.clone();
        plan.memory.clone()
    };
    let memory = round_after(0);
    assert!(memory.suspects.keys().eq([&target(1)]), "who is gone is forgotten at once");
    assert!(memory.taken_over.keys().eq([&target(2)]));
    assert_eq!(round_after(3599).suspects.len(), 1);
    assert!(round_after(3600).is_empty());
}

/// Twenty shards of five targets each, and a target among them that kills.
fn fleet_with(killer: u64, load: u64) -> (Fleet, Policy) {
    let policy = Policy::new(Settings { max_shards: 40, ..spreading() }).unwrap();
    let mut fleet = Fleet::new(20, true);
    for number in 1..=100 {
        fleet.add(target(number), series(if number == killer { load } else { 10 + number % 3 }), true);
    }
    fleet.settle(&policy);
    (fleet, policy)
}

/// The shards that were killed on which there was more than the killer; at the end everything but the killer is scraped.
fn others_killed(fleet: &mut Fleet, policy: &Policy, rounds: u32) -> usize {
    let mut others = 0;
    for _ in 0..rounds {
        let before = fleet.killed.len();
        fleet.round(policy);
        let killed = &fleet.killed[before..];
        others += killed.iter().filter(|shard| fleet.shards[**shard].targets.len() > 1).count();
    }
    assert!(fleet.unscraped().iter().all(|id| fleet.killers.contains(id)), "{:?}", fleet.unscraped());
    fleet.settle(policy);
    assert!(fleet.unscraped().iter().all(|id| fleet.killers.contains(id)), "{:?}", fleet.unscraped());
    others
}

#[test]
fn a_target_that_grows_and_kills_takes_one_shard_with_it_and_its_own() {
    let (mut fleet, policy) = fleet_with(17, 10);
    fleet.targets.get_mut(&target(17)).unwrap().load = series(40);
    for _ in 0..3 {
        fleet.round(&policy);
    }
    fleet.killers.insert(target(17));
    assert_eq!(others_killed(&mut fleet, &policy, 40), 1);
    assert_eq!(fleet.killed.len(), 2);
    assert!(fleet.shards.len() <= 21, "no shard is asked for without end");
}

#[test]
fn a_heavy_target_that_kills_without_growing_takes_two_shards_with_it_and_its_own() {
    let (mut fleet, policy) = fleet_with(17, 30);
    fleet.killers.insert(target(17));
    assert_eq!(others_killed(&mut fleet, &policy, 80), 2);
    assert_eq!(fleet.killed.len(), 3);
    assert!(fleet.memory().suspects.contains_key(&target(17)));
}

#[test]
fn a_light_target_that_kills_without_growing_is_found_in_a_few_steps() {
    for killer in [3, 17, 50] {
        let (mut fleet, policy) = fleet_with(killer, 1);
        fleet.killers.insert(target(killer));
        assert!(others_killed(&mut fleet, &policy, 150) <= 3, "{:?}", fleet.killed);
        assert!(fleet.memory().suspects.contains_key(&target(killer)));
    }
}

/// Ten shards, the first of which has fifty targets that all go to the same other one.
fn fleet_of_fifty(killer: u64, load: u64) -> (Fleet, Policy) {
    let policy = Policy::new(Settings { max_series: Series(1000), max_shards: 30, ..packing() }).unwrap();
    let mut fleet = Fleet::new(1, true);
    for number in 1..=50 {
        fleet.add(target(number), series(if number == killer { load } else { 10 }), true);
    }
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [50]);
    for number in 51..=59 {
        fleet.add_shard();
        fleet.add(target(number), series(450), true);
    }
    fleet.settle(&policy);
    (fleet, policy)
}

#[test]
fn of_fifty_targets_that_are_taken_over_at_once_the_killer_is_found() {
    for (killer, load) in [(25, 20), (25, 5), (1, 5), (50, 5)] {
        let (mut fleet, policy) = fleet_of_fifty(killer, load);
        fleet.killers.insert(target(killer));
        let others = others_killed(&mut fleet, &policy, 250);
        // The others are full: one new shard after the other gets half of those that may be guilty.
        let most = if load > 10 { 2 } else { 6 };
        assert!(others <= most, "{others} shards of others died, of {killer} with {load}: {:?}", fleet.killed);
    }
}

#[test]
fn a_killed_shard_that_restarts_again_and_again_keeps_the_killer_to_itself() {
    let (mut fleet, policy) = fleet_with(17, 30);
    fleet.killers.insert(target(17));
    for round in 0..400 {
        fleet.round(&policy);
        if round % 45 == 44 {
            for shard in &mut fleet.shards {
                shard.dead = false;
            }
        }
    }
    let mut distinct = fleet.killed.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert!(distinct.len() <= 3, "{:?}", fleet.killed);
    assert!(fleet.unscraped().iter().all(|id| fleet.killers.contains(id)), "{:?}", fleet.unscraped());
    fleet.killers.clear();
    for shard in &mut fleet.shards {
        shard.dead = false;
    }
    fleet.settle(&policy);
    assert_eq!(fleet.shards.iter().map(|shard| shard.targets.len()).sum::<usize>(), 100);
    assert_eq!(fleet.unscraped(), []);
}
