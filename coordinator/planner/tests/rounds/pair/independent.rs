//! Replicas that are planned each by itself.

use super::*;

#[test]
fn one_replica_in_trouble_does_not_touch_the_plan_of_another() {
    let targets = [(1, 40), (2, 40), (3, 40)];
    let well = world(targets, [scrapes([1, 2]), shard([])]);
    let alone = narthex_planner::plan(&well, &Policy::new(spreading()).unwrap()).replicas.into_values().next().unwrap();
    let shards_in_trouble: [fn() -> ShardView; 4] = [
        || gone_quiet(scrapes([1, 2, 3])),
        silent_shard,
        || but(scrapes([1]), |report| report.config_matches = false),
        || but(scrapes([2]), |report| report.head_series = Some(Series(1_000))),
    ];
    for trouble in shards_in_trouble {
        let (_, second) = plan(&pair(world(targets, [trouble()]), well.clone()), spreading());
        assert_eq!(second, alone);
        let (first, _) = plan(&pair(well.clone(), world(targets, [trouble()])), spreading());
        assert_eq!(first, alone);
    }
}

#[test]
fn every_target_is_once_in_every_replica() {
    for settings in [spreading(), packing()] {
        let mut pair = Pair::new(0, 2);
        (1..=20).for_each(|number| pair.add(number, number));
        pair.settle(&Policy::new(settings).unwrap());
        assert!(pair.each_target_is_once_in_each());
    }
}

#[test]
fn a_load_that_one_replica_measures_is_used_in_the_other() {
    let measured = |kept| {
        let mut report = held(TargetState::Normal, 3);
        report.load = Some(series(kept));
        report
    };
    // Probes know nothing of the load by which the first replica's shard is over its budget; and neither does the second
    // replica by itself.
    let first = world([(1, 10), (2, 10)], [shard([(1, measured(70)), (2, measured(70))]), shard([])]);
    let second = world([(1, 10), (2, 10)], [scrapes([1, 2]), shard([])]);
    assert_eq!(plan(&pair(second.clone(), second.clone()), spreading()).1.changes, []);
    let (_, second) = plan(&pair(first, second), spreading());
    assert_eq!(why_moved(&second), [MoveReason::OverMemory { by: Series(40) }]);
}

#[test]
fn moves_are_bounded_in_each_replica() {
    let crowded =
        || world([(1, 60), (2, 60), (3, 60), (4, 60)], [scrapes([1, 2, 3, 4]), shard([]), shard([]), shard([])]);
    let settings = Settings { max_moves: 2, ..spreading() };
    let (first, second) = plan(&pair(crowded(), crowded()), settings);
    assert_eq!((moves(&first).len(), moves(&second).len()), (2, 2));
}
