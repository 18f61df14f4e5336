//! One round: look, plan, apply, publish.

mod silent;
#[cfg(test)]
mod tests;
mod unplaced;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use narthex_common::{fingerprint::Fingerprint, time::Timestamp};
use narthex_planner::{
    Plan, Policy, World,
    world::{JobView, KnownLoad, ReplicaView, TargetView},
};
use tracing::{debug, info, warn};

use self::{silent::SilentShards, unplaced::UnplacedTargets};
use crate::{
    apply::{self, Reloads},
    discover::Discovered,
    observe::{Observed, Observer, ShardClient, world_replicas},
    probe::Probed,
    provider::Provider,
    status::{History, Snapshot},
};

/// Runs rounds. It remembers nothing that matters: what a shard scrapes is the truth of its sidecar.
pub struct Rounds {
    provider: Arc<dyn Provider>,
    client: Arc<dyn ShardClient>,
    observer: Observer,
    policy: Policy,
    /// Errors of the last round: one that goes on is logged once.
    last_errors: Vec<String>,
    silent: SilentShards,
    reloads: Reloads,
    unplaced: UnplacedTargets,
    history: History,
}

impl Rounds {
    /// Rounds over the shards of a provider.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, client: Arc<dyn ShardClient>, observer: Observer, policy: Policy) -> Self {
        Self {
            provider,
            client,
            observer,
            policy,
            last_errors: Vec::new(),
            silent: SilentShards::default(),
            reloads: Reloads::default(),
            unplaced: UnplacedTargets::default(),
            history: History::default(),
        }
    }

    /// Asks the shards what they do, and changes nothing.
    pub async fn look(&mut self, now: Timestamp) -> Observed {
        // A provider that cannot list them says so again in the first round, which reports it.
        let replicas = self.provider.replicas().await.unwrap_or_default();
        self.observer.observe(replicas, now).await
    }

    /// Runs one round.
    pub async fn run(&mut self, discovered: Arc<Discovered>, probed: Arc<Probed>, now: Timestamp) -> Snapshot {
        let began = Instant::now();
        let mut errors = Vec::new();
        let config = discovered.config.fingerprint();
        let replicas = self.provider.replicas().await.unwrap_or_else(|error| {
            errors.push(format!("cannot list the shards, so nothing is planned in this round: {error:#}"));
            Vec::new()
        });
        let observed = Arc::new(self.observer.observe(replicas, now).await);
        let world = world(now, &discovered, &probed, world_replicas(&observed, config));
        let planning = Instant::now();
        let plan = narthex_planner::plan(&world, &self.policy);
        let planning = planning.elapsed();
        log_changes(&plan);
        self.history.record(&world, &plan);
        let reloads = self.reloads.due(&observed, config, now);
        let changes = apply::changes(&observed, &world, &plan, config, &discovered);
        let applied = apply::apply(&*self.client, &*self.provider, &observed, &plan, &reloads, changes).await;
        self.observer.expect(&applied);
        errors.extend(applied.errors);
        for error in errors.iter().filter(|error| !self.last_errors.contains(error)) {
            warn!("{error}");
        }
        self.last_errors.clone_from(&errors);
        errors.extend(self.silent.look(&observed));
        errors.extend(self.unplaced.look(&plan));
        let (took, policy, history) = (began.elapsed(), self.policy.clone(), self.history.clone());
        Snapshot { at: now, took, planning, config, discovered, probed, observed, world, policy, plan, history, errors }
    }
}

/// One line a replica for people, however many targets it is about; each change at debug.
fn log_changes(plan: &Plan) {
    for (replica, plan) in &plan.replicas {
        let mut count = BTreeMap::<&str, usize>::new();
        for change in &plan.changes {
            debug!(%replica, ?change, "planned");
            *count.entry(change.kind()).or_default() += 1;
        }
        if !count.is_empty() {
            let changes = count.iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>().join(", ");
            info!(%replica, unplaced = plan.unplaced.len(), "planned: {changes}");
        }
    }
}

/// The planner's input, from what every stage knows.
#[must_use]
pub fn world(now: Timestamp, discovered: &Discovered, probed: &Probed, replicas: Vec<ReplicaView>) -> World {
    World {
        now,
        seed: seed(discovered.config.fingerprint()),
        jobs: discovered
            .jobs
            .iter()
            .map(|(job, found)| (job.clone(), JobView { discovered: found.discovered }))
            .collect(),
        targets: discovered
            .jobs
            .iter()
            .flat_map(|(job, found)| found.active.iter().map(move |(id, active)| (*id, job, active)))
            .map(|(id, job, active)| {
                let probed = probed.get(&id).copied().unwrap_or(KnownLoad::Unknown);
                (
                    id,
                    TargetView {
                        job: job.clone(),
                        interval: active.target.interval().unwrap_or_default(),
                        since: now,
                        probed,
                    },
                )
            })
            .collect(),
        replicas,
    }
}

/// Ties are broken alike in every round and after every restart, and differently under another config.
fn seed(config: Fingerprint) -> u64 {
    config.0
}
