//! What users of Kvass complain about and planning has to do with, one test for each.
//!
//! Two stand elsewhere: a shard that is dead keeps its targets for ever
//! (`take_over::a_dead_shard_does_not_keep_its_targets_for_ever`), and a failed probe counts as healthy with no series
//! (`place::a_target_that_cannot_be_scraped_is_placed_with_the_median_load_of_its_job`).

use std::time::Duration;

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, target::TargetId};
use narthex_planner::{
    Planner, Policy, World,
    policy::Settings,
    world::{KnownLoad, TargetMap},
};

use crate::{
    fleet::Fleet,
    made_up::{NOW, listed, owned, packing, plan, series, shard, spreading, target, world},
};

/// Of the targets from one number to another, those that no shard owns.
fn without_owner(fleet: &Fleet, numbers: std::ops::RangeInclusive<u64>) -> Vec<u64> {
    let owns = |number: &u64| {
        let held = fleet.shards.iter().filter_map(|shard| shard.targets.get(&target(*number)));
        held.filter(|held| held.state == TargetState::Normal).count() == 1
    };
    numbers.filter(|number| !owns(number)).collect()
}

/// There: targets that are down when they are found are never assigned; `up` is absent, and alerts stay silent.
#[test]
fn a_target_that_is_down_when_found_is_assigned() {
    for settings in [spreading(), packing()] {
        let policy = Policy::new(settings).unwrap();
        let mut fleet = Fleet::new(0, true);
        fleet.add(target(1), series(50), false);
        fleet.settle(&policy);
        assert_eq!(fleet.owned(), [1], "alone, when nothing is known of any load");
        (2..=5).for_each(|number| fleet.add(target(number), series(50), number > 3));
        fleet.settle(&policy);
        assert_eq!(without_owner(&fleet, 1..=5), [0; 0]);
    }
}

/// There: it is never scraped, or shards are added for it without end.
#[test]
fn a_target_larger_than_a_shard_is_scraped_and_does_not_scale_out_without_end() {
    for settings in [spreading(), packing()] {
        let policy = Policy::new(settings).unwrap();
        let mut fleet = Fleet::new(1, true);
        fleet.add(target(1), series(40), true);
        fleet.settle(&policy);
        fleet.add(target(2), series(5_000), true);
        fleet.settle(&policy);
        fleet.add(target(3), series(40), true);
        let plan = fleet.settle(&policy);
        assert_eq!(without_owner(&fleet, 1..=3), [0; 0]);
        assert_eq!(fleet.shards.len(), 2);
        assert_eq!(plan.oversized.into_iter().collect::<Vec<_>>(), [target(2)], "and a person is told");
    }
}

/// There: the wait is compiled away, and moves tear gaps.
#[test]
fn the_wait_for_three_scrapes_is_kept() {
    let policy = Policy::new(spreading()).unwrap();
    let mut fleet = Fleet::new(2, true);
    (1..=6).for_each(|number| fleet.add(target(number), series(15), true));
    fleet.settle(&policy);
    (1..=6).for_each(|number| fleet.add(target(number), series(45), true));
    let mut let_go = 0;
    for _ in 0..60 {
        let before: Vec<_> = fleet.shards.iter().map(|shard| shard.targets.clone()).collect();
        fleet.round(&policy);
        for (source, shard) in before.iter().enumerate() {
            for id in shard.keys().filter(|id| !fleet.shards[source].targets.contains_key(id)) {
                let proved = before.iter().any(|other| {
                    other
                        .get(id)
                        .is_some_and(|held| held.state == TargetState::Normal && held.scrapes == SCRAPES_COUNTED)
                });
                assert!(proved, "shard {source} lets go of target {id}, which no other has scraped three times");
                let_go += 1;
            }
        }
    }
    assert!(let_go > 0, "nothing moved");
    assert_eq!(without_owner(&fleet, 1..=6), [0; 0]);
}

/// There: a shard whose fingerprint differs is frozen, and a rolling update stands the whole replica still.
#[test]
fn a_shard_with_another_config_does_not_freeze_the_others() {
    let policy = Policy::new(spreading()).unwrap();
    let mut fleet = Fleet::new(3, true);
    (1..=6).for_each(|number| fleet.add(target(number), series(20), true));
    fleet.settle(&policy);
    fleet.shards[1].config_matches = false;
    let frozen = fleet.shards[1].targets.clone();
    let of_another = fleet.shards[0].targets.keys().next().copied().unwrap();
    fleet.add(of_another, series(105), true);
    fleet.add(target(7), series(20), true);
    for _ in 0..20 {
        fleet.round(&policy);
    }
    assert_eq!(without_owner(&fleet, 1..=7), [0; 0], "what is new is placed");
    assert!(fleet.shards[0].targets.len() < 2, "a shard that is over its budget is relieved");
    let kept = |id: &TargetId| fleet.shards[1].targets.contains_key(id);
    assert!(frozen.keys().all(kept), "and what it had it keeps");
}

#[test]
fn a_rolling_update_does_not_stop_the_replica() {
    let policy = Policy::new(Settings { min_shards: 3, ..spreading() }).unwrap();
    let mut fleet = Fleet::new(3, true);
    (1..=6).for_each(|number| fleet.add(target(number), series(20), true));
    fleet.settle(&policy);
    let before = fleet.owned();
    for updated in (0..3).rev() {
        fleet.shards[updated].silent = true;
        let number = 10 + updated as u64;
        fleet.add(target(number), series(10), true);
        // A pod that is stopped, started and replays its log.
        for round in 0..12 {
            let plan = fleet.round(&policy);
            let placed = without_owner(&fleet, number..=number).is_empty();
            assert!(placed, "target {number} waits in round {round}: {:?}", plan.unplaced);
        }
        fleet.shards[updated].silent = false;
    }
    fleet.settle(&policy);
    assert_eq!(fleet.shards.len(), 3);
    assert!(fleet.owned().iter().zip(before).all(|(now, before)| *now >= before), "nothing was moved");
}

/// There: once discovery has had its time, what it has not found by then leaves its shard.
#[test]
fn targets_of_a_job_not_yet_discovered_stay() {
    let mut world = world([], [shard([owned(1, 3), owned(2, 3)]), shard([owned(3, 3)])]);
    world.jobs.get_mut(&"job".into()).unwrap().discovered = false;
    for hours in [0, 1, 24, 24 * 365] {
        world.now = NOW.after(Duration::from_secs(hours * 60 * 60));
        for settings in [spreading(), packing()] {
            assert_eq!(plan(&world, settings).changes, [], "after {hours} hours");
        }
    }
}

/// There: they do, on the order of maps and on chance.
#[test]
fn plans_do_not_depend_on_order_or_chance() {
    let numbers: Vec<u64> = (1..=40).collect();
    let world_of = |numbers: &[u64]| {
        let view = |number: &u64| (target(*number), listed(KnownLoad::Measured(series(5 + number % 7 * 10))));
        let mut world = world([], [shard([]), shard([]), shard([]), shard([owned(100, 3)])]);
        world.targets = TargetMap::new();
        for number in numbers {
            let (id, view) = view(number);
            world.targets.insert(id, view);
        }
        world
    };
    let rotated: Vec<u64> = numbers.iter().map(|number| number * 17 % 41).collect();
    let reversed: Vec<u64> = numbers.iter().rev().copied().collect();
    for settings in [spreading(), packing()] {
        let policy = Policy::new(settings).unwrap();
        let plan = |world: &World| narthex_planner::plan(world, &policy);
        let first = plan(&world_of(&numbers));
        assert_eq!(plan(&world_of(&rotated)), first);
        assert_eq!(plan(&world_of(&reversed)), first);
        let mut with_a_past = Planner::default();
        for part in [&reversed[..10], &rotated[5..], &numbers[20..], &[]] {
            with_a_past.plan(&world_of(part), &policy);
        }
        assert_eq!(with_a_past.plan(&world_of(&numbers), &policy), first);
    }
}
