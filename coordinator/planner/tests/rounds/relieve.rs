//! Relief: which targets leave a shard that is over its budget.

use narthex_common::load::{SampleRate, Series};
use narthex_planner::{
    policy::Settings,
    reason::{Change, MoveReason, ScaleReason},
};

use crate::made_up::{
    NOW, but, gone_quiet, leaving, moves, owned, plan, series, shard, silent_shard, spreading, target, told, world,
};

#[test]
fn a_shard_over_its_budget_gives_away_the_smallest_target_that_is_enough() {
    let over = shard([owned(1, 3), owned(2, 3), owned(3, 3)]);
    let plan = plan(&world([(1, 60), (2, 35), (3, 20)], [over, shard([])]), spreading());
    assert_eq!(moves(&plan), [(3, 0, 1)]);
    assert_eq!(told(&plan), [(0, vec![1, 2], vec![3]), (1, vec![3], vec![])]);
    let by = Series(15);
    assert!(matches!(plan.changes[0], Change::Move { why: MoveReason::OverMemory { by: over }, .. } if over == by));
}

#[test]
fn when_no_single_target_is_enough_the_largest_go() {
    let over = shard([owned(1, 3), owned(2, 3), owned(3, 3), owned(4, 3), owned(5, 3)]);
    let plan = plan(&world([(1, 50), (2, 50), (3, 50), (4, 20), (5, 5)], [over, shard([]), shard([])]), spreading());
    // 75 too many: 50 leave, then the 50 that is enough.
    assert_eq!(moves(&plan).len(), 2);
    assert!(moves(&plan).iter().all(|(target, ..)| *target <= 3));
}

#[test]
fn relief_brings_no_shard_over_its_budget() {
    let shards = [shard([owned(1, 3), owned(2, 3)]), shard([owned(3, 3)])];
    let plan = plan(&world([(1, 60), (2, 51), (3, 60)], shards), spreading());
    assert_eq!(moves(&plan), []);
    let why = ScaleReason::Overloaded;
    assert_eq!(plan.changes, [Change::Scale { from: 2, to: 3, why }]);
}

#[test]
fn what_already_leaves_is_not_followed_by_more() {
    let shards = [shard([owned(1, 3), owned(2, 3), leaving(3)]), shard([owned(3, 0)])];
    let plan = plan(&world([(1, 60), (2, 35), (3, 20)], shards), spreading());
    assert_eq!(plan.changes, []);
}

#[test]
fn a_target_larger_than_a_budget_stays_and_the_others_leave_it_alone() {
    let shards = [shard([owned(1, 3), owned(2, 3), owned(3, 3)]), shard([])];
    let plan = plan(&world([(1, 500), (2, 10), (3, 20)], shards), spreading());
    assert_eq!(told(&plan), [(0, vec![1], vec![2, 3]), (1, vec![2, 3], vec![])]);
}

#[test]
fn a_target_larger_than_a_budget_that_sits_alone_is_left_there() {
    let plan = plan(&world([(1, 500)], [shard([owned(1, 3)]), shard([])]), spreading());
    assert_eq!(plan.changes, []);
}

#[test]
fn a_shard_over_its_process_budget_is_relieved_too() {
    let settings = Settings { max_samples_per_second: Some(SampleRate::per_second(90)), ..spreading() };
    let over = shard([owned(1, 3), owned(2, 3)]);
    let plan = plan(&world([(1, 45), (2, 50)], [over, shard([])]), settings);
    assert_eq!(moves(&plan), [(1, 0, 1)]);
}

#[test]
fn no_more_moves_begin_in_a_round_than_are_allowed() {
    let settings = Settings { max_moves: 2, ..spreading() };
    let over = shard([owned(1, 3), owned(2, 3), owned(3, 3), owned(4, 3), owned(5, 3)]);
    let targets = [1, 2, 3, 4, 5].map(|number| (number, 50));
    let plan = plan(&world(targets, [over, shard([]), shard([])]), settings);
    assert_eq!(moves(&plan).len(), 2);
}

#[test]
fn memory_alone_moves_nothing() {
    let full = but(shard([owned(1, 3), owned(2, 3)]), |report| report.head_series = Some(Series(400)));
    assert_eq!(plan(&world([(1, 40), (2, 40)], [full, shard([])]), spreading()).changes, []);
}

#[test]
fn a_silent_shard_is_not_relieved() {
    let mut grown = owned(1, 3);
    grown.1.load = Some(series(90));
    let world = world([(1, 10), (2, 20)], [gone_quiet(shard([grown, owned(2, 3)])), shard([])]);
    let plan = plan(&world, spreading());
    assert_eq!(plan.changes, []);
    assert!(!plan.unplaced.contains_key(&target(1)));
}

#[test]
fn nothing_moves_while_a_shard_that_may_hold_anything_has_not_answered() {
    let mut unread = silent_shard();
    unread.found_at_start = Some(NOW);
    let over = shard([owned(1, 3), owned(2, 3)]);
    let mut world = world([(1, 60), (2, 60)], [over, shard([]), unread]);
    assert_eq!(plan(&world, spreading()).changes, []);
    world.now = NOW.after(spreading().max_silence);
    assert_eq!(moves(&plan(&world, spreading())).len(), 1, "not for ever");
}
