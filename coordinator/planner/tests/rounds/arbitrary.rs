//! Arbitrary worlds and policies: not only those that a fleet can get into, but whatever can be written down.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{
    assignment::TargetState,
    config::PromDuration,
    job::JobName,
    load::{Load, SampleRate, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Policy, World,
    memory::{Memory, Moved, Suspect, Suspicion, TakenOver},
    policy::{Placement, Settings},
    world::{
        HeldTarget, JobView, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView, TargetMap, TargetView,
    },
};
use proptest::{collection::vec, option, prelude::*, test_runner::RngSeed};

use crate::made_up::{NOW, target};

/// So many cases, the same ones in every run, so that a change that fails, fails again. `PROPTEST_CASES` and
/// `PROPTEST_RNG_SEED` ask for more and for others. A shrunk one that is worth keeping becomes a test with a name, not a
/// file of seeds.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(3),
        asked_for @ RngSeed::Fixed(_) => asked_for,
    };
    ProptestConfig { cases: cases.max(default.cases), rng_seed, failure_persistence: None, ..default }
}

/// Targets are drawn from so many, so that shards often hold the same ones.
const TARGETS: u64 = 24;

pub(crate) fn policy() -> impl Strategy<Value = Policy> {
    let budgets = (
        prop_oneof![8 => Just(100), 1 => 1..300u64, 1 => Just(u64::MAX)],
        option::of(prop_oneof![4 => 100..400u64, 1 => Just(u64::MAX / 1000)]),
    );
    let shards = (0..4u32, prop_oneof![6 => 4..9u32, 1 => Just(999_999)]);
    let seconds = |seconds: std::ops::Range<u64>| seconds.prop_map(Duration::from_secs);
    let times =
        (option::of(seconds(1..100)), seconds(0..60), seconds(1..300), seconds(0..60), option::of(seconds(60..300)));
    let bounds = (1..12u32, 1..12u32, 1..60u32);
    let switches =
        (any::<bool>(), any::<bool>(), prop_oneof![3 => Just(Placement::Independent), 1 => Just(Placement::Mirrored)]);
    (budgets, shards, times, bounds, switches).prop_map(
        |(budgets, (min_shards, max_shards), times, bounds, switches)| {
            let (max_idle_time, max_silence, max_move_time, max_probe_wait, failover_after) = times;
            let (max_moves, max_takeovers, rebalance_threshold) = bounds;
            let (relief, rebalance, placement) = switches;
            Policy::new(Settings {
                max_series: Series(budgets.0),
                max_samples_per_second: budgets.1.map(SampleRate::per_second),
                min_shards,
                max_shards,
                max_idle_time,
                max_moves,
                max_silence,
                max_move_time,
                min_stay: max_probe_wait,
                max_probe_wait,
                relief,
                rebalance: rebalance && relief && max_idle_time.is_none(),
                rebalance_threshold,
                failover_after,
                max_takeovers,
                placement,
            })
            .unwrap()
        },
    )
}

pub(crate) fn world() -> impl Strategy<Value = World> {
    let targets = vec((0..TARGETS, time(), probed()), 0..TARGETS as usize);
    let replicas =
        prop_oneof![1 => Just(0), 8 => Just(1), 4 => Just(2), 1 => Just(3)].prop_flat_map(|n| vec(replica(), n));
    (any::<u64>(), jobs(), targets, replicas).prop_map(|(seed, jobs, targets, mut replicas)| {
        for (place, replica) in replicas.iter_mut().enumerate() {
            replica.id = ReplicaId(format!("replica-{place}"));
        }
        let view = |(number, since, probed)| {
            let (job, interval) = job_and_interval(number);
            (target(number), TargetView { job, interval, since, probed })
        };
        World { now: NOW, seed, jobs, targets: targets.into_iter().map(view).collect(), replicas }
    })
}

/// A target's job and interval are part of what its id is the fingerprint of.
pub(crate) fn job_and_interval(number: u64) -> (JobName, PromDuration) {
    let job = ["api", "nodes", "api", "databases"][number as usize % 4];
    (job.into(), PromDuration::from_secs([1, 1, 1, 5, 60][number as usize % 5]))
}

fn jobs() -> impl Strategy<Value = BTreeMap<JobName, JobView>> {
    // Jobs that are discovered, that are not yet, and that are in no config any more.
    let job = prop_oneof![6 => Just(Some(true)), 2 => Just(Some(false)), 1 => Just(None)];
    [job.clone(), job.clone(), job].prop_map(|jobs| {
        let named = ["api", "nodes", "databases"].into_iter().zip(jobs);
        named.filter_map(|(name, job)| Some((name.into(), JobView { discovered: job? }))).collect()
    })
}

/// Mostly a while ago, of late, or just now; but clocks may say anything.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        20 => (0..600_000i64).prop_map(|ago| Timestamp(NOW.0 - ago)),
        2 => Just(NOW),
        1 => Just(Timestamp::default()),
        1 => (0..100_000i64).prop_map(|ahead| Timestamp(NOW.0 + ahead)),
        1 => prop_oneof![Just(Timestamp(i64::MAX)), Just(Timestamp(i64::MIN))],
    ]
}

fn figure() -> impl Strategy<Value = u64> {
    prop_oneof![12 => 0..40u64, 4 => 40..100u64, 2 => 100..300u64, 1 => prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]]
}

fn load() -> impl Strategy<Value = Load> {
    let whole = figure().prop_map(|kept| Load { exposed: Series(kept), kept: Series(kept) });
    let part = (figure(), figure()).prop_map(|(exposed, kept)| Load { exposed: Series(exposed), kept: Series(kept) });
    prop_oneof![3 => whole, 1 => part]
}

fn probed() -> impl Strategy<Value = KnownLoad> {
    prop_oneof![
        6 => load().prop_map(KnownLoad::Measured),
        2 => Just(KnownLoad::Unknown),
        1 => time().prop_map(|since| KnownLoad::ProbeFailed { since }),
    ]
}

fn replica() -> impl Strategy<Value = ReplicaView> {
    let wanted = prop_oneof![8 => Just(None), 3 => (0..9u32).prop_map(Some), 1 => Just(Some(u32::MAX))];
    (prop::bool::weighted(0.7), wanted, vec(shard(), 0..7), memory()).prop_map(|(scalable, wanted, shards, memory)| {
        ReplicaView {
            id: ReplicaId(String::new()),
            scalable,
            wanted_shards: wanted.unwrap_or(u32::try_from(shards.len()).unwrap()),
            shards: (0..).map(Ordinal).zip(shards).collect(),
            memory,
        }
    })
}

fn shard() -> impl Strategy<Value = ShardView> {
    let report = prop_oneof![
        8 => report().prop_map(Seen::Fresh),
        2 => (time(), report()).prop_map(|(at, last)| Seen::Stale { at, last }),
        1 => Just(Seen::Never),
    ];
    let budget = prop_oneof![
        6 => Just(OwnBudget::default()),
        1 => (option::of(figure()), option::of(figure())).prop_map(|(series, samples)| OwnBudget {
            max_series: series.map(Series),
            max_samples_per_second: samples.map(|samples| SampleRate(samples % 400 * 1000)),
        }),
    ];
    (report, option::weighted(0.3, time()), budget).prop_map(|(report, found_at_start, budget)| ShardView {
        id: ShardId("shard".into()),
        report,
        found_at_start,
        budget,
    })
}

fn report() -> impl Strategy<Value = ShardReport> {
    let state = prop_oneof![4 => Just(TargetState::Normal), 1 => Just(TargetState::InTransfer)];
    let scrapes = prop_oneof![6 => 0..4u32, 1 => Just(u32::MAX)];
    let held = (0..TARGETS, state, option::of(time()), option::of(load()), option::of(load()), scrapes);
    let held = held.prop_map(|(number, state, since, planned, load, scrapes)| {
        let (job, interval) = job_and_interval(number);
        (target(number), HeldTarget { job, interval, state, since, planned, load, scrapes })
    });
    let head = option::weighted(0.2, figure().prop_map(Series));
    (prop::bool::weighted(0.85), prop::bool::weighted(0.9), head, option::of(time()), vec(held, 0..8)).prop_map(
        |(config_matches, ready, head_series, idle_since, targets)| ShardReport {
            config_matches,
            ready,
            head_series,
            idle_since,
            targets: targets.into_iter().collect(),
        },
    )
}

fn memory() -> impl Strategy<Value = Memory> {
    let number = (0..TARGETS + 4).prop_map(target);
    let ordinal = (0..8u32).prop_map(Ordinal);
    let why = prop_oneof![Just(Suspicion::Grew), Just(Suspicion::DiedAgain)];
    let taken_over = (number.clone(), time(), ordinal.clone(), 1..4u32)
        .prop_map(|(t, at, from, times)| (t, TakenOver { at, from, times }));
    let moved = (number.clone(), time(), ordinal.clone(), any::<bool>());
    let moved = moved.prop_map(|(t, at, to, given_up)| (t, Moved { at, to, given_up }));
    let (isolated_on, lives_since) = (prop::option::of(ordinal.clone()), prop::option::of(time()));
    let suspect = (number, time(), why, isolated_on, lives_since)
        .prop_map(|(t, since, why, isolated_on, lives_since)| (t, Suspect { since, why, isolated_on, lives_since }));
    let lists = (vec(moved, 0..4), vec(taken_over, 0..4), vec(suspect, 0..3), vec((ordinal, time()), 0..3));
    let some = (any::<bool>(), lists).prop_map(|(rebalancing, (moved, taken_over, suspects, lost))| Memory {
        rebalancing,
        moved: moved.into_iter().collect(),
        taken_over: taken_over.into_iter().collect(),
        suspects: suspects.into_iter().collect(),
        lost: lost.into_iter().collect(),
    });
    prop_oneof![2 => Just(Memory::default()), 1 => some]
}

/// A world that takes over some of another: so many of ten targets, shards and what is on them.
pub(crate) fn taking_over(world: &World, other: &World, of_ten: u64, dice: u64) -> World {
    let falls = |thing: u64| (thing ^ dice).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(21) % 10 < of_ten;
    let mut next = world.clone();
    next.now = next.now.after(Duration::from_secs(10));
    if falls(1000) {
        next.jobs = other.jobs.clone();
    }
    take_over_some(&mut next.targets, &other.targets, &falls);
    if falls(2000) {
        next.replicas.truncate(other.replicas.len());
    }
    for (place, theirs) in (0u64..).zip(&other.replicas) {
        let Some(ours) = next.replicas.get_mut(place as usize) else {
            next.replicas.push(theirs.clone());
            continue;
        };
        if falls(3000 + place) {
            (ours.scalable, ours.wanted_shards) = (theirs.scalable, theirs.wanted_shards);
            ours.memory = theirs.memory.clone();
        }
        for (&ordinal, view) in &theirs.shards {
            let thing = (4 + place) * 1000 + u64::from(ordinal.0);
            if let Some(ours) = ours.shards.get_mut(&ordinal) {
                take_over_shard(ours, view, |target| falls(thing * 1000 + target), falls(thing));
            } else if falls(thing) && ours.shards.len() == ordinal.0 as usize {
                ours.shards.insert(ordinal, view.clone());
            }
        }
        while falls(9000 + ours.shards.len() as u64) && ours.shards.len() > theirs.shards.len() {
            ours.shards.pop_last();
        }
    }
    next
}

fn take_over_shard(ours: &mut ShardView, theirs: &ShardView, falls: impl Fn(u64) -> bool, all: bool) {
    let report = |view: &ShardView| match &view.report {
        Seen::Never => None,
        Seen::Stale { last, .. } => Some(last.clone()),
        Seen::Fresh(report) => Some(report.clone()),
    };
    let mixed = report(ours).zip(report(theirs)).map(|(mut ours, theirs)| {
        take_over_some(&mut ours.targets, &theirs.targets, &falls);
        ours
    });
    match mixed {
        Some(mixed) if all => {
            ours.report = if falls(99) { Seen::Stale { at: NOW, last: mixed } } else { Seen::Fresh(mixed) }
        }
        Some(mixed) => match &mut ours.report {
            Seen::Never => {}
            Seen::Stale { last: report, .. } | Seen::Fresh(report) => *report = mixed,
        },
        None if all => *ours = theirs.clone(),
        None => {}
    }
}

fn take_over_some<V: Clone>(ours: &mut TargetMap<V>, theirs: &TargetMap<V>, falls: &impl Fn(u64) -> bool) {
    for number in (0..TARGETS).filter(|number| falls(*number)) {
        let id: TargetId = target(number);
        match theirs.get(&id) {
            Some(view) => drop(ours.insert(id, view.clone())),
            None => drop(ours.remove(&id)),
        }
    }
}
