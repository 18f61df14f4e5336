//! Of a world: the fleet that a saved `/debug/world` shows, as far as it shows it.

use std::collections::BTreeMap;

use narthex_common::{config::PromDuration, job::JobName, load::Load, report::SCRAPES_COUNTED, target::TargetId};
use narthex_planner::{
    Policy, World,
    cost::Cost,
    world::{HeldTarget, KnownLoad, ReplicaView, Seen, ShardReport, ShardView},
};

use super::{Coverage, Fleet, Group, Life, Replica, Shard, ShardKey, Target};
use crate::scenario::{Distribution, ShardSettings, TargetGroup};

impl Fleet {
    /// The fleet of a world: what is known of loads is true, who answered lives, who was silent is dead for good.
    pub(crate) fn of_world(world: &World, policy: Policy) -> Self {
        let budgets = world.replicas.iter().flat_map(|view| view.shards.values()).map(|shard| shard.budget);
        let settings = ShardSettings { budgets: budgets.collect(), ..ShardSettings::default() };
        let mut fleet = Self {
            now: world.now,
            round: 1,
            seed: world.seed,
            policy,
            settings,
            groups: Vec::new(),
            targets: BTreeMap::new(),
            ramps: Vec::new(),
            replicas: Vec::new(),
            found: Vec::new(),
            lost: Vec::new(),
            total: Cost::ZERO,
            refused: 0,
        };
        fleet.list(world);
        for (number, view) in (0..).zip(&world.replicas) {
            let replica = fleet.replica_of(world, number, view);
            fleet.replicas.push(replica);
        }
        fleet
    }

    fn list(&mut self, world: &World) {
        let mut known: BTreeMap<TargetId, Load> = BTreeMap::new();
        for shard in world.replicas.iter().flat_map(|view| view.shards.values()) {
            let Some(report) = last_report(shard) else { continue };
            known.extend(report.targets.iter().filter_map(|(&id, held)| Some((id, held.load.or(held.planned)?))));
        }
        let mut groups: BTreeMap<(JobName, PromDuration), u32> = BTreeMap::new();
        for (&id, view) in world.targets.iter() {
            let key = (view.job.clone(), view.interval);
            let next = self.groups.len() as u32;
            let place = *groups.entry(key).or_insert(next);
            if place == next {
                self.groups.push(Group::new(group_of(&view.job, view.interval), world.seed));
            }
            let (load, up) = match (view.probed, known.get(&id).copied()) {
                (KnownLoad::ProbeFailed { .. }, None) => (Load::ZERO, false),
                (_, Some(load)) | (KnownLoad::Measured(load), None) => (load, true),
                (KnownLoad::Unknown, None) => (Load::ZERO, true),
            };
            self.total = self.total.plus(Cost::of(load, view.interval.to_std()));
            self.groups[place as usize].members.push(id);
            let (base, born) = (load.kept.0 as f64, world.now);
            self.targets.insert(id, Target { group: place, base, load, up, born, holders: Vec::new() });
        }
    }

    fn replica_of(&mut self, world: &World, number: u32, view: &ReplicaView) -> Replica {
        let mut coverage = Coverage::default();
        let mut shards = Vec::new();
        for (&ordinal, shard) in &view.shards {
            let key = ShardKey { replica: number, ordinal: ordinal.0 };
            shards.push(self.shard_of(world, key, shard, &mut coverage));
        }
        for &id in world.targets.keys() {
            coverage.list(id);
        }
        Replica {
            id: view.id.clone(),
            scalable: view.scalable,
            wanted: view.wanted_shards,
            shards,
            coverage,
            rolling: None,
            killed: 0,
        }
    }

    fn shard_of(&mut self, world: &World, key: ShardKey, view: &ShardView, coverage: &mut Coverage) -> Shard {
        let life = match &view.report {
            Seen::Fresh(_) => Life::Running,
            Seen::Stale { .. } => Life::Away { until: None },
            // It is starting, most likely.
            Seen::Never => Life::Away { until: Some(world.now.after(self.settings.start_time.to_std())) },
        };
        let mut shard = Shard::new(key, view.budget, life, world.now);
        let Some(report) = last_report(view) else { return shard };
        shard.held = report.targets.clone();
        shard.idle_since = report.idle_since;
        if !report.config_matches {
            shard.other_config_until = u32::MAX;
        }
        for (&id, held) in report.targets.iter() {
            if let Some(target) = self.targets.get_mut(&id) {
                target.holders.push(key);
            }
            if shard.is_running() {
                shard.go_on(id, held, world, coverage);
            }
        }
        if let Some(head) = report.head_series {
            shard.head.leave_over(head.minus(shard.used.series), world.now);
        }
        shard
    }
}

impl Shard {
    /// A target that was being scraped when the world was saved.
    fn go_on(&mut self, id: TargetId, held: &HeldTarget, world: &World, coverage: &mut Coverage) {
        if held.scrapes > 0 {
            coverage.begin(id, world.now);
        }
        if held.scrapes < SCRAPES_COUNTED {
            let next = self.scrape_after(id, held.interval, world.now);
            let before = PromDuration(held.interval.0.saturating_mul(held.scrapes.into()));
            self.warming.insert(id, narthex_common::time::Timestamp(next.0.saturating_sub_unsigned(before.0)));
        }
        if let Some(load) = held.load {
            self.used = self.used.plus(Cost::of(load, held.interval.to_std()));
        }
    }
}

const fn last_report(shard: &ShardView) -> Option<&ShardReport> {
    match &shard.report {
        Seen::Never => None,
        Seen::Stale { last, .. } => Some(last),
        Seen::Fresh(report) => Some(report),
    }
}

/// The job of a saved world, in which nothing changes by itself.
fn group_of(job: &JobName, scrape_interval: PromDuration) -> TargetGroup {
    TargetGroup {
        job: job.clone(),
        count: 0,
        scrape_interval,
        load: Distribution::Constant(0),
        dropped: 0.0,
        growth_per_hour: 0.0,
        jitter_percent: 0.0,
        jitter_together: false,
        churn_per_round: 0.0,
        down: 0.0,
    }
}
