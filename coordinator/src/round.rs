//! One round: look, plan, apply, publish.

mod attention;
mod cut_off;
mod keeper;
mod planning;
mod rules;
mod silent;
#[cfg(test)]
mod tests;
mod unplaced;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use narthex_common::{config::PromDuration, fingerprint::Fingerprint, target::Target, time::Timestamp};
use narthex_planner::{
    Plan,
    reason::{Change, PlaceReason},
    world::{KnownLoad, TargetView},
};
#[cfg(test)]
use narthex_planner::{
    World,
    world::{JobView, ReplicaView},
};
use tracing::{debug, info, warn};

pub use self::rules::Rules;
use self::{
    attention::Attention,
    cut_off::CutOff,
    planning::{Input, Planned, Planning},
    rules::InForce,
    silent::SilentShards,
    unplaced::UnplacedTargets,
};
#[cfg(test)]
use crate::discover::ActiveTarget;
use crate::{
    apply::{self, Reloads, Teller},
    discover::Discovered,
    observe::Observer,
    probe::{Measured, Probed},
    provider::Provider,
    status::{History, Snapshot},
};

/// Runs rounds. It remembers nothing that matters: what a shard scrapes is the truth of its sidecar.
pub struct Rounds {
    provider: Arc<dyn Provider>,
    observer: Observer,
    teller: Teller,
    rules: Rules,
    in_force: Option<InForce>,
    planning: Planning,
    /// Errors of the last round: one that goes on is logged once.
    last_errors: Vec<String>,
    silent: SilentShards,
    reloads: Reloads,
    cut_off: CutOff,
    unplaced: UnplacedTargets,
    attention: Attention,
    history: History,
}

impl Rounds {
    /// Rounds over the shards of a provider.
    #[must_use]
    pub fn new(provider: Arc<dyn Provider>, observer: Observer, teller: Teller, rules: Rules) -> Self {
        Self {
            provider,
            observer,
            teller,
            rules,
            in_force: None,
            planning: Planning::default(),
            last_errors: Vec::new(),
            silent: SilentShards::default(),
            reloads: Reloads::default(),
            cut_off: CutOff::default(),
            unplaced: UnplacedTargets::default(),
            attention: Attention::default(),
            history: History::default(),
        }
    }

    /// Asks the shards what they do, and changes nothing. Says which targets' loads they know.
    pub async fn look(&mut self, now: Timestamp) -> Measured {
        // A provider that cannot list them says so again in the first round, which reports it.
        let replicas = self.provider.replicas().await.unwrap_or_default();
        let observed = self.observer.observe(replicas, now).await;
        Some(self.planning.look(&observed, now).unwrap_or_default())
    }

    /// The targets whose loads shards know.
    #[must_use]
    pub fn measured(&self) -> Measured {
        self.planning.measured()
    }

    /// Runs one round.
    pub async fn run(&mut self, discovered: Arc<Discovered>, probed: Arc<Probed>, now: Timestamp) -> Snapshot {
        let began = Instant::now();
        let in_force = InForce::under(&discovered.config, &self.rules, self.in_force.take());
        let InForce { fingerprint: config, policy, .. } = self.in_force.insert(in_force).clone();
        let mut errors = Vec::new();
        let replicas = self.provider.replicas().await.unwrap_or_else(|error| {
            errors.push(format!("cannot list the shards, so nothing is planned in this round: {error:#}"));
            Vec::new()
        });
        let late = self.teller.ended();
        self.observer.expect(&late);
        errors.extend(late.errors);
        let under_way = self.teller.under_way().clone();
        let observed = Arc::new(self.observer.observe(replicas, now).await);
        let (d, p, o) = (Arc::clone(&discovered), Arc::clone(&probed), Arc::clone(&observed));
        let input = Input { now, config, discovered: d, probed: p, observed: o, under_way, policy: policy.clone() };
        let Planned { world, plan, took: planning } = self.planning.plan(input).await;
        log_changes(&plan);
        self.history.record(&world, &plan);
        let reloads = self.reloads.due(&observed, config, now);
        let changes = apply::changes(&observed, &world, &plan, config, &discovered);
        let sources = &discovered.config.sources;
        let applied =
            apply::apply(&mut self.teller, &*self.provider, &observed, &plan, &reloads, sources, changes).await;
        self.observer.expect(&applied);
        errors.extend(applied.errors);
        for error in errors.iter().filter(|error| !self.last_errors.contains(error)) {
            warn!("{error}");
        }
        self.last_errors.clone_from(&errors);
        errors.extend(self.silent.look(&observed));
        errors.extend(self.cut_off.look(&plan));
        errors.extend(self.unplaced.look(&plan));
        errors.extend(self.attention.look(&world, &plan, &discovered));
        let (took, history, rules) = (began.elapsed(), self.history.clone(), self.rules.clone());
        Snapshot {
            at: now,
            took,
            planning,
            config,
            discovered,
            probed,
            observed,
            world,
            policy,
            rules,
            plan,
            history,
            errors,
        }
    }
}

/// One line a replica for people, however many targets it is about; each change at debug.
fn log_changes(plan: &Plan) {
    for (replica, plan) in &plan.replicas {
        let mut count = BTreeMap::<&str, usize>::new();
        for change in &plan.changes {
            debug!(%replica, ?change, "planned");
            *count.entry(kind(change)).or_default() += 1;
        }
        if !count.is_empty() {
            let changes = count.iter().map(|(kind, n)| format!("{kind} {n}")).collect::<Vec<_>>().join(", ");
            info!(%replica, unplaced = plan.unplaced.len(), "planned: {changes}");
        }
    }
}

/// What kind of change it is; targets that lost shards had are told apart from new ones.
const fn kind(change: &Change) -> &'static str {
    match change {
        Change::Place { why: PlaceReason::TakenOver { .. }, .. } => "take_over",
        Change::Place { .. }
        | Change::Move { .. }
        | Change::Settle { .. }
        | Change::GiveBack { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => change.kind(),
    }
}

/// The planner's input from nothing. A round has most of it already, see [`keeper::WorldKeeper`], which must come to the
/// same.
#[cfg(test)]
pub(crate) fn world(now: Timestamp, discovered: &Discovered, probed: &Probed, replicas: Vec<ReplicaView>) -> World {
    let active = discovered.jobs.values().flat_map(|found| &found.active);
    let targets = active.map(|(id, ActiveTarget { target, .. })| {
        (*id, target_view(target, now, probed.get(id).copied().unwrap_or(KnownLoad::Unknown)))
    });
    World {
        now,
        seed: seed(discovered.config.fingerprint()),
        jobs: discovered.jobs.iter().map(|(job, t)| (job.clone(), JobView { discovered: t.discovered })).collect(),
        targets: targets.collect(),
        replicas,
    }
}

/// A target as the planner sees it.
fn target_view(target: &Target, since: Timestamp, probed: KnownLoad) -> TargetView {
    // No probe will ever come of what its shard relabels: it is not waited for.
    let probed = if target.is_relabeled_by_shard() { KnownLoad::ProbeFailed { since } } else { probed };
    TargetView { job: target.job.clone(), interval: scrape_interval(target), since, probed }
}

/// How often a target is scraped. Its labels always say so, unless it was made by hand.
pub(crate) fn scrape_interval(target: &Target) -> PromDuration {
    target.interval().unwrap_or(PromDuration::from_secs(60))
}

/// Ties are broken alike in every round and after every restart, and differently under another config.
fn seed(config: Fingerprint) -> u64 {
    config.0
}
