//! Relief: which targets leave a shard that is over its budget.

use narthex_common::load::{Load, SampleRate, Series};
use narthex_common::{shard::Ordinal, time::Timestamp};
use narthex_planner::{
    World,
    memory::Moved,
    policy::Settings,
    reason::{Change, MoveReason, ScaleReason},
    world::{KnownLoad, OwnBudget},
};

use crate::made_up::{
    NOW, but, gone_quiet, leaving, listed, moves, owned, plan, series, shard, silent_shard, spreading, target, told,
    world,
};

/// Notes that a target moved so many minutes ago.
fn moved(world: &mut World, number: u64, to: u32, minutes_ago: i64, given_up: bool) {
    let at = Timestamp(NOW.0 - minutes_ago * 60_000);
    world.replicas[0].memory.moved.insert(target(number), Moved { at, to: Ordinal(to), given_up });
}

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
fn a_shard_over_its_memory_keeps_the_work_that_needs_no_relief() {
    let settings = Settings { max_samples_per_second: Some(SampleRate::per_second(100)), ..spreading() };
    let mut world = world([], [shard([owned(1, 3), owned(2, 3), owned(3, 3)]), shard([])]);
    for (number, kept, exposed) in [(1, 12, 1), (2, 50, 47), (3, 50, 47)] {
        let load = Load { exposed: Series(exposed), kept: Series(kept) };
        world.targets.insert(target(number), listed(KnownLoad::Measured(load)));
    }
    // 112 series are too many, 95 samples a second are not.
    assert_eq!(moves(&plan(&world, settings)), [(1, 0, 1)]);
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

#[test]
fn relief_begins_a_tenth_above_the_memory_budget_and_ends_at_it() {
    let shards = || [shard([owned(1, 3), owned(2, 3), owned(3, 3), owned(4, 3)]), shard([])];
    let at_the_line = world([(1, 50), (2, 45), (3, 10), (4, 5)], shards());
    assert_eq!(plan(&at_the_line, spreading()).changes, []);
    let above = world([(1, 50), (2, 46), (3, 10), (4, 5)], shards());
    assert_eq!(moves(&plan(&above, spreading())), [(2, 0, 1)], "eleven too many are more than the ten");
}

#[test]
fn relief_begins_above_the_work_budget_and_ends_a_tenth_below_it() {
    let settings = Settings { max_samples_per_second: Some(SampleRate::per_second(100)), ..spreading() };
    let settings = || Settings { max_series: Series(1000), ..settings.clone() };
    let shards = || [shard([owned(1, 3), owned(2, 3), owned(3, 3)]), shard([])];
    assert_eq!(plan(&world([(1, 50), (2, 40), (3, 10)], shards()), settings()).changes, []);
    let above = plan(&world([(1, 50), (2, 40), (3, 11)], shards()), settings());
    assert_eq!(moves(&above), [(3, 0, 1)]);
    let twelve_too_many = plan(&world([(1, 50), (2, 41), (3, 11)], shards()), settings());
    assert_eq!(moves(&twelve_too_many), [(2, 0, 1)], "the smallest that is enough");
}

#[test]
fn the_further_over_a_shard_is_the_more_goes() {
    let moves_when_each_weighs = |load| {
        let full = shard([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|number| owned(number, 3)));
        let targets = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map(|number| (number, load));
        moves(&plan(&world(targets, [full, shard([]), shard([])]), spreading())).len()
    };
    assert_eq!([10, 11, 12, 14, 16, 18, 20].map(moves_when_each_weighs), [0, 0, 2, 3, 4, 5, 5]);
}

#[test]
fn relief_that_is_switched_off_moves_nothing_and_asks_for_no_shard() {
    let off = Settings { relief: false, ..spreading() };
    let over = || shard([owned(1, 3), owned(2, 3)]);
    assert_eq!(plan(&world([(1, 80), (2, 80)], [over(), shard([])]), off.clone()).changes, []);
    assert_eq!(plan(&world([(1, 80), (2, 80)], [over()]), off).changes, []);
}

#[test]
fn what_came_not_long_ago_stays_if_the_others_are_enough() {
    let moved_before = |minutes| {
        let over = shard([owned(1, 3), owned(2, 3), owned(3, 3)]);
        let mut world = world([(1, 60), (2, 20), (3, 35)], [over, shard([])]);
        moved(&mut world, 2, 0, minutes, false);
        moves(&plan(&world, spreading()))
    };
    assert_eq!(moved_before(10), [(3, 0, 1)]);
    assert_eq!(moved_before(179), [(3, 0, 1)]);
    assert_eq!(moved_before(180), [(2, 0, 1)], "three hours are long ago");
}

#[test]
fn what_came_not_long_ago_goes_if_the_others_are_not_enough() {
    let over = shard([owned(1, 3), owned(2, 3)]);
    let mut world = world([(1, 60), (2, 60)], [over, shard([])]);
    moved(&mut world, 1, 0, 10, false);
    moved(&mut world, 2, 0, 10, false);
    assert_eq!(moves(&plan(&world, spreading())), [(1, 0, 1)]);
}

#[test]
fn a_move_that_was_given_up_is_not_tried_again_to_the_same_shard_before_long() {
    let shards = |others: usize| {
        let mut world = world([(1, 80), (2, 80)], [shard([owned(1, 3), owned(2, 3)]), shard([]), shard([])]);
        if others == 1 {
            world.replicas[0].shards.pop_last();
            world.replicas[0].wanted_shards = 2;
        }
        world
    };
    let mut another = shards(2);
    for number in [1, 2] {
        moved(&mut another, number, 1, 10, true);
    }
    assert_eq!(moves(&plan(&another, spreading())), [(1, 0, 2)]);
    let mut no_other = shards(1);
    for number in [1, 2] {
        moved(&mut no_other, number, 1, 10, true);
    }
    assert_eq!(plan(&no_other, spreading()).changes, [], "nor is a new shard asked for, which may be no better");
    for number in [1, 2] {
        moved(&mut no_other, number, 1, 30, true);
    }
    assert_eq!(moves(&plan(&no_other, spreading())), [(1, 0, 1)], "after half an hour it is");
}

#[test]
fn a_move_is_noted_and_old_ones_are_forgotten() {
    let mut world = world([(1, 80), (2, 80)], [shard([owned(1, 3), owned(2, 3)]), shard([])]);
    moved(&mut world, 77, 1, 181, false);
    let plan = plan(&world, spreading());
    let moved = Moved { at: NOW, to: Ordinal(1), given_up: false };
    assert_eq!(plan.memory.moved.iter().collect::<Vec<_>>(), [(&target(1), &moved)]);
}

#[test]
fn a_shard_is_relieved_to_its_own_budget() {
    let mut world = world([(1, 60), (2, 60), (3, 70)], [shard([owned(1, 3), owned(2, 3)]), shard([owned(3, 3)])]);
    let large = OwnBudget { max_series: Some(Series(200)), ..OwnBudget::default() };
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = large;
    assert_eq!(plan(&world, spreading()).changes, [], "it is large enough for both");
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = OwnBudget::default();
    world.replicas[0].shards.get_mut(&Ordinal(1)).unwrap().budget = large;
    assert_eq!(moves(&plan(&world, spreading())), [(1, 0, 1)], "the other one has room for one more");
}
