//! Loads that swing by a tenth around a threshold, for a thousand rounds: no target moves twice.

use std::collections::BTreeMap;

use narthex_common::{
    load::{Load, SampleRate, Series},
    target::TargetId,
};
use narthex_planner::{Policy, ReplicaPlan, policy::Settings, reason::Change};

use crate::{
    fleet::Fleet,
    made_up::{packing, series, spreading, target},
};

/// What a target weighs in a round, in hundredths of what it weighs on the average.
type Swing = fn(round: u64, target: u64) -> u64;

const SWINGS: [(&str, Swing); 4] = [
    ("all together", |round, _| if round / 7 % 2 == 0 { 110 } else { 90 }),
    ("all together, low first", |round, _| if round / 40 % 2 == 0 { 90 } else { 110 }),
    ("three groups by turns", |round, target| if (round / 11 + target) % 3 == 0 { 110 } else { 90 }),
    ("each by itself", |round, target| 90 + scrambled(round * 1000 + target) % 21),
];

/// Numbers without a pattern, the same in every run.
fn scrambled(number: u64) -> u64 {
    (number.wrapping_add(1)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        >> 33
}

/// Budgets of a thousand series.
fn of_a_thousand(settings: Settings) -> Policy {
    Policy::new(Settings { max_series: Series(1000), ..settings }).unwrap()
}

/// Three shards that hold ten targets each.
fn three_shards(scalable: bool, load: u64) -> Fleet {
    let mut fleet = Fleet::new(3, scalable);
    (0..30).for_each(|number| fleet.add(target(number), series(load), true));
    fleet.settle(&of_a_thousand(spreading()));
    assert_eq!(fleet.owned(), [10, 10, 10]);
    fleet
}

fn moved(plan: &ReplicaPlan) -> impl Iterator<Item = TargetId> {
    plan.changes.iter().filter_map(|change| match change {
        Change::Move { target, .. } => Some(*target),
        Change::Place { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    })
}

/// How often targets move in a thousand rounds, by target.
fn moves_of_a_thousand_rounds(fleet: &mut Fleet, policy: &Policy, swing: Swing) -> BTreeMap<TargetId, u32> {
    let steady: BTreeMap<TargetId, Load> = fleet.targets.iter().map(|(id, truth)| (*id, truth.load)).collect();
    let mut moves = BTreeMap::new();
    fleet.pass_time();
    for round in 0..1000 {
        for (id, truth) in &mut fleet.targets {
            let part = |figure: Series| Series(figure.0 * swing(round, id.0.0) / 100);
            truth.load = Load { exposed: part(steady[id].exposed), kept: part(steady[id].kept) };
        }
        let plan = fleet.round(policy);
        moved(&plan).for_each(|target| *moves.entry(target).or_insert(0) += 1);
    }
    moves
}

/// Whatever the swing, no target moves twice, and in some a target does move: the threshold is near.
fn nothing_moves_twice(policy: &Policy, fleet: impl Fn() -> Fleet) {
    let mut moved = 0;
    for (name, swing) in SWINGS {
        let moves = moves_of_a_thousand_rounds(&mut fleet(), policy, swing);
        let twice: Vec<_> = moves.iter().filter(|(_, times)| **times > 1).collect();
        assert!(twice.is_empty(), "{name}: {twice:?}");
        moved += moves.len();
    }
    assert!(moved > 0, "nothing moves at all");
}

#[test]
fn memory_that_swings_around_the_line_of_relief_moves_no_target_twice() {
    for (scalable, settings) in [(false, spreading()), (true, spreading()), (true, packing())] {
        for grown in if scalable { 10..=30 } else { 10..=10 }.step_by(10) {
            nothing_moves_twice(&of_a_thousand(settings.clone()), || {
                let mut fleet = three_shards(scalable, 70);
                let ids: Vec<TargetId> = fleet.shards.iter().flat_map(|s| s.targets.keys()).copied().collect();
                for id in &ids[..grown] {
                    fleet.targets.get_mut(id).unwrap().load = series(110);
                }
                fleet
            });
        }
    }
}

#[test]
fn work_that_swings_around_the_line_of_relief_moves_no_target_twice() {
    let settings = Settings { max_samples_per_second: Some(SampleRate::per_second(2000)), ..spreading() };
    for scalable in [false, true] {
        nothing_moves_twice(&of_a_thousand(settings.clone()), || {
            let mut fleet = three_shards(scalable, 20);
            let of_first: Vec<TargetId> = fleet.shards[0].targets.keys().copied().collect();
            for (id, truth) in &mut fleet.targets {
                let exposed = if of_first.contains(id) { 200 } else { 160 };
                truth.load.exposed = Series(exposed);
            }
            fleet
        });
    }
}

#[test]
fn loads_that_swing_around_the_line_of_drain_move_no_target_twice() {
    for load in [50, 55, 60, 65] {
        nothing_moves_twice(&of_a_thousand(packing()), || three_shards(true, load));
    }
}

#[test]
fn loads_that_swing_around_the_line_of_rebalancing_move_no_target_twice() {
    let policy = of_a_thousand(Settings { rebalance: true, ..spreading() });
    nothing_moves_twice(&policy, || {
        let mut fleet = three_shards(false, 50);
        let of_first: Vec<TargetId> = fleet.shards[0].targets.keys().copied().collect();
        for id in of_first {
            fleet.targets.get_mut(&id).unwrap().load = series(65);
        }
        fleet
    });
}

#[test]
fn a_target_that_swings_around_the_size_of_a_shard_moves_others_away_once_and_is_not_moved_itself() {
    for settings in [spreading(), packing()] {
        nothing_moves_twice(&of_a_thousand(settings), || {
            let mut fleet = three_shards(true, 50);
            let large = *fleet.shards[0].targets.keys().next().unwrap();
            fleet.targets.get_mut(&large).unwrap().load = series(1000);
            fleet
        });
    }
}
