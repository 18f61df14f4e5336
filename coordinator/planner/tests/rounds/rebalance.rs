//! Rebalance: shards within their budgets are evened out.

use narthex_common::{load::Series, shard::Ordinal, time::Timestamp};
use narthex_planner::{
    Policy, World,
    memory::Moved,
    policy::Settings,
    reason::{Change, MoveReason},
    world::OwnBudget,
};

use crate::{
    fleet::Fleet,
    made_up::{NOW, gone_quiet, moves, owned, plan, series, shard, spreading, target, world},
};

fn evening_out() -> Settings {
    Settings { rebalance: true, ..spreading() }
}

/// One shard holds six targets of 10, the other one holds `of_second`.
fn six_and<const N: usize>(of_second: [u64; N]) -> World {
    let mut world =
        world([], [shard([1, 2, 3, 4, 5, 6].map(|number| owned(number, 3))), shard(of_second.map(|n| owned(n, 3)))]);
    for number in (1..=6).chain(of_second) {
        let listed = crate::made_up::listed(narthex_planner::world::KnownLoad::Measured(series(10)));
        world.targets.insert(target(number), listed);
    }
    world
}

#[test]
fn shards_are_evened_out_only_where_the_user_wants_that() {
    assert_eq!(plan(&six_and([]), spreading()).changes, []);
    let plan = plan(&six_and([]), evening_out());
    assert_eq!(moves(&plan), [(6, 0, 1), (5, 0, 1), (4, 0, 1)]);
    assert!(plan.changes.iter().all(|change| matches!(change, Change::Move { why: MoveReason::Rebalance, .. })));
}

#[test]
fn it_begins_at_the_threshold_and_ends_at_half_of_it() {
    // The fullest has 60, the mean is 50: a fifth more.
    let mut at_threshold = six_and([11, 12, 13, 14]);
    assert_eq!(plan(&at_threshold, evening_out()).changes, []);
    at_threshold.replicas[0].memory.rebalancing = true;
    let goes_on = plan(&at_threshold, evening_out());
    assert_eq!(moves(&goes_on).len(), 1, "once begun it goes on below it");
    assert!(goes_on.memory.rebalancing);
    let mut narrow = six_and([11, 12, 13, 14, 15]);
    narrow.replicas[0].memory.rebalancing = true;
    let over = plan(&narrow, evening_out());
    assert_eq!(over.changes, [], "60 is less than a tenth above 55");
    assert!(!over.memory.rebalancing);
    let wider = six_and([11, 12, 13]);
    assert_eq!(moves(&plan(&wider, evening_out())).len(), 1);
}

#[test]
fn at_most_half_of_the_moves_of_a_round_even_out() {
    let settings = Settings { max_moves: 4, ..evening_out() };
    assert_eq!(moves(&plan(&six_and([]), settings)).len(), 2);
    let settings = Settings { max_moves: 1, ..evening_out() };
    assert_eq!(moves(&plan(&six_and([]), settings)).len(), 1);
}

#[test]
fn no_target_moves_that_would_only_make_the_other_shard_the_fuller_one() {
    let shards = [shard([owned(1, 3), owned(2, 3)]), shard([owned(3, 3)])];
    assert_eq!(plan(&world([(1, 40), (2, 40), (3, 45)], shards), evening_out()).changes, []);
}

#[test]
fn what_came_not_long_ago_stays() {
    let mut world = six_and([]);
    for number in 1..=4 {
        let moved = Moved { at: Timestamp(NOW.0 - 60_000), to: Ordinal(0), given_up: false };
        world.replicas[0].memory.moved.insert(target(number), moved);
    }
    assert_eq!(moves(&plan(&world, evening_out())), [(6, 0, 1), (5, 0, 1)]);
}

#[test]
fn nothing_is_evened_out_while_a_shard_is_silent_or_relief_is_needed_or_a_target_waits() {
    let mut silent = six_and([]);
    silent.replicas[0].shards.insert(Ordinal(2), gone_quiet(shard([])));
    silent.replicas[0].wanted_shards = 3;
    assert_eq!(plan(&silent, evening_out()).changes, []);

    let mut waits = six_and([]);
    waits.targets.insert(target(9), crate::made_up::listed(narthex_planner::world::KnownLoad::Unknown));
    waits.targets.get_mut(&target(9)).unwrap().since = NOW;
    assert_eq!(plan(&waits, evening_out()).changes, []);

    let mut relief = six_and([]);
    relief.replicas[0].shards.insert(Ordinal(2), shard([owned(7, 3), owned(8, 3)]));
    relief.replicas[0].wanted_shards = 3;
    for number in [7, 8] {
        let listed = crate::made_up::listed(narthex_planner::world::KnownLoad::Measured(series(60)));
        relief.targets.insert(target(number), listed);
    }
    let plan = plan(&relief, evening_out());
    assert!(
        matches!(plan.changes[..], [Change::Move { why: MoveReason::OverMemory { .. }, .. }]),
        "{:?}",
        plan.changes
    );
}

#[test]
fn unequal_shards_are_evened_out_by_share_and_not_by_series() {
    let mut world = six_and([11, 12, 13]);
    let large = OwnBudget { max_series: Some(Series(200)), ..OwnBudget::default() };
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget = large;
    assert_eq!(plan(&world, evening_out()).changes, [], "each is three tenths full");
}

#[test]
fn a_target_larger_than_a_shard_is_neither_evened_out_nor_counted() {
    let mut world = six_and([]);
    world.replicas[0].shards.insert(Ordinal(2), shard([owned(7, 3)]));
    world.replicas[0].wanted_shards = 3;
    let listed = crate::made_up::listed(narthex_planner::world::KnownLoad::Measured(series(500)));
    world.targets.insert(target(7), listed);
    assert_eq!(moves(&plan(&world, evening_out())), [(6, 0, 1), (5, 0, 1), (4, 0, 1)]);
}

#[test]
fn a_new_shard_gets_its_part_and_then_there_is_rest() {
    let policy = |rebalance| Policy::new(Settings { max_series: Series(1000), rebalance, ..spreading() }).unwrap();
    let mut fleet = Fleet::new(3, false);
    (0..90).for_each(|number| fleet.add(target(number), series(20 + number % 10), true));
    fleet.settle(&policy(false));
    fleet.add_shard();
    fleet.settle(&policy(false));
    assert_eq!(fleet.owned()[3], 0, "without rebalancing nothing moves");
    fleet.settle(&policy(true));
    let kept = fleet.kept();
    let (most, all) = (kept.iter().max().unwrap().0, kept.iter().map(|kept| kept.0).sum::<u64>());
    assert!(most * 4 * 100 <= all * 110, "{kept:?}: the fullest is at most a tenth above the mean");
    assert!(fleet.owned().iter().sum::<usize>() == 90);
}
