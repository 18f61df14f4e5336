//! A coordinator that is killed: nothing that had a shard moves, nothing is lost, nothing is scraped twice.

use narthex_common::load::Series;
use narthex_planner::{Policy, policy::Settings, reason::Unplaced};

use crate::{
    fleet::Fleet,
    made_up::{packing, series, spreading, target},
};

fn demo(settings: Settings) -> (Fleet, Policy) {
    let mut fleet = Fleet::new(0, true);
    for number in 1..=6 {
        fleet.add(target(number), series(10_045), true);
    }
    (fleet, Policy::new(Settings { max_series: Series(30_000), ..settings }).unwrap())
}

#[test]
fn six_targets_from_nothing_come_to_rest_on_three_shards() {
    for settings in [spreading(), packing()] {
        let (mut fleet, policy) = demo(settings);
        fleet.settle(&policy);
        assert_eq!(fleet.owned(), [2, 2, 2]);
        assert_eq!(fleet.kept(), [Series(20_090); 3]);
    }
}

#[test]
fn a_coordinator_killed_at_any_moment_of_a_scale_out_moves_nothing_and_loses_nothing() {
    for (killed_in_round, shards_told) in (0..8).flat_map(|round| [0, 1, 2].map(|told| (round, told))) {
        let (mut fleet, policy) = demo(packing());
        for _ in 0..killed_in_round {
            fleet.round(&policy);
        }
        let plan = narthex_planner::plan(&fleet.look(), &policy);
        fleet.apply(&plan, shards_told);
        fleet.restart_coordinator();
        let before: Vec<_> = fleet.shards.iter().map(|shard| shard.targets.clone()).collect();
        fleet.settle(&policy);
        assert_eq!(fleet.owned(), [2, 2, 2], "killed in round {killed_in_round}");
        for (before, after) in before.iter().zip(&fleet.shards) {
            assert!(before.keys().all(|id| after.targets.contains_key(id)), "killed in round {killed_in_round}");
        }
    }
}

#[test]
fn what_a_shard_may_hold_that_has_not_answered_waits_but_not_for_ever() {
    let (mut fleet, policy) = demo(packing());
    fleet.settle(&policy);
    fleet.restart_coordinator();
    fleet.shards[1].silent = true;
    let plan = fleet.round(&policy);
    assert_eq!(plan.changes, []);
    assert_eq!(plan.unplaced.values().collect::<Vec<_>>(), [&Unplaced::MaybeHeld; 2]);
    for _ in 0..6 {
        fleet.round(&policy);
    }
    assert_ne!(fleet.round(&policy).unplaced.values().next(), Some(&Unplaced::MaybeHeld));
    fleet.shards[1].silent = false;
    fleet.settle(&policy);
    assert_eq!(fleet.owned().iter().sum::<usize>(), 6, "each has one owner again");
}
