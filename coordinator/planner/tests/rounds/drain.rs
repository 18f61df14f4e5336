//! Drain: the highest shard empties when it is not needed.

use std::time::Duration;

use narthex_planner::{
    policy::Settings,
    reason::{Change, MoveReason},
    world::KnownLoad,
};

use crate::made_up::{gone_quiet, moves, owned, packing, plan, shard, spreading, target, world};

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
