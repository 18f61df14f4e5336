//! Coordinator: what it knows of the fleet and remembers from round to round, as the real one does. It sees a target's
//! load once a probe has measured it, and a shard when it answers.

use std::collections::BTreeMap;

use narthex_common::shard::ShardId;
use narthex_common::{job::JobName, shard::Ordinal, target::TargetId, time::Timestamp};
use narthex_planner::{
    Plan, World,
    memory::Memory,
    world::{JobView, KnownLoad, ReplicaView, Seen, ShardReport, ShardView, TargetMap, TargetView},
};

use crate::fleet::{Fleet, Replica};

/// What a coordinator remembers.
#[derive(Clone, Debug)]
pub(crate) struct Coordinator {
    seed: u64,
    probe_rounds: u32,
    jobs: BTreeMap<JobName, JobView>,
    listed: TargetMap<TargetView>,
    /// The round in which a probe is over.
    probing: BTreeMap<TargetId, u32>,
    replicas: Vec<KnownReplica>,
    /// Whether it has not looked yet.
    is_new: bool,
}

#[derive(Clone, Debug, Default)]
struct KnownReplica {
    memory: Memory,
    shards: BTreeMap<Ordinal, KnownShard>,
}

#[derive(Clone, Debug, Default)]
struct KnownShard {
    last: Option<(Timestamp, ShardReport)>,
    found_at_start: Option<Timestamp>,
}

impl Coordinator {
    /// One that has just started, and has not looked yet.
    pub(crate) fn new(seed: u64, probe_rounds: u32) -> Self {
        Self {
            seed,
            probe_rounds,
            jobs: BTreeMap::new(),
            listed: TargetMap::new(),
            probing: BTreeMap::new(),
            replicas: Vec::new(),
            is_new: true,
        }
    }

    /// One that knows what a saved world says.
    pub(crate) fn of(world: &World, probe_rounds: u32, round: u32) -> Self {
        let unknown = world.targets.iter().filter(|(_, view)| view.probed == KnownLoad::Unknown);
        let probing = unknown.map(|(&id, _)| (id, round + probe_rounds)).collect();
        let shard = |view: &ShardView| {
            let last = match &view.report {
                Seen::Never => None,
                Seen::Stale { at, last } => Some((*at, last.clone())),
                Seen::Fresh(report) => Some((world.now, report.clone())),
            };
            KnownShard { last, found_at_start: view.found_at_start }
        };
        let replica = |view: &ReplicaView| KnownReplica {
            memory: view.memory.clone(),
            shards: view.shards.iter().map(|(&ordinal, view)| (ordinal, shard(view))).collect(),
        };
        Self {
            seed: world.seed,
            probe_rounds,
            jobs: world.jobs.clone(),
            listed: world.targets.clone(),
            probing,
            replicas: world.replicas.iter().map(replica).collect(),
            is_new: false,
        }
    }

    /// What it sees in this round.
    pub(crate) fn look(&mut self, fleet: &mut Fleet) -> World {
        self.discover(fleet);
        let (now, round) = (fleet.now, fleet.round);
        self.replicas.resize_with(fleet.replicas.len(), KnownReplica::default);
        let names: Vec<_> = (0..).zip(&fleet.replicas).map(|(number, _)| number).collect();
        let mut views = Vec::with_capacity(names.len());
        for number in names {
            let known = &mut self.replicas[number as usize];
            let shards = known.look(fleet, number, self.is_new);
            let Replica { id, scalable, wanted, .. } = &fleet.replicas[number as usize];
            let memory = known.memory.clone();
            views.push(ReplicaView { id: id.clone(), scalable: *scalable, wanted_shards: *wanted, shards, memory });
        }
        if self.is_new {
            self.probe_what_no_shard_knows(&views, round);
            self.is_new = false;
        }
        self.finish_probes(fleet);
        World { now, seed: self.seed, jobs: self.jobs.clone(), targets: self.listed.clone(), replicas: views }
    }

    /// Remembers what a plan noted.
    pub(crate) fn remember(&mut self, plan: &Plan, fleet: &Fleet) {
        for (known, replica) in self.replicas.iter_mut().zip(&fleet.replicas) {
            if let Some(plan) = plan.replicas.get(&replica.id) {
                known.memory = plan.memory.clone();
            }
        }
    }

    /// Remembers what shards have acknowledged: one that is silent by the next round has it all the same.
    pub(crate) fn note_told(&mut self, plan: &Plan, fleet: &Fleet) {
        for (known, replica) in self.replicas.iter_mut().zip(&fleet.replicas) {
            let told = plan.replicas.get(&replica.id).map(|plan| plan.shards.keys());
            for ordinal in told.into_iter().flatten() {
                let shard = replica.shards.get(ordinal.0 as usize);
                let last = known.shards.get_mut(ordinal).and_then(|known| known.last.as_mut());
                if let (Some(shard), Some((_, last))) = (shard, last) {
                    last.targets = shard.held.clone();
                }
            }
        }
    }

    fn discover(&mut self, fleet: &mut Fleet) {
        let (found, lost) = (std::mem::take(&mut fleet.found), std::mem::take(&mut fleet.lost));
        // A world that was saved may hold jobs of which the fleet knows nothing.
        for group in &fleet.groups {
            if group.gone {
                self.jobs.remove(group.job());
            } else {
                self.jobs.entry(group.job().clone()).or_insert(JobView { discovered: true });
            }
        }
        if self.is_new {
            self.listed = fleet.targets.keys().filter_map(|&id| Some((id, view_of(fleet, id)?))).collect();
            return;
        }
        for id in lost {
            self.listed.remove(&id);
            self.probing.remove(&id);
        }
        for id in found {
            if let Some(view) = view_of(fleet, id) {
                self.listed.insert(id, view);
                self.probing.insert(id, fleet.round + self.probe_rounds);
            }
        }
    }

    /// After a start, whatever a shard has measured is not probed.
    fn probe_what_no_shard_knows(&mut self, views: &[ReplicaView], round: u32) {
        let mut unknown: BTreeMap<TargetId, u32> =
            self.listed.keys().map(|&id| (id, round + self.probe_rounds)).collect();
        for shard in views.iter().flat_map(|view| view.shards.values()) {
            let Some(report) = shard.report.last() else { continue };
            for (id, _) in report.targets.iter().filter(|(_, held)| held.load.is_some()) {
                unknown.remove(id);
            }
        }
        self.probing = unknown;
    }

    fn finish_probes(&mut self, fleet: &Fleet) {
        let (now, round) = (fleet.now, fleet.round);
        let listed = &mut self.listed;
        self.probing.retain(|id, done| {
            if *done > round {
                return true;
            }
            if let (Some(view), Some(target)) = (listed.get_mut(id), fleet.targets.get(id)) {
                view.probed =
                    if target.up { KnownLoad::Measured(target.load) } else { KnownLoad::ProbeFailed { since: now } };
            }
            false
        });
    }
}

fn view_of(fleet: &Fleet, id: TargetId) -> Option<TargetView> {
    let target = fleet.targets.get(&id)?;
    let group = fleet.groups.get(target.group as usize)?;
    Some(TargetView {
        job: group.job().clone(),
        interval: group.settings.scrape_interval,
        since: fleet.now,
        probed: KnownLoad::Unknown,
    })
}

impl KnownReplica {
    /// Asks every shard.
    fn look(&mut self, fleet: &mut Fleet, number: u32, is_new: bool) -> BTreeMap<Ordinal, ShardView> {
        let (now, round) = (fleet.now, fleet.round);
        let shards = fleet.replicas[number as usize].shards.len() as u32;
        self.shards.retain(|ordinal, _| ordinal.0 < shards);
        let mut views = BTreeMap::new();
        for ordinal in (0..shards).map(Ordinal) {
            let known = self
                .shards
                .entry(ordinal)
                .or_insert_with(|| KnownShard { last: None, found_at_start: is_new.then_some(now) });
            let name = fleet.name(number, ordinal);
            let shard = &mut fleet.replicas[number as usize].shards[ordinal.0 as usize];
            let report = if shard.answers(round) {
                let report = shard.report(round, now);
                known.last = Some((now, report.clone()));
                Seen::Fresh(report)
            } else {
                match &known.last {
                    Some((at, last)) => Seen::Stale { at: *at, last: last.clone() },
                    None => Seen::Never,
                }
            };
            let found_at_start = known.found_at_start;
            views.insert(ordinal, ShardView { id: ShardId(name), report, found_at_start, budget: shard.budget });
        }
        views
    }
}
