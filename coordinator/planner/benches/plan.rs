//! How long a round takes to plan: everything from nothing, and a settled fleet in which one target is new.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has failed")]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use narthex_common::{
    assignment::TargetState,
    fingerprint::Fingerprint,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Plan, Policy, World, plan,
    policy::Settings,
    world::{HeldTarget, JobView, KnownLoad, ReplicaView, Seen, ShardReport, ShardView, TargetView},
};

const NOW: Timestamp = Timestamp(1_795_262_345_000);

/// Numbers that look like fingerprints, the same in every run.
fn scrambled(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

fn target(number: u64) -> (TargetId, TargetView) {
    // From some hundred series to some ten thousand, a thousand on the average or so.
    let kept = Series(100 + 1_000_000 / (100 + scrambled(number) % 10_000));
    let probed = KnownLoad::Measured(Load { exposed: kept, kept });
    (TargetId(Fingerprint(scrambled(number))), TargetView { job: "job".into(), probed })
}

fn shard(targets: BTreeMap<TargetId, HeldTarget>) -> ShardView {
    ShardView {
        id: ShardId("shard".into()),
        report: Seen::Fresh(ShardReport {
            config_matches: true,
            ready: true,
            head_series: None,
            idle_since: None,
            targets,
        }),
        found_at_start: None,
    }
}

fn nothing_placed(targets: u64, shards: u32) -> World {
    World {
        now: NOW,
        seed: 7,
        jobs: BTreeMap::from([("job".into(), JobView { discovered: true })]),
        targets: (0..targets).map(target).collect(),
        replicas: vec![ReplicaView {
            id: ReplicaId("replica".into()),
            scalable: true,
            wanted_shards: shards,
            shards: (0..shards).map(|ordinal| (Ordinal(ordinal), shard(BTreeMap::new()))).collect(),
        }],
    }
}

/// The world in which a plan was carried out, and one target has come since.
fn one_target_new(mut world: World, plan: Plan, targets: u64) -> World {
    let views = world.targets.clone();
    let held = |id: TargetId, state: TargetState| {
        let load = match views[&id].probed {
            KnownLoad::Measured(load) => Some(load),
            KnownLoad::Unknown | KnownLoad::ProbeFailed { .. } => None,
        };
        (id, HeldTarget { job: "job".into(), state, load, scrapes: 3 })
    };
    for (replica, plan) in world.replicas.iter_mut().zip(plan.replicas.into_values()) {
        for (ordinal, targets) in plan.shards {
            let targets = targets.into_iter().map(|(id, state)| held(id, state)).collect();
            replica.shards.insert(ordinal, shard(targets));
        }
    }
    let (id, view) = target(targets);
    world.targets.insert(id, view);
    world
}

fn rounds(criterion: &mut Criterion) {
    let spread = Settings { max_series: Series(2_000_000), ..Settings::default() };
    let pack = Settings { max_idle_time: Some(Duration::from_secs(600)), ..spread.clone() };
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(2));
    for (targets, shards) in [(100_000, 100), (1_000_000, 1000)] {
        for (aim, settings) in [("spread", &spread), ("pack", &pack)] {
            let policy = Policy::new(settings.clone()).expect("the settings are sound");
            let world = nothing_placed(targets, shards);
            let size = format!("{targets} targets, {shards} shards, {aim}");
            group.bench_function(format!("{size}, from nothing"), |b| {
                b.iter_with_large_drop(|| plan(black_box(&world), &policy))
            });
            let none = nothing_placed(targets, 0);
            group.bench_function(format!("{size}, no shard yet"), |b| {
                b.iter_with_large_drop(|| plan(black_box(&none), &policy))
            });
            let first = plan(&world, &policy);
            let settled = one_target_new(world, first, targets);
            group.bench_function(format!("{size}, one new"), |b| {
                b.iter_with_large_drop(|| plan(black_box(&settled), &policy))
            });
        }
    }
    group.finish();
}

criterion_group!(benches, rounds);
criterion_main!(benches);
