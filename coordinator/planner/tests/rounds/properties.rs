//! Whatever the world looks like: the invariants hold, the same world gives the same plan, and once it is applied the
//! world comes to rest.

use std::collections::BTreeMap;

use narthex_common::{shard::Ordinal, target::TargetId, time::Timestamp};
use narthex_planner::{
    Plan, Planner, Policy, World,
    invariant::{self, Inspector},
    policy::Placement,
    world::{HeldTarget, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView},
};
use proptest::prelude::*;

use crate::{
    arbitrary::{self, cases, job_and_interval, taking_over},
    made_up::{but, shard},
};

fn planned(world: &World, policy: &Policy) -> Plan {
    let plan = Planner::default().plan(world, policy);
    assert_eq!(invariant::broken(world, policy, &plan), []);
    plan
}

/// Counted by hand: every listed target has a shard or a reason why not; what only lost shards have, one or both.
fn every_target_is_accounted_for(world: &World, policy: &Policy, plan: &Plan) {
    for view in &world.replicas {
        let plan = &plan.replicas[&view.id];
        let outcome = plan.outcome(view);
        let is_lost = |shard: &ShardView| match (&shard.report, policy.failover_after) {
            (Seen::Stale { at, .. }, Some(after)) => world.now.since(*at) >= after,
            (Seen::Stale { .. } | Seen::Never | Seen::Fresh(_), _) => false,
        };
        for target in world.targets.keys() {
            let mut holders = outcome.iter().filter(|(_, targets)| targets.contains_key(target)).peekable();
            let (is_assigned, is_unplaced) = (holders.peek().is_some(), plan.unplaced.contains_key(target));
            let lives = holders.any(|(ordinal, _)| !is_lost(&view.shards[ordinal]));
            assert!(is_assigned || is_unplaced, "{target} is forgotten");
            assert!(!(lives && is_unplaced), "{target} has a shard and none");
        }
        assert!(plan.unplaced.keys().all(|target| world.targets.contains_key(target)));
    }
}

/// Added up by hand: whoever gets a target and has others holds no more series than its budget, as far as they are known.
fn nobody_is_filled_beyond_its_budget(world: &World, policy: &Policy, plan: &Plan) {
    if policy.placement == Placement::Mirrored {
        return;
    }
    let shards = || world.replicas.iter().flat_map(|view| view.shards.values());
    let said = |shard: &ShardView, target: &TargetId| match &shard.report {
        Seen::Never => None,
        Seen::Stale { last: report, .. } | Seen::Fresh(report) => report.targets.get(target)?.load,
    };
    let known = |shard: &ShardView, target: &TargetId| {
        let probed = || match world.targets.get(target)?.probed {
            KnownLoad::Measured(load) => Some(load),
            KnownLoad::Unknown | KnownLoad::ProbeFailed { .. } => None,
        };
        let load = said(shard, target).or_else(|| probed().filter(|_| !shards().any(|s| said(s, target).is_some())));
        load.map_or(0, |load| load.kept.0.min(u64::from(u32::MAX)))
    };
    for view in &world.replicas {
        let plan = &plan.replicas[&view.id];
        for (ordinal, targets) in plan.outcome(view).iter().filter(|(_, targets)| targets.len() > 1) {
            let shard = &view.shards[ordinal];
            let held = |target: &TargetId| match &shard.report {
                Seen::Never => false,
                Seen::Stale { last: report, .. } | Seen::Fresh(report) => report.targets.contains_key(target),
            };
            let series: u64 = targets.keys().map(|target| known(shard, target)).sum();
            let budget = shard.budget.max_series.unwrap_or(policy.max_series).0;
            assert!(series <= budget || targets.keys().all(held), "shard {ordinal} gets {series} series of {budget}");
        }
    }
}

proptest! {
    #![proptest_config(cases(10_000))]

    #[test]
    fn from_any_world_the_invariants_hold_and_the_same_world_gives_the_same_plan(
        world in arbitrary::world(),
        policy in arbitrary::policy(),
    ) {
        let plan = planned(&world, &policy);
        every_target_is_accounted_for(&world, &policy, &plan);
        nobody_is_filled_beyond_its_budget(&world, &policy, &plan);
        let written = serde_json::to_string(&world).unwrap();
        let read: World = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(&Planner::default().plan(&read, &policy), &plan);
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), written);
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn a_planner_that_followed_other_worlds_plans_like_a_new_one(
        first in arbitrary::world(),
        next in prop::collection::vec((arbitrary::world(), prop_oneof![4 => 1..3u64, 1 => Just(9)], any::<u64>()), 1..10),
        policy in arbitrary::policy(),
    ) {
        let (mut planner, mut inspector) = (Planner::default(), Inspector::default());
        let mut world = first;
        for (other, of_ten, dice) in next {
            let plan = planner.plan(&world, &policy);
            prop_assert_eq!(&plan, &Planner::default().plan(&world, &policy));
            prop_assert_eq!(inspector.broken(&world, &policy, &plan), []);
            world = taking_over(&world, &other, of_ten, dice);
        }
    }

    #[test]
    fn a_planner_that_sees_a_world_of_other_replicas_plans_like_a_new_one(
        worlds in prop::collection::vec(arbitrary::world(), 2..4),
        policy in arbitrary::policy(),
    ) {
        let mut planner = Planner::default();
        for world in worlds {
            prop_assert_eq!(planner.plan(&world, &policy), Planner::default().plan(&world, &policy));
        }
    }
}

/// A world in which a plan was applied and the next round begins: shards that can be told hold what they are told, and
/// have scraped it every ten seconds; loads stay what they are, and who is silent stays silent.
fn after(world: &World, plan: &Plan, seconds: u64) -> World {
    let mut next = world.clone();
    let scrapes = u32::try_from(seconds / 10).unwrap();
    next.now = world.now.after(std::time::Duration::from_secs(seconds));
    for view in &mut next.replicas {
        let plan = &plan.replicas[&view.id];
        for (ordinal, shard) in &mut view.shards {
            if let Seen::Fresh(report) = &mut shard.report {
                if let Some(told) = plan.shards.get(ordinal) {
                    apply(report, told, world.now);
                }
                let scraped = |(id, held): (&TargetId, &HeldTarget)| {
                    (*id, HeldTarget { scrapes: held.scrapes.saturating_add(scrapes).min(3), ..held.clone() })
                };
                report.targets = report.targets.iter().map(scraped).collect();
                report.idle_since =
                    if report.targets.is_empty() { report.idle_since.or(Some(world.now)) } else { None };
            }
        }
        view.memory = plan.memory.clone();
        view.wanted_shards = plan.wanted_shards;
        if view.scalable {
            change_number_of_shards(view, world.now);
        }
    }
    next
}

fn apply(report: &mut ShardReport, told: &narthex_planner::ShardPlan, now: Timestamp) {
    for id in &told.remove {
        report.targets.remove(id);
    }
    for (id, planned) in &told.put {
        let (job, interval) = job_and_interval(id.0.0);
        let new = || HeldTarget {
            job,
            interval,
            state: planned.state,
            since: None,
            planned: Some(planned.load),
            load: None,
            scrapes: 0,
        };
        let held = report.targets.get(id).cloned().unwrap_or_else(new);
        report.targets.insert(*id, HeldTarget { state: planned.state, since: Some(now), ..held });
    }
}

fn change_number_of_shards(view: &mut ReplicaView, now: Timestamp) {
    let there = u32::try_from(view.shards.len()).unwrap();
    view.shards.retain(|ordinal, _| ordinal.0 < view.wanted_shards);
    // However many are asked for, the provider starts a few.
    for ordinal in there..view.wanted_shards.min(there.max(40)) {
        let idle = but(shard([]), |report| report.idle_since = Some(now));
        view.shards.insert(Ordinal(ordinal), ShardView { budget: OwnBudget::default(), ..idle });
    }
}

/// Rounds until the world must be at rest, by when every silence, move and probe has been waited for: a minute of ten
/// seconds each, half an hour of a minute each, and nine hours, because what moved lately stays for three.
const ROUNDS_TO_REST: usize = 6 + 30 + 54;

fn seconds_after(round: usize) -> u64 {
    match round {
        0..6 => 10,
        6..36 => 60,
        36..ROUNDS_TO_REST => 600,
        _ => 4000,
    }
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn from_any_world_it_comes_to_rest_and_then_nothing_moves_ever(
        world in arbitrary::world(),
        policy in arbitrary::policy(),
    ) {
        let (mut planner, mut inspector) = (Planner::default(), Inspector::default());
        let mut world = world;
        let mut last_change = 0;
        let mut changes = Vec::new();
        for round in 0..ROUNDS_TO_REST + 10 {
            let plan = planner.plan(&world, &policy);
            prop_assert_eq!(inspector.broken(&world, &policy, &plan), []);
            let of_replica: BTreeMap<_, _> = plan.replicas.iter().map(|(id, plan)| (id.clone(), plan.changes.clone())).collect();
            if of_replica.values().any(|changes| !changes.is_empty()) {
                last_change = round;
            }
            if round >= ROUNDS_TO_REST {
                changes.push(of_replica);
            }
            world = after(&world, &plan, seconds_after(round));
        }
        prop_assert!(last_change < ROUNDS_TO_REST, "it does not come to rest: {changes:#?} in {world:#?}");
    }
}
