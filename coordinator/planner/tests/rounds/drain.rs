//! Drain: the highest shard empties when it is not needed.

use std::time::Duration;

use narthex_common::{shard::Ordinal, time::Timestamp};
use narthex_planner::{
    memory::Moved,
    policy::Settings,
    reason::{Change, MoveReason},
    world::KnownLoad,
};

use crate::made_up::{NOW, gone_quiet, moves, owned, packing, plan, shard, spreading, target, world};

#[test]
fn the_highest_shard_is_drained_when_all_it_holds_fits_elsewhere() {
    let shards = [shard([owned(1, 3)]), shard([owned(2, 3)]), shard([owned(3, 3), owned(4, 3)])];
    let plan = plan(&world([(1, 50), (2, 60), (3, 30), (4, 20)], shards), packing());
    assert_eq!(moves(&plan), [(3, 2, 0), (4, 2, 1)]);
    assert!(plan.changes.iter().all(|change| matches!(change, Change::Move { why: MoveReason::Drain, .. })));
    assert_eq!(plan.wanted_shards, 3, "it goes once it was idle");
}

#[test]
fn a_shard_is_not_drained_in_part() {
    let shards = [shard([owned(1, 3)]), shard([owned(2, 3), owned(3, 3)])];
    assert_eq!(plan(&world([(1, 60), (2, 20), (3, 20)], shards), packing()).changes, []);
}

#[test]
fn a_drain_leaves_a_tenth_of_every_budget_free() {
    let fits_exactly = [shard([owned(1, 3)]), shard([owned(2, 3)])];
    assert_eq!(plan(&world([(1, 60), (2, 31)], fits_exactly.clone()), packing()).changes, []);
    assert_eq!(moves(&plan(&world([(1, 60), (2, 30)], fits_exactly), packing())), [(2, 1, 0)]);
}

#[test]
fn no_shard_is_drained_below_the_minimum_or_with_scale_in_off_or_where_none_can_go() {
    let mut world = world([(1, 10), (2, 10)], [shard([owned(1, 3)]), shard([owned(2, 3)])]);
    assert_eq!(plan(&world, Settings { min_shards: 2, ..packing() }).changes, []);
    assert_eq!(plan(&world, spreading()).changes, []);
    world.replicas[0].scalable = false;
    assert_eq!(plan(&world, packing()).changes, []);
}

#[test]
fn nothing_is_drained_while_a_shard_is_silent_or_a_target_waits() {
    let silent = [gone_quiet(shard([owned(1, 3)])), shard([]), shard([owned(2, 3)])];
    assert_eq!(plan(&world([(1, 10), (2, 10)], silent), packing()).changes, []);
    let mut waiting = world([(1, 10), (2, 10), (3, 10)], [shard([owned(1, 3)]), shard([owned(2, 3)])]);
    let new = waiting.targets.get_mut(&target(3)).unwrap();
    (new.probed, new.since) = (KnownLoad::Unknown, waiting.now);
    assert_eq!(plan(&waiting, packing()).changes, []);
}

#[test]
fn the_last_shard_is_not_drained() {
    let settings = Settings { max_idle_time: Some(Duration::from_secs(1)), ..packing() };
    assert_eq!(plan(&world([(1, 10)], [shard([owned(1, 3)])]), settings).changes, []);
}

#[test]
fn what_relief_sent_away_is_not_brought_back_before_it_has_been_there_for_long() {
    let moved_before = |minutes: i64| {
        let mut world = world([(1, 50), (2, 30)], [shard([owned(1, 3)]), shard([owned(2, 3)])]);
        let moved = Moved { at: Timestamp(NOW.0 - minutes * 60_000), to: Ordinal(1), given_up: false };
        world.replicas[0].memory.moved.insert(target(2), moved);
        moves(&plan(&world, packing()))
    };
    assert_eq!(moved_before(179), []);
    assert_eq!(moved_before(180), [(2, 1, 0)]);
}

#[test]
fn a_target_larger_than_a_shard_moves_to_an_empty_one_when_its_own_is_to_go() {
    let below = [shard([owned(1, 3)]), shard([]), shard([owned(2, 3)])];
    let plan_of = |shards| plan(&world([(1, 50), (2, 500)], shards), packing());
    assert_eq!(moves(&plan_of(below)), [(2, 2, 1)]);
    let nothing_empty = [shard([owned(1, 3)]), shard([owned(2, 3)]), shard([])];
    assert_eq!(plan_of(nothing_empty).changes, [], "it needs a whole one");
}

#[test]
fn a_target_larger_than_a_shard_does_not_keep_others_from_being_drained() {
    let shards = [shard([owned(1, 3)]), shard([owned(2, 3)]), shard([owned(3, 3)])];
    assert_eq!(moves(&plan(&world([(1, 500), (2, 40), (3, 40)], shards), packing())), [(3, 2, 1)]);
}

#[test]
fn a_pod_that_has_just_started_does_not_keep_a_large_fleet_from_being_drained() {
    let many: Vec<u64> = (10..210).collect();
    let held: [u64; 200] = many.try_into().unwrap();
    let mut world = world([(1, 100), (2, 10)], [shard(held.map(|number| owned(number, 3))), shard([owned(1, 3)])]);
    for number in held {
        let one = crate::made_up::listed(KnownLoad::Measured(crate::made_up::series(5)));
        world.targets.insert(target(number), one);
    }
    let settings = || Settings { max_series: narthex_common::load::Series(2000), ..packing() };
    let new = world.targets.get_mut(&target(2)).unwrap();
    (new.probed, new.since) = (KnownLoad::Unknown, world.now);
    assert_eq!(moves(&plan(&world, settings())), [(1, 1, 0)]);
    for number in 3..6 {
        let mut waits = crate::made_up::listed(KnownLoad::Unknown);
        waits.since = world.now;
        world.targets.insert(target(number), waits);
    }
    assert_eq!(plan(&world, settings()).changes, [], "many may need the room");
}
