//! A replica that mirrors another: same ordinal, same targets.

use narthex_planner::world::KnownLoad;

use super::*;
use crate::made_up::listed;

#[test]
fn from_nothing_both_replicas_get_the_same_shards_with_the_same_targets() {
    for settings in [spreading(), packing()] {
        let mut pair = Pair::new(0, 0);
        (1..=20).for_each(|number| pair.add(number, 10 + number));
        pair.settle(&Policy::new(mirrored(settings)).unwrap());
        assert!(pair.each_target_is_once_in_each() && pair.is_mirrored());
    }
}

#[test]
fn a_target_gets_its_shards_in_both_replicas_in_one_round() {
    let (first, second) =
        plan(&pair(world([(1, 40)], [shard([])]), world([(1, 40)], [shard([])])), mirrored(packing()));
    assert_eq!(placed(&first), [(1, 0, PlaceReason::LowestWithRoom)]);
    assert_eq!(placed(&second), [(1, 0, PlaceReason::Mirrored)]);
}

#[test]
fn a_target_waits_for_the_shard_where_the_first_replica_has_it() {
    let targets = [(1, 40)];
    let shards_that_take_nothing: [ShardView; 3] =
        [silent_shard(), but(shard([]), |r| r.config_matches = false), but(shard([]), |r| r.ready = false)];
    for out_of_reach in shards_that_take_nothing {
        let world = pair(world(targets, [shard([]), scrapes([1])]), world(targets, [shard([]), out_of_reach]));
        let (first, second) = plan(&world, mirrored(spreading()));
        assert_eq!((first.changes, second.changes), (vec![], vec![]));
        assert_eq!(second.unplaced, [(target(1), Unplaced::WaitingForMirror)].into());
    }
}

#[test]
fn a_target_that_waits_for_its_probe_says_so_in_both_replicas() {
    let unknown = || {
        let mut world = world([(1, 40)], [shard([])]);
        world.targets.insert(target(1), listed(KnownLoad::Unknown));
        world
    };
    let (first, second) = plan(&pair(unknown(), unknown()), mirrored(spreading()));
    assert_eq!(first.unplaced, [(target(1), Unplaced::LoadUnknown)].into());
    assert_eq!(second.unplaced, first.unplaced);
}

#[test]
fn a_target_moves_to_where_the_first_replica_has_it() {
    let world = pair(world([(1, 40)], [shard([]), scrapes([1])]), world([(1, 40)], [scrapes([1]), shard([])]));
    let (first, second) = plan(&world, mirrored(spreading()));
    assert_eq!(first.changes, []);
    assert_eq!((moves(&second), why_moved(&second)), (vec![(1, 0, 1)], vec![MoveReason::Mirrored]));
}

#[test]
fn a_move_in_the_first_replica_begins_in_the_other_at_once() {
    let targets = [(1, 60), (2, 70)];
    let over = || world(targets, [scrapes([1, 2]), shard([])]);
    let (first, second) = plan(&pair(over(), over()), mirrored(spreading()));
    assert_eq!(moves(&first), [(1, 0, 1)]);
    assert_eq!(moves(&second), [(1, 0, 1)]);
}

#[test]
fn two_independent_replicas_become_mirrors_in_bounded_steps() {
    for (seed, settings) in (0..6).flat_map(|seed| [(seed, spreading()), (seed, packing())]) {
        let mut pair = Pair::new(seed % 3, 4 - seed % 3);
        let settings = Settings { max_moves: 3, ..settings };
        // Each replica finds its targets in its own order.
        for number in 1..=30_u64 {
            pair.first.add(target(number), series(5 + number % 7), true);
            pair.second.add(target(31 - number), series(5 + (31 - number) % 7), true);
            if number % 10 == 0 {
                pair.first.settle(&Policy::new(settings.clone()).unwrap());
                pair.second.settle(&Policy::new(settings.clone()).unwrap());
            }
        }
        pair.second.now = pair.first.now.max(pair.second.now);
        pair.first.now = pair.second.now;
        assert!(!pair.is_mirrored());
        let rounds = pair.settle(&Policy::new(mirrored(settings)).unwrap());
        assert!(pair.each_target_is_once_in_each() && pair.is_mirrored(), "seed {seed}");
        assert!(rounds <= 60, "seed {seed} takes {rounds} rounds");
    }
}

#[test]
fn two_full_shards_exchange_targets() {
    let targets = [(1, 9), (2, 9), (11, 91), (12, 91)];
    let world = pair(
        world(targets, [scrapes([1, 11]), scrapes([2, 12])]),
        world(targets, [scrapes([2, 11]), scrapes([1, 12])]),
    );
    let (first, second) = plan(&world, mirrored(spreading()));
    assert_eq!(first.changes, []);
    assert_eq!(moves(&second), [(1, 1, 0), (2, 0, 1)], "within the line where relief begins");
}

#[test]
fn large_targets_make_way_by_a_third_shard() {
    let mut pair = Pair::new(3, 3);
    for number in 1..=4 {
        pair.add(number, 50);
    }
    pair.add(5, 30);
    for (fleet, shards) in [(&mut pair.first, [[1, 2], [3, 4]]), (&mut pair.second, [[1, 3], [2, 4]])] {
        for (shard, numbers) in fleet.shards.iter_mut().zip(shards) {
            shard.targets = numbers.map(|number| (target(number), held(TargetState::Normal, 3))).into();
        }
        fleet.shards[2].targets = [(target(5), held(TargetState::Normal, 3))].into();
    }
    let policy = Policy::new(mirrored(spreading())).unwrap();
    let (_, second) = pair.round(&policy);
    assert_eq!(why_moved(&second), [MoveReason::MakesWay]);
    pair.settle(&policy);
    assert!(pair.each_target_is_once_in_each() && pair.is_mirrored());
}

#[test]
fn a_shard_is_filled_only_to_what_the_weaker_of_its_twins_may_carry() {
    let weak = ShardView { budget: OwnBudget { max_series: Some(Series(50)), ..OwnBudget::default() }, ..shard([]) };
    let targets = [(1, 40), (2, 40)];
    let world = pair(world(targets, [shard([]), shard([])]), world(targets, [weak, shard([])]));
    let (first, second) = plan(&world, mirrored(packing()));
    let to = |plan| placed(plan).into_iter().map(|(number, to, _)| (number, to)).collect::<Vec<_>>();
    assert_eq!(to(&first), [(1, 0), (2, 1)]);
    assert_eq!(to(&second), [(1, 0), (2, 1)]);
}

#[test]
fn what_cannot_be_read_is_not_followed() {
    let targets = [(1, 40), (2, 40)];
    let mut unread = silent_shard();
    unread.found_at_start = Some(NOW);
    for first in [world(targets, []), world(targets, [unread])] {
        let (_, second) =
            plan(&pair(first, world(targets, [scrapes([1]), scrapes([2]), shard([])])), mirrored(packing()));
        assert_eq!(second.changes, []);
    }
}

#[test]
fn a_shard_that_lost_its_disk_gets_back_what_its_twin_scrapes() {
    let targets = [(1, 40), (2, 40), (3, 10)];
    let (first, second) = plan(
        &pair(world(targets, [scrapes([1]), shard([])]), world(targets, [scrapes([1]), scrapes([2])])),
        mirrored(packing()),
    );
    assert_eq!(placed(&first)[0], (2, 1, PlaceReason::Mirrored));
    assert_eq!(placed(&second), [(3, 0, PlaceReason::Mirrored)]);
    // While it cannot take anything, its twin goes on alone.
    let starting = || but(shard([]), |report| report.ready = false);
    let (first, _) = plan(
        &pair(world(targets, [scrapes([1]), starting()]), world(targets, [scrapes([1]), scrapes([2])])),
        mirrored(packing()),
    );
    assert_eq!(first.unplaced, [(target(2), Unplaced::WaitingForMirror)].into());
}

#[test]
fn both_replicas_grow_and_shrink_together() {
    let policy = Policy::new(mirrored(packing())).unwrap();
    let mut pair = Pair::new(1, 1);
    (1..=10).for_each(|number| pair.add(number, 40));
    let (first, second) = pair.round(&policy);
    assert_eq!(first.wanted_shards, second.wanted_shards);
    assert!(second.changes.iter().any(|change| matches!(change, Change::Scale { why: ScaleReason::Mirrored, .. })));
    pair.settle(&policy);
    assert_eq!((pair.first.shards.len(), pair.second.shards.len()), (5, 5));
    for number in [1, 2, 3, 4, 5, 6] {
        pair.first.targets.remove(&target(number));
        pair.second.targets.remove(&target(number));
    }
    pair.settle(&policy);
    assert_eq!((pair.first.shards.len(), pair.second.shards.len()), (2, 2));
    assert!(pair.each_target_is_once_in_each() && pair.is_mirrored());
}

#[test]
fn a_mirror_takes_no_shard_away_that_has_targets() {
    let mut second = world([(1, 40)], [shard([]), scrapes([1])]);
    second.now = NOW.after(Duration::from_secs(600));
    let mut first = world([(1, 40)], [scrapes([1])]);
    first.now = second.now;
    let (_, second) = plan(&pair(first, second), mirrored(packing()));
    assert_eq!(second.wanted_shards, 2);
    assert_eq!(moves(&second), [(1, 1, 0)]);
}

#[test]
fn a_lost_shard_of_one_replica_breaks_no_mirror() {
    let targets = [(1, 40), (2, 40)];
    let whole = || world(targets, [scrapes([1]), scrapes([2]), shard([])]);
    let broken = || world(targets, [scrapes([1]), quiet_for(600, scrapes([2])), shard([])]);
    for world in [pair(broken(), whole()), pair(whole(), broken())] {
        let (first, second) = plan(&world, mirrored(spreading()));
        assert_eq!((first.changes, second.changes), (vec![], vec![]), "its twin scrapes it all");
    }
}

#[test]
fn a_mirror_takes_over_what_the_first_replica_has_elsewhere() {
    let targets = [(1, 40), (2, 40)];
    let world = pair(
        world(targets, [scrapes([1]), shard([]), scrapes([2])]),
        world(targets, [scrapes([1]), quiet_for(600, scrapes([2])), shard([])]),
    );
    let (_, second) = plan(&world, mirrored(spreading()));
    assert_eq!(placed(&second), [(2, 2, PlaceReason::TakenOver { from: Ordinal(1) })]);
}

/// Two replicas of three shards, filled and at rest.
fn at_rest(policy: &Policy) -> Pair {
    let mut pair = Pair::new(3, 3);
    (1..=6).for_each(|number| pair.add(number, 40));
    pair.settle(policy);
    assert!(pair.is_mirrored());
    pair
}

#[test]
fn a_coordinator_that_restarts_while_a_shard_is_dead_moves_nothing() {
    let policy = Policy::new(mirrored(spreading())).unwrap();
    for is_first in [true, false] {
        let mut pair = at_rest(&policy);
        let before = contents(&pair.first);
        let broken = if is_first { &mut pair.first } else { &mut pair.second };
        broken.shards[1].silent = true;
        pair.first.restart_coordinator();
        pair.second.restart_coordinator();
        for _ in 0..100 {
            let (first, second) = pair.round(&policy);
            assert_eq!((first.changes, second.changes), (vec![], vec![]), "not even after failover_after");
        }
        let broken = if is_first { &mut pair.first } else { &mut pair.second };
        broken.shards[1].silent = false;
        pair.settle(&policy);
        assert_eq!((contents(&pair.first), contents(&pair.second)), (before.clone(), before));
    }
}

#[test]
fn what_is_dead_in_both_replicas_is_placed_anew() {
    let policy = Policy::new(mirrored(spreading())).unwrap();
    let mut pair = at_rest(&policy);
    for fleet in [&mut pair.first, &mut pair.second] {
        fleet.shards[1].dead = true;
        fleet.restart_coordinator();
    }
    pair.settle(&policy);
    assert_eq!((pair.first.unscraped(), pair.second.unscraped()), (vec![], vec![]));
    for ordinal in [0, 2, 3] {
        assert_eq!(contents(&pair.first)[ordinal], contents(&pair.second)[ordinal]);
    }
}

#[test]
fn a_new_first_replica_takes_the_order_of_the_one_that_was_there() {
    let policy = Policy::new(mirrored(spreading())).unwrap();
    let mut pair = Pair { first: Fleet::new(0, true), second: at_rest(&policy).second };
    pair.first.now = pair.second.now;
    pair.first.targets = pair.second.targets.clone();
    let before = contents(&pair.second);
    pair.settle(&policy);
    assert_eq!(contents(&pair.second), before);
    assert!(pair.is_mirrored());
}

#[test]
fn what_is_lost_in_both_replicas_is_taken_over_by_the_same_shards() {
    let policy = Policy::new(mirrored(spreading())).unwrap();
    let mut pair = at_rest(&policy);
    for fleet in [&mut pair.first, &mut pair.second] {
        fleet.shards[1].dead = true;
    }
    for _ in 0..60 {
        pair.round(&policy);
    }
    assert_eq!((pair.first.unscraped(), pair.second.unscraped()), (vec![], vec![]));
    for fleet in [&mut pair.first, &mut pair.second] {
        fleet.shards[1].dead = false;
    }
    pair.settle(&policy);
    assert!(pair.each_target_is_once_in_each() && pair.is_mirrored());
}

#[test]
fn a_target_whose_shard_has_full_memory_in_the_first_replica_goes_elsewhere() {
    let full = but(shard([owned(5, 3)]), |report| report.head_series = Some(Series(111)));
    let world = pair(world([(4, 20), (5, 10)], [full, shard([])]), world([], [scrapes([4, 5]), shard([])]));
    let (first, _) = plan(&world, mirrored(Settings { relief: false, ..spreading() }));
    assert_eq!(placed(&first), [(4, 1, PlaceReason::MostRoom)], "memory may stay full for ever");
}
