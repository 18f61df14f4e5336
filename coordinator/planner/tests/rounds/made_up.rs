//! Made-up worlds, in few words.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{
    assignment::TargetState,
    config::PromDuration,
    fingerprint::Fingerprint,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Policy, ReplicaPlan, World,
    memory::Memory,
    policy::Settings,
    reason::Change,
    world::{HeldTarget, JobView, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView, TargetView},
};

pub(crate) const NOW: Timestamp = Timestamp(1_795_262_345_000);

/// The target of a number.
pub(crate) fn target(number: u64) -> TargetId {
    TargetId(Fingerprint(number))
}

/// A load of which everything is kept.
pub(crate) fn series(kept: u64) -> Load {
    Load { exposed: Series(kept), kept: Series(kept) }
}

/// Budgets of 100 series, spreading.
pub(crate) fn spreading() -> Settings {
    Settings { max_series: Series(100), ..Settings::default() }
}

/// Budgets of 100 series, packing: shards that were idle for a minute go.
pub(crate) fn packing() -> Settings {
    Settings { max_idle_time: Some(Duration::from_secs(60)), ..spreading() }
}

/// A world of one replica, of targets of known load in one job, and of the shards given.
pub(crate) fn world<const T: usize, const S: usize>(targets: [(u64, u64); T], shards: [ShardView; S]) -> World {
    let view = |(number, kept)| {
        let probed = KnownLoad::Measured(series(kept));
        (target(number), listed(probed))
    };
    World {
        now: NOW,
        seed: 7,
        jobs: BTreeMap::from([("job".into(), JobView { discovered: true })]),
        targets: targets.map(view).into_iter().collect(),
        replicas: vec![ReplicaView {
            id: ReplicaId("replica".into()),
            scalable: true,
            wanted_shards: u32::try_from(S).unwrap(),
            shards: (0..).map(Ordinal).zip(shards).collect(),
            memory: Memory::default(),
        }],
    }
}

/// A shard that answers, and holds targets.
pub(crate) fn shard<const T: usize>(targets: [(u64, HeldTarget); T]) -> ShardView {
    ShardView {
        id: ShardId("shard".into()),
        report: Seen::Fresh(ShardReport {
            config_matches: true,
            ready: true,
            head_series: None,
            idle_since: (T == 0).then_some(NOW),
            targets: targets.map(|(number, held)| (target(number), held)).into_iter().collect(),
        }),
        found_at_start: None,
        budget: OwnBudget::default(),
    }
}

/// A shard that has never answered.
pub(crate) fn silent_shard() -> ShardView {
    ShardView { report: Seen::Never, ..shard([]) }
}

/// A shard that answered once, and does not any more.
pub(crate) fn gone_quiet(mut shard: ShardView) -> ShardView {
    if let Seen::Fresh(last) = shard.report {
        shard.report = Seen::Stale { at: NOW, last };
    }
    shard
}

/// A shard with its report changed.
pub(crate) fn but(mut shard: ShardView, change: impl FnOnce(&mut ShardReport)) -> ShardView {
    if let Seen::Fresh(report) = &mut shard.report {
        change(report);
    }
    shard
}

/// A target that a shard owns, scraped that often.
pub(crate) fn owned(number: u64, scrapes: u32) -> (u64, HeldTarget) {
    (number, held(TargetState::Normal, scrapes))
}

/// A target that another shard takes over, scraped often.
pub(crate) fn leaving(number: u64) -> (u64, HeldTarget) {
    (number, held(TargetState::InTransfer, 3))
}

/// A target on a shard, for that many seconds.
pub(crate) fn since((number, held): (u64, HeldTarget), seconds: i64) -> (u64, HeldTarget) {
    (number, HeldTarget { since: Some(Timestamp(NOW.0 - seconds * 1000)), ..held })
}

/// A shard that answered that many seconds ago for the last time.
pub(crate) fn quiet_for(seconds: i64, shard: ShardView) -> ShardView {
    let mut shard = gone_quiet(shard);
    if let Seen::Stale { at, .. } = &mut shard.report {
        at.0 -= seconds * 1000;
    }
    shard
}

/// A target of the only job, known for long, scraped every second: its work is what it exposes.
pub(crate) fn listed(probed: KnownLoad) -> TargetView {
    TargetView { job: "job".into(), interval: PromDuration::from_secs(1), since: Timestamp::default(), probed }
}

/// A target on a shard, for long, and not measured.
pub(crate) fn held(state: TargetState, scrapes: u32) -> HeldTarget {
    let interval = PromDuration::from_secs(1);
    HeldTarget { job: "job".into(), interval, state, since: None, planned: None, load: None, scrapes }
}

/// The plan of a world's only replica.
pub(crate) fn plan(world: &World, settings: Settings) -> Round {
    let plan = narthex_planner::plan(world, &Policy::new(settings).unwrap());
    Round { view: world.replicas[0].clone(), plan: plan.replicas.into_values().next().unwrap() }
}

/// A plan of a replica, and what it is a plan for.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) view: ReplicaView,
    pub(crate) plan: ReplicaPlan,
}

impl std::ops::Deref for Round {
    type Target = ReplicaPlan;

    fn deref(&self) -> &ReplicaPlan {
        &self.plan
    }
}

/// What every shard that is told anything is to own, and what it is to leave to others, by numbers.
pub(crate) fn told(round: &Round) -> Vec<(u32, Vec<u64>, Vec<u64>)> {
    let Round { view, plan } = round;
    let is_told =
        |ordinal: &Ordinal| matches!(&view.shards[ordinal].report, Seen::Fresh(report) if report.config_matches);
    let numbers = |targets: &BTreeMap<TargetId, TargetState>, state| {
        targets.iter().filter(|(_, s)| **s == state).map(|(id, _)| id.0.0).collect()
    };
    plan.outcome(view)
        .iter()
        .filter(|(ordinal, _)| is_told(ordinal))
        .map(|(ordinal, targets)| {
            (ordinal.0, numbers(targets, TargetState::Normal), numbers(targets, TargetState::InTransfer))
        })
        .collect()
}

/// The moves that begin, as target, source and destination.
pub(crate) fn moves(plan: &ReplicaPlan) -> Vec<(u64, u32, u32)> {
    plan.changes
        .iter()
        .filter_map(|change| match change {
            Change::Move { target, from, to, .. } => Some((target.0.0, from.0, to.0)),
            Change::Place { .. }
            | Change::Settle { .. }
            | Change::GiveBack { .. }
            | Change::Suspect { .. }
            | Change::Forget { .. }
            | Change::Scale { .. } => None,
        })
        .collect()
}
