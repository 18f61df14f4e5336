//! Scale: how many shards there are to be.

use std::time::Duration;

use narthex_common::{load::Series, shard::Ordinal};
use narthex_planner::{
    policy::Settings,
    reason::{Change, ScaleReason, Unplaced},
    world::{HeldTarget, OwnBudget},
};

use crate::fleet::Fleet;
use crate::made_up::{
    NOW, but, gone_quiet, owned, packing, plan, series, shard, silent_shard, spreading, target, world,
};

#[test]
fn as_many_shards_as_are_needed_are_asked_for_at_once() {
    let targets = [1, 2, 3, 4, 5, 6].map(|number| (number, 40));
    let plan = plan(&world(targets, []), spreading());
    let why = ScaleReason::Unplaced { targets: 6 };
    assert_eq!(plan.changes, [Change::Scale { from: 0, to: 3, why }]);
    assert!(plan.unplaced.values().all(|why| *why == Unplaced::WaitingForShards));
}

#[test]
fn shards_that_are_on_their_way_are_counted() {
    let targets = [1, 2, 3, 4, 5, 6].map(|number| (number, 40));
    let mut world = world(targets, [shard([owned(1, 3), owned(2, 3)]), silent_shard()]);
    world.replicas[0].wanted_shards = 3;
    let plan = plan(&world, spreading());
    assert_eq!(plan.changes, []);
    assert_eq!(plan.unplaced[&target(3)], Unplaced::WaitingForShards);
}

#[test]
fn a_config_that_makes_other_targets_of_the_same_ones_asks_for_no_shards() {
    let before = |number| {
        let (id, held) = owned(number, 3);
        but(shard([(id, HeldTarget { load: Some(series(60)), ..held })]), |report| report.config_matches = false)
    };
    let world = world([(3, 60), (4, 60)], [before(1), before(2)]);
    let plan = plan(&world, spreading());
    assert_eq!(plan.changes, [], "shards that have yet to read the config will forget the targets of the old one");
    assert_eq!(plan.unplaced[&target(3)], Unplaced::WaitingForShards);
}

#[test]
fn a_shard_that_falls_silent_is_waited_for_before_a_new_one_is_asked_for_but_not_for_ever() {
    let mut world = world([(1, 60), (2, 60)], [shard([owned(1, 3)]), gone_quiet(shard([]))]);
    assert_eq!(plan(&world, spreading()).wanted_shards, 2);
    world.now = NOW.after(spreading().max_silence);
    assert_eq!(plan(&world, spreading()).wanted_shards, 3);
}

#[test]
fn targets_larger_than_a_budget_ask_for_a_shard_each_and_no_more() {
    let mut world = world([(1, 500), (2, 600), (3, 10)], [shard([])]);
    let first = plan(&world, spreading());
    assert_eq!(first.wanted_shards, 3);
    world.replicas[0].wanted_shards = 3;
    assert_eq!(plan(&world, spreading()).wanted_shards, 3, "nor do they ask again");
}

#[test]
fn there_are_never_more_shards_than_the_maximum() {
    let targets = [1, 2, 3].map(|number| (number, 80));
    let plan = plan(&world(targets, [shard([])]), Settings { max_shards: 2, ..spreading() });
    assert_eq!(plan.wanted_shards, 2);
    assert_eq!(plan.unplaced[&target(2)], Unplaced::WaitingForShards);
    assert_eq!(plan.unplaced[&target(3)], Unplaced::ShardLimit);
}

#[test]
fn shards_above_the_maximum_are_not_waited_for_and_those_with_targets_stay() {
    let mut world = world([(1, 80), (2, 80), (3, 80)], [shard([owned(1, 3)]), shard([owned(2, 3)]), shard([])]);
    world.replicas[0].wanted_shards = 5;
    let plan = plan(&world, Settings { max_shards: 2, ..spreading() });
    assert_eq!(plan.wanted_shards, 3);
}

#[test]
fn a_provider_that_cannot_scale_is_not_asked_to() {
    let mut world = world([(1, 80), (2, 80)], [shard([])]);
    world.replicas[0].scalable = false;
    let plan = plan(&world, Settings { min_shards: 1, ..spreading() });
    assert_eq!(plan.wanted_shards, 1);
    assert_eq!(plan.unplaced[&target(2)], Unplaced::CannotScale);
}

#[test]
fn fewer_than_the_minimum_become_the_minimum() {
    let plan = plan(&world([(1, 80), (2, 80), (3, 80)], []), Settings { min_shards: 2, ..spreading() });
    assert_eq!(plan.changes, [Change::Scale { from: 0, to: 2, why: ScaleReason::Minimum }]);
}

#[test]
fn nothing_is_placed_before_the_minimum_of_shards_is_ready_and_a_restart_of_one_stops_nothing() {
    let settings = Settings { min_shards: 2, ..spreading() };
    let not_ready = |shard| but(shard, |report| report.ready = false);
    let starting = plan(&world([(1, 10), (2, 10)], [shard([]), not_ready(shard([]))]), settings.clone());
    assert_eq!((starting.changes.len(), starting.unplaced[&target(1)]), (0, Unplaced::BelowMinimum));
    let restarting = plan(&world([(1, 10), (2, 10)], [shard([]), not_ready(shard([owned(2, 3)]))]), settings);
    assert!(restarting.unplaced.is_empty(), "{:?}", restarting.unplaced);
}

#[test]
fn the_highest_shards_go_once_they_were_idle_for_long_enough() {
    let idle = |seconds| but(shard([]), |report| report.idle_since = Some(before_now(seconds)));
    let wanted = |shards| plan(&world([(1, 80)], shards), packing()).wanted_shards;
    assert_eq!(wanted([shard([owned(1, 3)]), idle(60), idle(90)]), 1);
    assert_eq!(wanted([shard([owned(1, 3)]), idle(59), idle(90)]), 2);
    assert_eq!(wanted([shard([owned(1, 3)]), idle(90), idle(59)]), 3, "only from the top");
    assert_eq!(wanted([idle(90), idle(90), shard([owned(1, 3)])]), 3, "not a shard with targets");
    assert_eq!(wanted([shard([owned(1, 3)]), idle(90), gone_quiet(idle(90))]), 3, "not a silent one");
}

#[test]
fn no_shard_goes_below_the_minimum_or_with_scale_in_off() {
    let idle = but(shard([]), |report| report.idle_since = Some(before_now(3600)));
    let world = world([], [idle.clone(), idle.clone(), idle]);
    assert_eq!(plan(&world, packing()).wanted_shards, 0);
    assert_eq!(plan(&world, Settings { min_shards: 2, ..packing() }).wanted_shards, 2);
    assert_eq!(plan(&world, spreading()).wanted_shards, 3);
}

fn before_now(seconds: u64) -> narthex_common::time::Timestamp {
    narthex_common::time::Timestamp(NOW.0 - i64::try_from(Duration::from_secs(seconds).as_millis()).unwrap())
}

#[test]
fn what_is_too_much_for_a_shard_and_what_has_none_share_the_new_ones() {
    let crowded = shard([owned(1, 3), owned(2, 3)]);
    let full = shard([owned(3, 3)]);
    let plan = plan(&world([(1, 70), (2, 60), (3, 100), (4, 70), (5, 30)], [crowded, full]), spreading());
    assert_eq!(plan.wanted_shards, 4, "60 and 30, and 70");
}

#[test]
fn a_target_that_only_a_larger_shard_can_take_asks_for_no_small_one() {
    let large = OwnBudget { max_series: Some(Series(200)), ..OwnBudget::default() };
    let mut world = world([(1, 120), (2, 150)], [shard([owned(1, 3)])]);
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = large;
    let plan = plan(&world, spreading());
    assert_eq!(plan.changes, [], "new shards are of the policy's size");
    assert_eq!(plan.unplaced[&target(2)], Unplaced::ShardLimit);
}

#[test]
fn new_shards_are_of_the_policys_size() {
    let large = OwnBudget { max_series: Some(Series(1000)), ..OwnBudget::default() };
    let mut world = world([(1, 980), (2, 80), (3, 80), (4, 80)], [shard([owned(1, 3)])]);
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = large;
    assert_eq!(plan(&world, spreading()).wanted_shards, 4);
}

#[test]
fn targets_larger_than_a_shard_and_suspects_do_not_go_on_asking_for_shards() {
    for settings in [spreading(), packing()] {
        let policy = narthex_planner::Policy::new(settings).unwrap();
        let mut fleet = Fleet::new(0, true);
        for (number, load) in [(1, 500), (2, 101), (3, 60), (4, 60), (5, 30), (6, 900)] {
            fleet.add(target(number), series(load), true);
        }
        for round in 0..200 {
            // One of them swings around what a shard may hold.
            fleet.targets.get_mut(&target(2)).unwrap().load = series(if round / 9 % 2 == 0 { 95 } else { 115 });
            let plan = fleet.round(&policy);
            assert!(plan.wanted_shards <= 5, "{} in round {round}", plan.wanted_shards);
        }
        assert_eq!(fleet.owned().iter().sum::<usize>(), 6, "all are scraped");
    }
}

#[test]
fn a_suspect_that_has_its_own_shard_asks_for_no_other_when_that_dies() {
    let policy = narthex_planner::Policy::new(spreading()).unwrap();
    let mut fleet = Fleet::new(2, true);
    fleet.add(target(1), series(90), true);
    fleet.add(target(2), series(90), true);
    fleet.settle(&policy);
    for _ in 0..200 {
        // Whichever shard it is on dies, for good.
        for shard in &mut fleet.shards {
            shard.dead |= shard.targets.contains_key(&target(1));
        }
        let plan = fleet.round(&policy);
        assert!(plan.wanted_shards <= 4, "{}", plan.wanted_shards);
    }
}

#[test]
fn one_more_shard_by_hand_moves_nothing() {
    for (settings, scalable) in [(spreading(), false), (packing(), false), (spreading(), true), (packing(), true)] {
        let policy = narthex_planner::Policy::new(settings).unwrap();
        let mut fleet = Fleet::new(3, scalable);
        (0..24).for_each(|number| fleet.add(target(number), series(12), true));
        fleet.settle(&policy);
        fleet.add_shard();
        for _ in 0..100 {
            let plan = fleet.round(&policy);
            assert!(plan.shards.is_empty(), "{:?}", plan.changes);
        }
    }
}

#[test]
fn an_idle_shard_stays_while_others_have_yet_to_be_relieved() {
    let idle = || but(shard([]), |report| report.idle_since = Some(before_now(3600)));
    let over = |a, b| shard([owned(a, 3), owned(b, 3)]);
    let world = world([(1, 80), (2, 80), (3, 80), (4, 80)], [over(1, 2), over(3, 4), idle(), idle()]);
    let settings = Settings { max_moves: 1, ..packing() };
    assert_eq!(plan(&world, settings).wanted_shards, 4, "the last one is for what moves next");
}

#[test]
fn a_number_of_shards_that_nobody_can_have_asked_for_is_survived() {
    for scalable in [true, false] {
        let mut world = world([(1, 80), (2, 80)], [shard([])]);
        (world.replicas[0].wanted_shards, world.replicas[0].scalable) = (u32::MAX, scalable);
        let plan = plan(&world, spreading());
        assert_eq!(plan.unplaced[&target(2)], Unplaced::WaitingForShards);
        assert_eq!(plan.wanted_shards, if scalable { spreading().max_shards } else { u32::MAX });
    }
}
