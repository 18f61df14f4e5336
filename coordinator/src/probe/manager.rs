//! The probe manager: has the targets probed that need it, so many at once, and publishes what is known.

use std::{collections::BTreeMap, future::ready, sync::Arc, time::Duration};

use narthex_common::{
    load::Load,
    semantics::PrometheusVersion,
    series_limit::SeriesLimits,
    target::{Target, TargetId},
    target_limit::TargetLimitExceeded,
};
use narthex_planner::world::TargetMap;
use narthex_runtime::{clock, shutdown::Shutdown};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use super::{Probed, Prober, http::HttpProber, metrics::Metrics, schedule::Schedule};
use crate::discover::Discovered;

/// How often a snapshot is published: probes of many targets end in the same moment.
const PAUSE: Duration = Duration::from_millis(300);

/// The targets whose load is known from shards, and how many shards say so; none before the shards were asked.
pub type Measured = Option<TargetMap<u32>>;

/// Probes targets whose load nobody knows.
#[derive(Debug)]
pub struct ProbeManager;

impl ProbeManager {
    /// Starts probing the active targets of `discovered`, except the `known` ones, whose load a shard has measured.
    /// Until these are told for the first time, nothing is probed. At most `concurrency` scrapes (at least one) run at
    /// once. No target is found to have more series than `limits` allow. Ends at shutdown.
    #[must_use]
    pub fn start(
        discovered: watch::Receiver<Arc<Discovered>>,
        known: watch::Receiver<Measured>,
        concurrency: usize,
        (version, limits): (PrometheusVersion, SeriesLimits),
        registry: &mut Registry,
        shutdown: Shutdown,
    ) -> watch::Receiver<Arc<Probed>> {
        let prober = Arc::new(HttpProber::new(version, limits));
        Self::start_with(prober, (discovered, known), concurrency, Metrics::register(registry), shutdown)
    }

    /// Starts with a prober and metrics of the caller's.
    pub(super) fn start_with(
        prober: Arc<dyn Prober>,
        (discovered, known): (watch::Receiver<Arc<Discovered>>, watch::Receiver<Measured>),
        concurrency: usize,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> watch::Receiver<Arc<Probed>> {
        let (snapshots, snapshot) = watch::channel(Arc::new(Probed::new()));
        let probing = Probing {
            prober,
            discovered,
            known,
            concurrency: concurrency.max(1),
            metrics,
            schedule: Schedule::default(),
            running: JoinSet::new(),
            snapshots,
            publish_at: None,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = shutdown.wait() => {}
                () = probing.run() => {}
            }
        });
        snapshot
    }
}

/// The manager's task.
struct Probing {
    prober: Arc<dyn Prober>,
    discovered: watch::Receiver<Arc<Discovered>>,
    known: watch::Receiver<Measured>,
    concurrency: usize,
    metrics: Metrics,
    schedule: Schedule,
    /// The probes under way; dropping it ends them.
    running: JoinSet<(TargetId, Result<Load, String>)>,
    snapshots: watch::Sender<Arc<Probed>>,
    /// When the next snapshot is published; none while nothing changed.
    publish_at: Option<Instant>,
}

impl Probing {
    async fn run(mut self) {
        let mut config = Arc::clone(&self.discovered.borrow().config);
        self.look().await;
        loop {
            self.start_due(&config);
            let next_probe = self.schedule.next_due().filter(|_| self.running.len() < self.concurrency);
            tokio::select! {
                changed = self.discovered.changed() => {
                    if changed.is_err() { return }
                    let newest = Arc::clone(&self.discovered.borrow_and_update().config);
                    if !Arc::ptr_eq(&newest, &config) {
                        config = newest;
                        self.schedule.retry_failed(Instant::now());
                    }
                    self.look().await;
                }
                changed = self.known.changed() => {
                    if changed.is_err() { return }
                    self.look().await;
                }
                Some(ended) = self.running.join_next() => self.record(ended),
                () = until(next_probe) => {}
                () = until(self.publish_at) => self.publish(),
            }
        }
    }

    /// Finds out which targets need a probe now.
    async fn look(&mut self) {
        let Some(known) = self.known.borrow().clone() else { return };
        let discovered = Arc::clone(&self.discovered.borrow());
        // Off the async threads: there may be a million targets.
        let Ok(wanted) = tokio::task::spawn_blocking(move || unmeasured(&discovered, &known)).await else { return };
        if self.schedule.want(&wanted, Instant::now()) {
            self.publish_soon();
        }
        self.count();
    }

    fn start_due(&mut self, config: &Arc<narthex_common::config::Config>) {
        let now = Instant::now();
        while self.running.len() < self.concurrency
            && let Some(target) = self.schedule.start_next(now)
        {
            let id = target.id;
            // Of a job with too many targets none is asked, neither by a shard nor here.
            if let Some(exceeded) = self.exceeded_target_limit(&target) {
                self.running.spawn(ready((id, Err(exceeded.to_string()))));
                continue;
            }
            let probe = self.prober.probe(config, target);
            self.running.spawn(async move { (id, probe.await) });
        }
    }

    fn exceeded_target_limit(&self, target: &Target) -> Option<TargetLimitExceeded> {
        self.discovered.borrow().jobs.get(&target.job)?.exceeded_target_limit
    }

    fn record(&mut self, ended: Result<(TargetId, Result<Load, String>), tokio::task::JoinError>) {
        let (id, result) = match ended {
            Ok(ended) => ended,
            Err(error) => return tracing::error!(%error, "a probe was broken off; its target waits for a restart"),
        };
        let counter = if result.is_ok() { &self.metrics.measured } else { &self.metrics.failed };
        counter.inc();
        self.schedule.record(id, result, (Instant::now(), clock::now()), rand::random());
        self.publish_soon();
    }

    fn publish_soon(&mut self) {
        self.publish_at.get_or_insert_with(|| Instant::now() + PAUSE);
    }

    fn publish(&mut self) {
        self.publish_at = None;
        self.count();
        let probed = self.schedule.probed();
        self.snapshots.send_if_modified(|known| {
            let differs = **known != probed;
            if differs {
                *known = Arc::new(probed);
            }
            differs
        });
    }

    fn count(&self) {
        self.metrics.waiting.set(i64::try_from(self.schedule.unmeasured()).unwrap_or(i64::MAX));
    }
}

/// The active targets that no shard has measured. Where shards relabel, nobody else knows where a target is scraped.
fn unmeasured(discovered: &Discovered, known: &TargetMap<u32>) -> BTreeMap<TargetId, Arc<Target>> {
    let active = discovered.jobs.values().flat_map(|job| &job.active);
    let is_probed = |id: &TargetId, target: &Target| !target.is_relabeled_by_shard() && !known.contains_key(id);
    active
        .filter(|(id, active)| is_probed(id, &active.target))
        .map(|(id, active)| (*id, Arc::clone(&active.target)))
        .collect()
}

/// Waits until a moment, or for ever when there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
