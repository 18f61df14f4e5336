//! Fleet: everything there is, as it really is. Targets weigh what they weigh, and a shard scrapes what is on its list
//! for as long as it lives, whatever the coordinator does.

mod coverage;
mod happen;
mod head;
mod loads;
mod of_world;
mod shard;
mod target;
mod tell;
mod time;

use std::collections::BTreeMap;

use narthex_common::{config::PromDuration, shard::ReplicaId, target::TargetId, time::Timestamp};
use narthex_planner::{Policy, cost::Cost};

pub(crate) use self::{
    coverage::Coverage,
    shard::{Life, Shard},
    target::{Group, Ramp, ShardKey, Target},
};
use crate::scenario::{Scenario, ShardSettings};

/// Everything there is.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) now: Timestamp,
    pub(crate) round: u32,
    seed: u64,
    policy: Policy,
    settings: ShardSettings,
    pub(crate) groups: Vec<Group>,
    /// The targets that discovery finds.
    pub(crate) targets: BTreeMap<TargetId, Target>,
    /// Targets whose own load is on its way from one to another, and their series at its start.
    ramps: Vec<(TargetId, f64, Ramp)>,
    pub(crate) replicas: Vec<Replica>,
    /// What discovery has found and lost since the coordinator asked last.
    pub(crate) found: Vec<TargetId>,
    pub(crate) lost: Vec<TargetId>,
    /// The cost of everything that is listed.
    pub(crate) total: Cost,
    /// Instructions for a shard that could not be told anything.
    pub(crate) refused: u64,
}

/// A replica as it is.
#[derive(Clone, Debug)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) scalable: bool,
    pub(crate) wanted: u32,
    pub(crate) shards: Vec<Shard>,
    pub(crate) coverage: Coverage,
    rolling: Option<time::Rolling>,
    /// How many shards were killed by their load.
    pub(crate) killed: u64,
}

impl Fleet {
    /// The fleet that a scenario begins with.
    pub(crate) fn new(scenario: &Scenario, policy: Policy, start: Timestamp) -> Self {
        let settings = scenario.shards.clone();
        let replica = |number: u32| {
            let shard = |ordinal| {
                let key = ShardKey { replica: number, ordinal };
                Shard::new(key, settings.budget_of(ordinal), Life::Running, start)
            };
            Replica {
                id: ReplicaId(format!("replica-{number}")),
                scalable: settings.scalable,
                wanted: settings.count,
                shards: (0..settings.count).map(shard).collect(),
                coverage: Coverage::default(),
                rolling: None,
                killed: 0,
            }
        };
        let replicas = (0..settings.replicas).map(replica).collect();
        let mut fleet = Self {
            now: start,
            round: 1,
            seed: scenario.seed,
            policy,
            settings,
            groups: Vec::new(),
            targets: BTreeMap::new(),
            ramps: Vec::new(),
            replicas,
            found: Vec::new(),
            lost: Vec::new(),
            total: Cost::ZERO,
            refused: 0,
        };
        for group in &scenario.targets {
            fleet.add_job(group.clone());
        }
        fleet
    }

    /// Whether a replica has a shard of that ordinal.
    pub(crate) fn has_shard(&self, replica: u32, ordinal: u32) -> bool {
        self.replicas.get(replica as usize).is_some_and(|replica| (ordinal as usize) < replica.shards.len())
    }

    fn shard_mut(&mut self, replica: u32, ordinal: u32) -> Option<&mut Shard> {
        self.replicas.get_mut(replica as usize)?.shards.get_mut(ordinal as usize)
    }

    fn group_named(&self, job: &narthex_common::job::JobName) -> Option<usize> {
        self.groups.iter().position(|group| group.job() == job && !group.gone)
    }

    pub(crate) fn interval_of(&self, target: &Target) -> PromDuration {
        self.groups
            .get(target.group as usize)
            .map_or(PromDuration::from_secs(60), |group| group.settings.scrape_interval)
    }

    /// How full the shards of a replica are that live, in budgets.
    pub(crate) fn fill(&self, replica: &Replica) -> Vec<f64> {
        let running = replica.shards.iter().filter(|shard| shard.is_running());
        running.map(|shard| shard.used.share_of(self.policy.budget(shard.budget).whole()) as f64 / 1e9).collect()
    }

    /// The fewest shards that everything that is listed could fit on, could it be cut as one likes: of shards as large as
    /// those that are there, the largest first.
    pub(crate) fn fewest_shards(&self) -> u32 {
        let kinds = self.settings.budgets.len().max(1) as u32;
        let mut budgets: Vec<Cost> =
            (0..kinds).map(|kind| self.policy.budget(self.settings.budget_of(kind)).whole()).collect();
        // All kinds come in turn: of the large ones there are no more than their share, so whole turns first.
        let turn: Cost = budgets.iter().copied().sum();
        budgets.sort_unstable_by(|a, b| b.cmp(a));
        let mut left = self.total;
        let turns = (left.series.0 / turn.series.0.max(1)).max(left.work.0 / turn.work.0.max(1));
        let whole = Cost {
            series: narthex_common::load::Series(turn.series.0.saturating_mul(turns)),
            work: narthex_common::load::SampleRate(turn.work.0.saturating_mul(turns)),
        };
        left = left.minus(whole);
        let mut fewest = u32::try_from(turns).unwrap_or(u32::MAX).saturating_mul(kinds);
        for budget in budgets {
            if left == Cost::ZERO {
                break;
            }
            left = left.minus(budget);
            fewest = fewest.saturating_add(1);
        }
        fewest
    }

    /// Whether every target is on the same ordinals in all replicas.
    pub(crate) fn is_mirrored(&self) -> bool {
        let replicas = self.replicas.len() as u32;
        self.targets.values().all(|target| {
            let of = |replica| {
                let mut ordinals: Vec<u32> =
                    target.holders.iter().filter(|key| key.replica == replica).map(|key| key.ordinal).collect();
                ordinals.sort_unstable();
                ordinals
            };
            (1..replicas).all(|replica| of(replica) == of(0))
        })
    }
}
