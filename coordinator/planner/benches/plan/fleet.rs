//! A made-up fleet that does what it is told, and whose targets come and change.

use std::time::Duration;

use narthex_common::{
    assignment::TargetState,
    config::PromDuration,
    fingerprint::Fingerprint,
    job::JobName,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Plan, ShardPlan, World,
    memory::Memory,
    world::{
        HeldTarget, JobView, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView, TargetMap, TargetView,
    },
};

const START: Timestamp = Timestamp(1_795_262_345_000);
const INTERVAL: PromDuration = PromDuration::from_secs(30);

/// A thousand targets a shard.
pub(crate) fn shards_for(targets: u64) -> u32 {
    u32::try_from(targets / 1000).expect("it is not that large")
}

/// A world of targets of known load, and of shards that hold none.
pub(crate) fn nothing_placed(targets: u64, shards: u32) -> World {
    let job = JobName::from("job");
    World {
        now: START,
        seed: 7,
        jobs: [(job.clone(), JobView { discovered: true })].into(),
        targets: (0..targets).map(|number| (id(number), listed(&job, number))).collect(),
        replicas: vec![ReplicaView {
            id: ReplicaId("replica".into()),
            scalable: true,
            wanted_shards: shards,
            shards: (0..shards).map(|ordinal| (Ordinal(ordinal), shard(ordinal, TargetMap::new()))).collect(),
            memory: Memory::default(),
        }],
    }
}

/// Targets and shards, and what they will say next.
pub(crate) struct Fleet {
    pub(crate) world: World,
    job: JobName,
    targets: u64,
    /// The targets that have come.
    to_come: Vec<u64>,
    /// What shards will say of targets.
    reports: Vec<(Ordinal, TargetId, HeldTarget)>,
}

impl Fleet {
    /// Shards that hold nothing.
    pub(crate) fn empty(targets: u64) -> Self {
        let world = nothing_placed(targets, shards_for(targets));
        Self { world, job: "job".into(), targets, to_come: Vec::new(), reports: Vec::new() }
    }

    /// The world in which a plan was carried out, and every target scraped.
    pub(crate) fn settled(world: World, plan: &Plan) -> Self {
        let targets = world.targets.len() as u64;
        let mut fleet = Self { world, job: "job".into(), targets, to_come: Vec::new(), reports: Vec::new() };
        fleet.settle(plan);
        fleet
    }

    /// Carries a first plan out.
    pub(crate) fn settle(&mut self, plan: &Plan) {
        for (ordinal, ShardPlan { put, .. }) in plan.replicas.values().flat_map(|plan| &plan.shards) {
            let held = put.iter().map(|(&id, planned)| (id, held(&self.job, planned.load)));
            self.world.replicas[0].shards.insert(*ordinal, shard(ordinal.0, held.collect()));
        }
    }

    /// Half of the changes are targets that weigh otherwise than before, half are new ones.
    pub(crate) fn happen(&mut self, changes: u64) {
        self.world.now = self.world.now.after(Duration::from_secs(10));
        let some: Vec<(Ordinal, TargetId)> = self.world.replicas[0]
            .shards
            .iter()
            .filter_map(|(ordinal, view)| {
                let Seen::Fresh(report) = &view.report else { return None };
                Some((*ordinal, report.targets.get_min()?.0))
            })
            .collect();
        let some_of = |number: u64| usize::try_from(number % some.len() as u64).expect("it is one of them");
        for change in 0..changes / 2 {
            let (ordinal, id) = some[some_of(scrambled(change ^ self.targets))];
            self.reports.push((ordinal, id, held(&self.job, load(change + self.targets))));
        }
        let after = self.targets + changes / 2;
        self.to_come.extend(self.targets..after);
        self.targets = after;
    }

    /// Takes over what reports and discovery say: only what differs from before.
    pub(crate) fn read_reports(&mut self) {
        for number in self.to_come.drain(..) {
            self.world.targets.insert(id(number), listed(&self.job, number));
        }
        for (ordinal, id, held) in self.reports.drain(..) {
            let shard = self.world.replicas[0].shards.get_mut(&ordinal);
            if let Some(ShardView { report: Seen::Fresh(report), .. }) = shard {
                report.targets.insert(id, held);
            }
        }
    }

    /// Does what a plan says: the next reports will say so.
    pub(crate) fn apply(&mut self, plan: &Plan) {
        for (ordinal, ShardPlan { put, .. }) in plan.replicas.values().flat_map(|plan| &plan.shards) {
            let put = put.iter().filter(|(_, planned)| planned.state == TargetState::Normal);
            self.reports.extend(put.map(|(&id, planned)| (*ordinal, id, held(&self.job, planned.load))));
        }
    }
}

/// Numbers that look like fingerprints, the same in every run.
const fn scrambled(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
}

const fn id(number: u64) -> TargetId {
    TargetId(Fingerprint(scrambled(number)))
}

/// From some hundred series to some ten thousand, a thousand on the average or so.
const fn load(number: u64) -> Load {
    let kept = 100 + 1_000_000 / (100 + scrambled(number) % 10_000);
    Load { exposed: Series(kept + kept / 5), kept: Series(kept) }
}

fn listed(job: &JobName, number: u64) -> TargetView {
    let probed = KnownLoad::Measured(load(number));
    TargetView { job: job.clone(), interval: INTERVAL, since: START, probed }
}

fn held(job: &JobName, load: Load) -> HeldTarget {
    HeldTarget {
        job: job.clone(),
        interval: INTERVAL,
        state: TargetState::Normal,
        since: Some(START),
        planned: Some(load),
        load: Some(load),
        scrapes: 3,
    }
}

fn shard(ordinal: u32, targets: TargetMap<HeldTarget>) -> ShardView {
    let report = ShardReport { config_matches: true, ready: true, head_series: None, idle_since: None, targets };
    ShardView {
        id: ShardId(format!("shard-{ordinal}")),
        report: Seen::Fresh(report),
        found_at_start: None,
        budget: OwnBudget::default(),
    }
}
