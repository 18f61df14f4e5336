//! Wrong plans are found: a right one, changed for the worse, for every fault there is.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{
    assignment::TargetState,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId},
    time::Timestamp,
};
use narthex_planner::{
    Plan, Policy, ReplicaPlan, World,
    invariant::{self, Fault},
    memory::{Suspect, Suspicion},
    plan::PlannedTarget,
    policy::{Placement, Settings},
    reason::{Change, MoveReason, PlaceReason, ScaleReason},
    world::{ReplicaView, Seen},
};

use crate::made_up::{NOW, but, gone_quiet, leaving, owned, packing, shard, silent_shard, spreading, target, world};

const PUT: PlannedTarget = PlannedTarget { state: TargetState::Normal, load: Load::ZERO };
const HAND_OVER: PlannedTarget = PlannedTarget { state: TargetState::InTransfer, load: Load::ZERO };

/// The faults of a world's right plan, once something is done to its last replica's.
fn faults(world: &World, settings: Settings, spoil: impl FnOnce(&mut ReplicaPlan)) -> Vec<Fault> {
    let policy = Policy::new(settings).unwrap();
    let mut plan = narthex_planner::plan(world, &policy);
    assert_eq!(invariant::broken(world, &policy, &plan), []);
    spoil(plan.replicas.values_mut().next_back().unwrap());
    of(world, &policy, &plan)
}

fn of(world: &World, policy: &Policy, plan: &Plan) -> Vec<Fault> {
    invariant::broken(world, policy, plan).into_iter().map(|broken| broken.fault).collect()
}

/// Tells a shard to scrape a target.
fn put(plan: &mut ReplicaPlan, number: u64, shard: u32, how: PlannedTarget) {
    plan.shards.entry(Ordinal(shard)).or_default().put.insert(target(number), how);
}

/// Tells a shard to scrape a target no longer.
fn remove(plan: &mut ReplicaPlan, number: u64, shard: u32) {
    plan.shards.entry(Ordinal(shard)).or_default().remove.insert(target(number));
}

/// Puts a target on a shard, and says so.
fn place(plan: &mut ReplicaPlan, number: u64, to: u32) {
    plan.unplaced.remove(&target(number));
    put(plan, number, to, PUT);
    plan.changes.push(Change::Place { target: target(number), to: Ordinal(to), why: PlaceReason::MostRoom });
}

/// Begins a move, and says so.
fn begin_move(plan: &mut ReplicaPlan, number: u64, from: u32, to: u32) {
    put(plan, number, from, HAND_OVER);
    put(plan, number, to, PUT);
    let (from, to, why) = (Ordinal(from), Ordinal(to), MoveReason::Drain);
    plan.changes.push(Change::Move { target: target(number), from, to, why });
}

/// Asks for a number of shards, and says so.
fn scale(plan: &mut ReplicaPlan, to: u32) {
    let from = std::mem::replace(&mut plan.wanted_shards, to);
    plan.changes.push(Change::Scale { from, to, why: ScaleReason::Idle });
}

fn nothing(plan: &mut ReplicaPlan) {
    *plan = ReplicaPlan { wanted_shards: plan.wanted_shards, ..ReplicaPlan::default() };
}

#[test]
fn a_replica_without_a_plan() {
    let world = world([], [shard([])]);
    let policy = Policy::new(spreading()).unwrap();
    assert_eq!(of(&world, &policy, &Plan::default()), [Fault::NotPlanned]);
}

#[test]
fn a_target_that_is_neither_assigned_nor_unplaced_or_both() {
    let target = target(1);
    let world = world([(1, 10)], [shard([])]);
    assert_eq!(faults(&world, spreading(), nothing), [Fault::Unaccounted { target }]);
    let both = |plan: &mut ReplicaPlan| {
        plan.unplaced.insert(target, narthex_planner::reason::Unplaced::ShardLimit);
    };
    assert_eq!(faults(&world, spreading(), both), [Fault::Unaccounted { target }]);
}

#[test]
fn reasons_that_do_not_lead_to_the_plan() {
    let to = |number| Fault::Unexplained { target: target(number) };
    let world = world([(1, 10), (2, 80), (3, 80)], [shard([owned(2, 3)]), shard([owned(3, 3)])]);
    assert_eq!(faults(&world, spreading(), |plan| plan.changes.clear()), [to(1)]);
    let settled = |plan: &mut ReplicaPlan| plan.changes.push(Change::Settle { target: target(2), from: Ordinal(0) });
    assert_eq!(faults(&world, spreading(), settled), [to(2)]);
    let shard = Ordinal(0);
    let suspected =
        |plan: &mut ReplicaPlan| plan.changes.push(Change::Suspect { target: target(3), shard, why: Suspicion::Grew });
    assert_eq!(faults(&world, spreading(), suspected), [to(3)]);
    assert_eq!(faults(&world, spreading(), |plan| plan.wanted_shards = 3), [Fault::ScaleUnexplained { to: 3 }]);
}

#[test]
fn a_shard_that_is_told_what_it_does_already() {
    let fault = Fault::NoDifference { target: target(1), shard: Ordinal(0) };
    let world = world([(1, 10)], [shard([owned(1, 3)]), shard([])]);
    assert_eq!(faults(&world, spreading(), |plan| put(plan, 1, 0, PUT)), [fault]);
    let fault = Fault::NoDifference { target: target(1), shard: Ordinal(1) };
    assert_eq!(faults(&world, spreading(), |plan| remove(plan, 1, 1)), [fault]);
}

#[test]
fn a_shard_that_gets_more_than_it_may_carry() {
    let world = world([(1, 60), (2, 60)], [shard([owned(1, 3)]), shard([])]);
    let crowded = |plan: &mut ReplicaPlan| {
        nothing(plan);
        place(plan, 2, 0);
    };
    assert_eq!(faults(&world, spreading(), crowded), [Fault::OverBudget { shard: Ordinal(0) }]);
}

#[test]
fn a_shard_that_is_too_small_for_a_target_that_fits_elsewhere() {
    let mut world = world([(1, 60)], [shard([]), shard([])]);
    world.replicas[0].shards.get_mut(&Ordinal(0)).unwrap().budget.max_series = Some(Series(50));
    let squeezed = |plan: &mut ReplicaPlan| {
        nothing(plan);
        place(plan, 1, 0);
    };
    assert_eq!(faults(&world, spreading(), squeezed), [Fault::OverBudget { shard: Ordinal(0) }]);
}

#[test]
fn a_shard_that_gets_a_target_and_takes_none() {
    let closed = [
        but(shard([]), |report| report.ready = false),
        but(shard([]), |report| report.head_series = Some(Series(111))),
    ];
    for closed in closed {
        let world = world([(1, 10)], [closed, shard([])]);
        let opened = |plan: &mut ReplicaPlan| {
            nothing(plan);
            place(plan, 1, 0);
        };
        assert_eq!(faults(&world, spreading(), opened), [Fault::Closed { shard: Ordinal(0) }]);
    }
}

#[test]
fn a_suspect_that_is_joined() {
    let mut world = world([(1, 10), (2, 10)], [shard([owned(1, 3)]), shard([])]);
    let suspect = Suspect { since: NOW, why: Suspicion::Grew, isolated_on: None, lives_since: None };
    world.replicas[0].memory.suspects.insert(target(1), suspect);
    let join = |plan: &mut ReplicaPlan| {
        let memory = plan.memory.clone();
        nothing(plan);
        plan.memory = memory;
        plan.memory.suspects.insert(target(1), suspect);
        place(plan, 2, 0);
    };
    let fault = Fault::SuspectNotAlone { target: target(1), shard: Ordinal(0) };
    assert_eq!(faults(&world, spreading(), join), [fault]);
}

#[test]
fn a_target_that_is_called_larger_than_a_shard_and_is_not() {
    let world = world([(1, 10)], [shard([])]);
    let call = |plan: &mut ReplicaPlan| {
        plan.oversized.insert(target(1));
    };
    assert_eq!(faults(&world, spreading(), call), [Fault::NotOversized { target: target(1) }]);
}

#[test]
fn a_mirror_that_differs() {
    let mut world = world([(1, 10)], [shard([owned(1, 3)]), shard([])]);
    let empty = [shard([]), shard([])];
    let mirror = ReplicaView {
        id: ReplicaId("the other".into()),
        shards: (0..).map(Ordinal).zip(empty).collect(),
        ..world.replicas[0].clone()
    };
    world.replicas.push(mirror);
    let differ = |plan: &mut ReplicaPlan| {
        nothing(plan);
        place(plan, 1, 1);
    };
    let settings = Settings { placement: Placement::Mirrored, ..spreading() };
    assert_eq!(faults(&world, settings, differ), [Fault::NotMirrored { target: target(1) }]);
}

#[test]
fn a_source_that_lets_go_before_three_scrapes() {
    let world = world([(1, 10)], [shard([owned(1, 2)]), shard([leaving(1)])]);
    let let_go = |plan: &mut ReplicaPlan| {
        remove(plan, 1, 1);
        plan.changes.push(Change::Settle { target: target(1), from: Ordinal(1) });
    };
    let fault = Fault::LetGoTooEarly { target: target(1), shard: Ordinal(1) };
    assert_eq!(faults(&world, spreading(), let_go), [fault]);
}

#[test]
fn a_target_of_a_job_that_was_not_discovered_yet_and_is_forgotten() {
    let mut world = world([], [shard([owned(1, 3)])]);
    world.jobs.get_mut(&"job".into()).unwrap().discovered = false;
    let forget = |plan: &mut ReplicaPlan| {
        remove(plan, 1, 0);
        plan.changes.push(Change::Forget { target: target(1), from: Ordinal(0) });
    };
    let fault = Fault::LetGoTooEarly { target: target(1), shard: Ordinal(0) };
    assert_eq!(faults(&world, spreading(), forget), [fault]);
}

#[test]
fn a_target_that_three_shards_scrape() {
    let world = world([(1, 10)], [shard([owned(1, 1)]), shard([leaving(1)]), shard([])]);
    let third = |plan: &mut ReplicaPlan| begin_move(plan, 1, 0, 2);
    assert!(faults(&world, spreading(), third).contains(&Fault::ScrapedByTooMany { target: target(1) }));
}

#[test]
fn a_target_that_two_shards_own() {
    let world = world([(1, 10)], [shard([owned(1, 3)]), shard([owned(1, 3)])]);
    assert_eq!(faults(&world, spreading(), nothing), [Fault::OwnedTwice { target: target(1) }]);
}

#[test]
fn a_target_that_nobody_owns_any_more() {
    let given_back = world([(1, 10)], [shard([]), shard([leaving(1)])]);
    assert_eq!(faults(&given_back, spreading(), nothing), [Fault::OwnedByNobody { target: target(1) }]);
}

#[test]
fn a_target_that_is_taken_from_a_shard_that_lives() {
    let quiet = world([(1, 10)], [gone_quiet(shard([owned(1, 3)])), shard([])]);
    let take = |plan: &mut ReplicaPlan| place(plan, 1, 1);
    assert_eq!(faults(&quiet, spreading(), take), [Fault::TakenFromTheLiving { target: target(1) }]);
}

#[test]
fn a_target_that_nobody_lists_and_that_gets_a_shard() {
    let world = world([], [shard([])]);
    assert_eq!(faults(&world, spreading(), |plan| place(plan, 1, 0)), [Fault::Gone { target: target(1) }]);
}

#[test]
fn a_shard_that_is_told_something_and_does_not_answer_or_runs_another_config() {
    for out_of_reach in [gone_quiet(shard([])), silent_shard(), but(shard([]), |report| report.config_matches = false)]
    {
        let world = world([(1, 10)], [out_of_reach]);
        let told = faults(&world, spreading(), |plan| place(plan, 1, 0));
        assert!(told.contains(&Fault::OutOfReach { shard: Ordinal(0) }), "{told:?}");
    }
    let world = world([(1, 10)], []);
    let nowhere = faults(&world, spreading(), |plan| put(plan, 2, 7, PUT));
    assert_eq!(nowhere, [Fault::OutOfReach { shard: Ordinal(7) }]);
}

#[test]
fn a_target_that_gets_a_shard_before_all_have_answered_or_enough_are_there() {
    let too_early = Fault::TooEarly { target: target(1) };
    let mut unread = silent_shard();
    unread.found_at_start = Some(NOW);
    let restarted = world([(1, 10)], [unread, shard([])]);
    assert_eq!(faults(&restarted, spreading(), |plan| place(plan, 1, 1)), std::slice::from_ref(&too_early));
    let settings = Settings { min_shards: 2, ..spreading() };
    assert_eq!(faults(&world([(1, 10)], [shard([])]), settings, |plan| place(plan, 1, 0)), [too_early]);
}

#[test]
fn more_moves_than_a_round_may_begin() {
    let world = world([(1, 10), (2, 10)], [shard([owned(1, 3), owned(2, 3)]), shard([])]);
    let settings = Settings { max_moves: 1, ..spreading() };
    let two = |plan: &mut ReplicaPlan| [1, 2].into_iter().for_each(|number| begin_move(plan, number, 0, 1));
    assert_eq!(faults(&world, settings, two), [Fault::TooManyMoves { moves: 2 }]);
}

#[test]
fn more_targets_taken_over_than_a_round_may_take_over() {
    let at = Timestamp(NOW.0 - 3_600_000);
    let mut lost = shard([owned(1, 3), owned(2, 3), owned(3, 3)]);
    if let Seen::Fresh(last) = lost.report {
        lost.report = Seen::Stale { at, last };
    }
    let world = world([(1, 10), (2, 10), (3, 10)], [lost, shard([]), shard([])]);
    let settings = Settings { max_takeovers: 2, ..spreading() };
    let three = |plan: &mut ReplicaPlan| {
        nothing(plan);
        [1, 2, 3].into_iter().for_each(|number| place(plan, number, 1));
    };
    assert_eq!(faults(&world, settings, three), [Fault::TooManyTakeovers { takeovers: 3 }]);
}

#[test]
fn a_replica_that_is_scaled_and_cannot_be() {
    let mut world = world([], [shard([])]);
    world.replicas[0].scalable = false;
    assert_eq!(faults(&world, spreading(), |plan| scale(plan, 2)), [Fault::CannotScale]);
}

#[test]
fn a_number_of_shards_out_of_bounds() {
    let idle = but(shard([]), |report| report.idle_since = Some(Timestamp(0)));
    let world = world([], [idle.clone(), idle]);
    let settings = Settings { min_shards: 2, max_shards: 3, ..packing() };
    assert_eq!(faults(&world, settings.clone(), |plan| scale(plan, 4)), [Fault::OutOfBounds { to: 4 }]);
    assert_eq!(faults(&world, settings, |plan| scale(plan, 1)), [Fault::OutOfBounds { to: 1 }]);
}

#[test]
fn a_shard_that_goes_too_early() {
    let idle_for =
        |seconds: i64| but(shard([]), move |report| report.idle_since = Some(Timestamp(NOW.0 - seconds * 1000)));
    let too_early = [shard([owned(1, 3)]), idle_for(59), gone_quiet(idle_for(90))];
    for too_early in too_early {
        let world = world([(1, 80)], [shard([owned(1, 3)]), too_early]);
        let fault = Fault::RemovedTooEarly { shard: Ordinal(1) };
        assert!(faults(&world, packing(), |plan| scale(plan, 1)).contains(&fault));
    }
    let mut starting = world([], []);
    starting.replicas[0].wanted_shards = 1;
    let given_up =
        faults(&starting, Settings { max_idle_time: Some(Duration::from_secs(60)), ..spreading() }, |plan| {
            scale(plan, 0)
        });
    assert_eq!(given_up, [Fault::RemovedTooEarly { shard: Ordinal(0) }]);
}

#[test]
fn a_fault_says_whose_plan_is_wrong_and_how() {
    let policy = Policy::new(spreading()).unwrap();
    let world = world([(1, 10)], [shard([])]);
    let plan = Plan {
        replicas: BTreeMap::from([(
            ReplicaId("replica".into()),
            ReplicaPlan { wanted_shards: 1, ..ReplicaPlan::default() },
        )]),
    };
    let said: Vec<String> = invariant::broken(&world, &policy, &plan).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["the plan of replica replica is wrong: target 0000000000000001 is not either assigned or unplaced"]
    );
}
