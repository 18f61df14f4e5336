//! Place: where targets go that no shard holds.

use narthex_common::load::{Load, SampleRate, Series};
use narthex_planner::{
    memory::{Suspect, Suspicion},
    policy::Settings,
    reason::Unplaced,
    world::{KnownLoad, ReplicaView},
};

use crate::made_up::{
    NOW, Round, but, gone_quiet, leaving, listed, owned, packing, plan, series, shard, silent_shard, spreading, target,
    told, world,
};

#[test]
fn six_equal_targets_end_two_by_two_on_three_shards() {
    let targets = [1, 2, 3, 4, 5, 6].map(|number| (number, 10_045));
    let settings = |settings: Settings| Settings { max_series: Series(30_000), ..settings };
    for settings in [settings(spreading()), settings(packing())] {
        let plan = plan(&world(targets, [shard([]), shard([]), shard([])]), settings);
        assert!(told(&plan).iter().all(|(_, owned, _)| owned.len() == 2), "{:?}", told(&plan));
        assert!(plan.unplaced.is_empty());
    }
}

#[test]
fn what_is_held_stays_where_it_is() {
    let lopsided = [shard([owned(1, 3), owned(2, 3), owned(3, 3)]), shard([])];
    let plan = plan(&world([(1, 30), (2, 30), (3, 30)], lopsided), spreading());
    assert_eq!(told(&plan), [(0, vec![1, 2, 3], vec![]), (1, vec![], vec![])]);
    assert_eq!(plan.changes, []);
}

#[test]
fn while_shards_may_go_the_lowest_with_room_takes_a_target() {
    let plan = plan(&world([(1, 60), (2, 50), (3, 30)], [shard([]), shard([]), shard([])]), packing());
    assert_eq!(told(&plan), [(0, vec![1, 3], vec![]), (1, vec![2], vec![]), (2, vec![], vec![])]);
}

#[test]
fn while_none_goes_the_emptiest_shard_takes_a_target() {
    let shards = [shard([owned(1, 3)]), shard([owned(2, 3)]), shard([owned(3, 3)])];
    let plan = plan(&world([(1, 60), (2, 50), (3, 55), (4, 8)], shards), spreading());
    assert_eq!(told(&plan)[1], (1, vec![2, 4], vec![]));
}

#[test]
fn the_seed_chooses_among_equals_and_nothing_else() {
    let choice = |seed| {
        let mut world = world([(1, 10)], [shard([]), shard([]), shard([]), shard([])]);
        world.seed = seed;
        told(&plan(&world, spreading())).iter().position(|(_, owned, _)| !owned.is_empty())
    };
    assert_eq!(choice(3), choice(3));
    assert!((0..20).map(choice).any(|chosen| chosen != choice(3)));
}

#[test]
fn both_figures_of_a_load_must_fit() {
    let settings = Settings { max_samples_per_second: Some(SampleRate::per_second(167)), ..spreading() };
    let mut world = world([(1, 10), (2, 20)], [shard([owned(1, 3)]), shard([])]);
    for (number, exposed) in [(1, 100), (2, 60)] {
        let load = Load { exposed: Series(exposed), kept: Series(10) };
        world.targets.insert(target(number), listed(KnownLoad::Measured(load)));
    }
    assert_eq!(told(&plan(&world, settings))[1], (1, vec![2], vec![]));
}

#[test]
fn a_target_that_moves_takes_room_at_both_shards() {
    let shards = [shard([owned(1, 0)]), shard([leaving(1)])];
    let plan = plan(&world([(1, 60), (2, 50)], shards), spreading());
    assert_eq!(plan.unplaced[&target(2)], Unplaced::WaitingForShards);
}

#[test]
fn a_target_that_cannot_be_scraped_is_placed_with_the_median_load_of_its_job() {
    let mut world =
        world([(1, 20), (2, 90), (3, 40), (4, 0)], [shard([owned(2, 3)]), shard([owned(1, 3), owned(3, 3)])]);
    world.targets.get_mut(&target(4)).unwrap().probed = KnownLoad::ProbeFailed { since: NOW };
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan)[1], (1, vec![1, 3, 4], vec![]), "it has no room beside the 90, for it may weigh 40");
}

#[test]
fn a_target_of_which_nothing_is_known_yet_waits_for_its_probe() {
    let mut world = world([(1, 20), (2, 20)], [shard([owned(1, 0)])]);
    for number in [1, 2] {
        world.targets.insert(target(number), listed(KnownLoad::Unknown));
    }
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan), [(0, vec![1], vec![])], "what is held is held");
    assert_eq!(plan.plan.unplaced.into_iter().collect::<Vec<_>>(), [(target(2), Unplaced::LoadUnknown)]);
}

#[test]
fn what_a_shard_measured_counts_and_not_what_a_probe_saw() {
    let grown = |load| {
        let mut held = owned(1, 3);
        held.1.load = Some(series(load));
        shard([held])
    };
    let fits = plan(&world([(1, 90), (2, 60)], [grown(30)]), spreading());
    assert!(fits.unplaced.is_empty());
    let does_not = plan(&world([(1, 10), (2, 60)], [grown(50)]), spreading());
    assert_eq!(does_not.unplaced[&target(2)], Unplaced::WaitingForShards);
}

#[test]
fn a_target_larger_than_a_budget_gets_an_empty_shard_and_nothing_joins_it() {
    let shards = [shard([owned(1, 3)]), shard([]), shard([])];
    let plan = plan(&world([(1, 60), (2, 500), (3, 30), (4, 0)], shards), packing());
    assert_eq!(told(&plan), [(0, vec![1, 3, 4], vec![]), (1, vec![2], vec![]), (2, vec![], vec![])]);
}

#[test]
fn a_shard_takes_nothing_that_is_silent_or_not_ready_or_full_or_of_another_config_or_going() {
    let mut world = world(
        [(1, 10)],
        [
            gone_quiet(shard([])),
            but(shard([]), |report| report.ready = false),
            but(shard([]), |report| report.head_series = Some(Series(111))),
            but(shard([]), |report| report.config_matches = false),
            shard([]),
        ],
    );
    world.replicas[0].wanted_shards = 4;
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan), [(1, vec![], vec![]), (2, vec![], vec![]), (4, vec![], vec![])]);
    assert_eq!(plan.unplaced[&target(1)], Unplaced::WaitingForShards);
    assert_eq!(plan.wanted_shards, 4, "shards that are on their way have room");
}

#[test]
fn memory_a_little_over_its_budget_shuts_no_shard_out() {
    let settled = but(shard([]), |report| report.head_series = Some(Series(110)));
    assert_eq!(told(&plan(&world([(1, 10)], [settled]), spreading())), [(0, vec![1], vec![])]);
}

#[test]
fn what_a_silent_shard_holds_is_placed_nowhere_else() {
    let world = world([(1, 10)], [gone_quiet(shard([owned(1, 3)])), shard([])]);
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan), [(1, vec![], vec![])]);
    assert!(plan.unplaced.is_empty());
}

#[test]
fn nothing_is_placed_before_the_minimum_of_shards_is_there() {
    let settings = Settings { min_shards: 2, ..spreading() };
    let starting = plan(&world([(1, 10)], [shard([]), silent_shard()]), settings.clone());
    assert_eq!(starting.unplaced[&target(1)], Unplaced::BelowMinimum);
    let restarting = plan(&world([(1, 10)], [shard([]), gone_quiet(shard([]))]), settings);
    assert!(restarting.unplaced.is_empty(), "a shard that restarts is there");
}

#[test]
fn every_replica_gets_every_target() {
    let mut world = world([(1, 60), (2, 60)], [shard([owned(1, 3)]), shard([])]);
    let other = ReplicaView { id: narthex_common::shard::ReplicaId("other".into()), ..world.replicas[0].clone() };
    world.replicas.push(other);
    let policy = narthex_planner::Policy::new(spreading()).unwrap();
    let plan = narthex_planner::plan(&world, &policy);
    assert_eq!(plan.replicas.len(), 2);
    for (view, plan) in world.replicas.iter().zip(plan.replicas.into_values()) {
        let plan = Round { view: view.clone(), plan };
        assert_eq!(told(&plan), [(0, vec![1], vec![]), (1, vec![2], vec![])]);
    }
}

#[test]
fn a_suspect_gets_an_empty_shard_that_it_fits_on() {
    let mut world = world([(1, 60)], [shard([]), shard([])]);
    let view = &mut world.replicas[0];
    view.shards.get_mut(&narthex_common::shard::Ordinal(0)).unwrap().budget.max_series = Some(Series(50));
    let suspect = Suspect { since: NOW, why: Suspicion::Grew, isolated_on: None, lives_since: None };
    view.memory.suspects.insert(target(1), suspect);
    assert_eq!(told(&plan(&world, spreading()))[1], (1, vec![1], vec![]));
}
