//! Take over: what becomes of the targets of a shard that is lost, and of the shard when it returns.

use std::time::Duration;

use narthex_common::shard::Ordinal;
use narthex_planner::{
    Policy,
    policy::Settings,
    reason::{Change, PlaceReason, ScaleReason, Unplaced},
};

use crate::{
    fleet::{Fleet, Shard},
    made_up::{Round, leaving, owned, packing, plan, quiet_for, series, shard, spreading, target, told, world},
};

/// What is placed, in the order in which it is: target, shard and why.
fn placed(plan: &Round) -> Vec<(u64, u32, PlaceReason)> {
    let placed = plan.changes.iter().filter_map(|change| match change {
        Change::Place { target, to, why } => Some((target.0.0, to.0, *why)),
        Change::Move { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    });
    placed.collect()
}

const FROM_THE_FIRST: PlaceReason = PlaceReason::TakenOver { from: Ordinal(0) };

#[test]
fn what_a_lost_shard_had_is_placed_elsewhere_the_largest_first_and_within_budgets() {
    let after = |seconds| {
        let lost = quiet_for(seconds, shard([owned(1, 3), owned(2, 3), owned(3, 3)]));
        plan(&world([(1, 10), (2, 30), (3, 20), (4, 60)], [lost, shard([owned(4, 3)]), shard([])]), packing())
    };
    assert_eq!(after(299).changes, [], "until then it may come back");
    let plan = after(300);
    assert_eq!(placed(&plan), [(2, 1, FROM_THE_FIRST), (3, 2, FROM_THE_FIRST), (1, 1, FROM_THE_FIRST)]);
    assert!(plan.unplaced.is_empty());
    assert_eq!(plan.memory.taken_over.len(), 3);
}

#[test]
fn only_so_many_targets_are_taken_over_in_a_round() {
    let lost = quiet_for(300, shard([owned(1, 3), owned(2, 3), owned(3, 3)]));
    let settings = Settings { max_takeovers: 2, ..spreading() };
    let plan = plan(&world([(1, 10), (2, 30), (3, 20)], [lost, shard([]), shard([])]), settings);
    assert_eq!(placed(&plan).iter().map(|(target, ..)| *target).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(plan.wanted_shards, 3, "there is room for the third");
}

#[test]
fn what_finds_no_room_asks_for_as_many_shards_as_it_needs_and_no_more() {
    let lost = || quiet_for(300, shard([owned(1, 3), owned(2, 3), owned(3, 3), owned(4, 3)]));
    let targets = [(1, 40), (2, 40), (3, 40), (4, 10), (5, 60), (6, 90)];
    let mut world = world(targets, [lost(), shard([owned(5, 3)]), shard([owned(6, 3)])]);
    for max_takeovers in [1, 100] {
        let plan = plan(&world, Settings { max_takeovers, ..spreading() });
        assert!(plan.changes.contains(&Change::Scale { from: 3, to: 4, why: ScaleReason::Overloaded }));
        assert!(plan.unplaced.values().all(|why| *why == Unplaced::ShardLost));
    }
    assert_eq!(plan(&world, Settings { max_shards: 3, ..spreading() }).wanted_shards, 3);
    world.replicas[0].wanted_shards = 4;
    assert_eq!(plan(&world, spreading()).wanted_shards, 4, "nor does it ask again");
}

#[test]
fn without_failover_nothing_is_ever_taken_over() {
    let lost = quiet_for(1_000_000, shard([owned(1, 3)]));
    let settings = Settings { failover_after: None, ..spreading() };
    assert_eq!(plan(&world([(1, 10)], [lost, shard([])]), settings).changes, []);
}

#[test]
fn what_another_shard_may_be_scraping_is_not_taken_over() {
    let not_yet_lost = quiet_for(299, shard([owned(1, 3)]));
    let source = quiet_for(299, shard([leaving(2)]));
    let lost = quiet_for(300, shard([owned(1, 3), owned(2, 3), owned(3, 3), leaving(4)]));
    let alive = [shard([owned(3, 0)]), shard([owned(4, 0)]), shard([])];
    let [a, b, c] = alive;
    let plan = plan(&world([(1, 10), (2, 10), (3, 10), (4, 10)], [lost, not_yet_lost, source, a, b, c]), spreading());
    assert_eq!(plan.changes, []);
}

#[test]
fn what_two_lost_shards_had_is_taken_over_once_from_its_owner() {
    let lost = || quiet_for(300, shard([leaving(1)]));
    let destination = quiet_for(300, shard([owned(1, 0)]));
    let shards = [lost(), destination, shard([]), shard([]), shard([])];
    let plan = plan(&world([(1, 10)], shards), packing());
    assert_eq!(placed(&plan), [(1, 2, PlaceReason::TakenOver { from: Ordinal(1) })]);
}

#[test]
fn a_target_larger_than_a_budget_is_taken_over_by_an_empty_shard() {
    let lost = quiet_for(300, shard([owned(1, 3)]));
    let plan = plan(&world([(1, 500), (2, 10)], [lost, shard([owned(2, 3)]), shard([])]), packing());
    assert_eq!(placed(&plan), [(1, 2, FROM_THE_FIRST)]);
    assert!(plan.oversized.contains(&target(1)));
}

#[test]
fn nothing_is_taken_over_while_more_than_half_of_the_shards_are_silent_at_once() {
    let lost = || quiet_for(300, shard([owned(1, 3)]));
    let late = || quiet_for(10, shard([]));
    let targets = [(1, 10)];
    let cut_off = plan(&world(targets, [lost(), late(), shard([])]), spreading());
    assert!(cut_off.takeover_held, "it is said");
    assert_eq!(cut_off.changes, []);
    assert_eq!(cut_off.memory.lost.len(), 0, "nobody is judged");
    let half = plan(&world(targets, [lost(), late(), shard([]), shard([])]), spreading());
    assert!(!half.takeover_held);
    assert_eq!(placed(&half).len(), 1);
}

#[test]
fn shards_that_are_to_go_and_new_ones_that_never_answered_say_nothing_about_a_partition() {
    let lost = quiet_for(300, shard([owned(1, 3)]));
    let going = || quiet_for(10, shard([]));
    let mut world = world([(1, 10)], [lost, shard([]), going(), going()]);
    world.replicas[0].wanted_shards = 2;
    let plan = plan(&world, spreading());
    assert_eq!(placed(&plan).len(), 1);
}

/// Twelve targets on four shards of which each has room for two more.
fn fleet() -> (Fleet, Policy) {
    let policy = Policy::new(Settings { max_shards: 6, ..spreading() }).unwrap();
    let mut fleet = Fleet::new(4, true);
    for number in 1..=12 {
        fleet.add(target(number), series(20), true);
    }
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [3, 3, 3, 3]);
    (fleet, policy)
}

/// Rounds until everything is scraped by a shard that lives.
fn rounds_until_all_are_scraped(fleet: &mut Fleet, policy: &Policy) -> u32 {
    for round in 0..200 {
        if fleet.unscraped().is_empty() {
            return round;
        }
        fleet.round(policy);
    }
    panic!("{:?} are never scraped", fleet.unscraped());
}

#[test]
fn a_dead_shard_does_not_keep_its_targets_for_ever() {
    let (mut fleet, policy) = fleet();
    let elsewhere = fleet.shards[0].targets.clone();
    fleet.shards[1].dead = true;
    // Five minutes, and the round that sees that they are over.
    assert_eq!(rounds_until_all_are_scraped(&mut fleet, &policy), 30);
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [4, 3, 4, 4], "what lives stays where it is");
    assert!(elsewhere.keys().all(|id| fleet.shards[0].targets.contains_key(id)));
    assert_eq!(fleet.shards.len(), 4);
}

#[test]
fn what_a_dead_shard_had_and_nobody_has_room_for_goes_to_new_shards_and_no_further_ones_are_made() {
    let (mut fleet, policy) = fleet();
    for number in 13..=20 {
        fleet.add(target(number), series(20), true);
    }
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [5, 5, 5, 5]);
    fleet.shards[1].dead = true;
    rounds_until_all_are_scraped(&mut fleet, &policy);
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [5, 5, 5, 5, 5]);
}

#[test]
fn a_rolling_update_sets_nothing_off() {
    let (mut fleet, policy) = fleet();
    let before: Vec<Vec<_>> = fleet.shards.iter().map(|shard| shard.targets.keys().copied().collect()).collect();
    for shard in (0..4).rev() {
        fleet.shards[shard].dead = true;
        for _ in 0..29 {
            let plan = fleet.round(&policy);
            assert_eq!(plan.changes, []);
            assert!(!plan.takeover_held);
        }
        fleet.shards[shard].dead = false;
        fleet.round(&policy);
    }
    assert_eq!(fleet.settle(&policy).changes, []);
    assert!(fleet.memory().is_empty());
    assert!(fleet.shards.iter().zip(before).all(|(shard, before)| shard.targets.keys().copied().eq(before)));
}

#[test]
fn a_shard_that_returns_gives_up_what_others_scrape_by_now_and_keeps_the_rest() {
    let policy = Policy::new(Settings { max_takeovers: 1, ..spreading() }).unwrap();
    // Dead, or alive on the other side of a partition.
    for (dead, rounds) in [true, false].into_iter().flat_map(|dead| [30, 31, 32, 33, 40].map(|rounds| (dead, rounds))) {
        let (mut fleet, _) = fleet();
        (fleet.shards[1].silent, fleet.shards[1].dead) = (true, dead);
        for _ in 0..rounds {
            fleet.round(&policy);
        }
        let taken = fleet.memory().taken_over.clone();
        let back = fleet.now;
        assert_eq!(taken.len(), (rounds - 29).min(3));
        (fleet.shards[1].silent, fleet.shards[1].dead) = (false, false);
        for _ in 0..20 {
            fleet.round(&policy);
            assert_eq!(fleet.unscraped(), [], "{rounds} rounds");
        }
        fleet.settle(&policy);
        assert_eq!(fleet.shards.iter().map(|shard| shard.targets.len()).sum::<usize>(), 12, "each is held once");
        for (id, taken) in taken {
            let has_proved_itself = back.since(taken.at) >= Duration::from_secs(30);
            assert_eq!(fleet.shards[1].targets.contains_key(&id), !has_proved_itself, "{id} after {rounds} rounds");
        }
    }
}

#[test]
fn a_lost_shard_that_is_replaced_with_an_empty_one_gets_nothing_back() {
    for rounds in [5, 31] {
        let (mut fleet, policy) = fleet();
        fleet.shards[1].dead = true;
        for _ in 0..rounds {
            fleet.round(&policy);
        }
        fleet.shards[1] = Shard::starting(fleet.now, 1);
        assert!(rounds_until_all_are_scraped(&mut fleet, &policy) <= 3, "its targets are nobody's now");
        let plan = fleet.settle(&policy);
        assert!(plan.memory.lost.is_empty());
        assert_eq!(fleet.shards.iter().map(|shard| shard.targets.len()).sum::<usize>(), 12);
    }
}

#[test]
fn a_lost_shard_that_its_provider_removes_leaves_nothing_behind() {
    let (mut fleet, policy) = fleet();
    fleet.shards[3].dead = true;
    for _ in 0..10 {
        fleet.round(&policy);
    }
    fleet.shards.pop();
    fleet.wanted_shards = 3;
    assert!(rounds_until_all_are_scraped(&mut fleet, &policy) <= 2);
    fleet.settle(&policy);
    assert_eq!(fleet.owned(), [4, 4, 4]);
}

#[test]
fn a_coordinator_that_is_cut_off_takes_nothing_over_and_everything_stays_when_it_is_back() {
    let (mut fleet, policy) = fleet();
    for shard in [0, 2, 3] {
        fleet.shards[shard].silent = true;
    }
    for round in 0..200 {
        let plan = fleet.round(&policy);
        assert_eq!(plan.changes, []);
        assert_eq!(plan.takeover_held, round >= 29, "in round {round}");
    }
    for shard in &mut fleet.shards {
        shard.silent = false;
    }
    assert_eq!(fleet.settle(&policy).changes, []);
    assert_eq!(fleet.owned(), [3, 3, 3, 3]);
}

#[test]
fn shards_that_die_one_after_the_other_are_all_taken_over() {
    let (mut fleet, policy) = fleet();
    for shard in [0, 2, 3] {
        fleet.shards[shard].dead = true;
        // Longer than it is held against a target that it lost a shard.
        for _ in 0..400 {
            fleet.round(&policy);
        }
        rounds_until_all_are_scraped(&mut fleet, &policy);
    }
    fleet.settle(&policy);
    assert_eq!(fleet.unscraped(), []);
    assert_eq!(fleet.shards.len(), 6);
}

#[test]
fn a_replica_whose_only_shard_is_silent_waits_for_it() {
    let lost = quiet_for(100_000, shard([owned(1, 3)]));
    let plan = plan(
        &world([(1, 10), (2, 10)], [lost]),
        Settings { max_idle_time: Some(Duration::from_secs(60)), ..spreading() },
    );
    assert!(plan.takeover_held);
    assert_eq!(plan.unplaced[&target(2)], Unplaced::WaitingForShards, "what nobody has gets a new one");
    assert_eq!(told(&plan), []);
}
