//! Discovery's metrics: under the names that Prometheus has for them, so that alerts written for it go on working, where
//! it has some.

mod kinds;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicU64},
};

use narthex_common::{job::JobName, target_limit::TargetLimitExceeded, time::Timestamp};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric},
    metrics::{TypedMetric, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

pub(super) use self::kinds::{
    ConsulCall, ConsulMetrics, DnsMetrics, FileMetrics, HttpMetrics, KindMetrics, RefreshMetrics,
};
use super::relabel::Relabeled;

/// The buckets that Prometheus has for how long a sync took, in seconds.
const SYNC_BUCKETS: [f64; 4] = [0.01, 0.1, 1.0, 10.0];

/// Counts what discovery does.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    refresh_failures: Family<RefreshLabels, Counter>,
    discovered_targets: Family<ConfigLabels, Gauge>,
    last_update: Family<ConfigLabels, Gauge<f64, AtomicU64>>,
    received_updates: Family<ManagerLabels, Counter>,
    updates: Family<ManagerLabels, Counter>,
    updates_delayed: Family<ManagerLabels, Counter>,
    failed_configs: Family<ManagerLabels, Gauge>,
    pools: PoolMetrics,
    relabeled_by_shards: Gauge,
}

/// What Prometheus counts of its scrape pools, of which each job has one.
#[derive(Clone, Debug)]
struct PoolMetrics {
    created: Counter,
    reloads: Counter,
    syncs: Family<JobLabels, Counter>,
    sync_failed: Family<JobLabels, Counter>,
    sync_length: Family<JobLabels, Histogram, fn() -> Histogram>,
    targets: Family<JobLabels, Gauge>,
    target_limit: Family<JobLabels, Gauge>,
    exceeded_target_limit: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    mechanism: &'static str,
    config: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfigLabels {
    config: Arc<str>,
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ManagerLabels {
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    scrape_job: Arc<str>,
}

/// Which of Prometheus' discovery managers: always the one for scrapes.
const NAME: &str = "scrape";
const MANAGER: ManagerLabels = ManagerLabels { name: NAME };

/// The jobs' use of mechanisms.
pub(super) type UsedMechanisms = BTreeSet<(&'static str, JobName)>;

impl Metrics {
    /// Metrics that `registry` exposes.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            refresh_failures: shown(registry, "prometheus_sd_refresh_failures", "Refreshes of a discovery that failed"),
            discovered_targets: shown(
                registry,
                "prometheus_sd_discovered_targets",
                "Label sets that discovery lists, before relabeling",
            ),
            last_update: shown(
                registry,
                "prometheus_sd_last_update_timestamp_seconds",
                "When targets that discovery found were last handed on",
            ),
            received_updates: shown(registry, "prometheus_sd_received_updates", "Updates that discoveries told"),
            updates: shown(registry, "prometheus_sd_updates", "Target sets that were handed on"),
            updates_delayed: shown(
                registry,
                "prometheus_sd_updates_delayed",
                "Target sets that nobody took at once: none, because nobody is waited for",
            ),
            failed_configs: shown(
                registry,
                "prometheus_sd_failed_configs",
                "SD blocks that do not run: none, because a config with such a block is refused",
            ),
            pools: PoolMetrics::register(registry),
            relabeled_by_shards: shown(
                registry,
                "narthex_coordinator_jobs_relabeled_by_shards",
                "Jobs whose targets the Prometheus of each shard relabels, because Narthex cannot prove that it would do \
                 the same",
            ),
        };
        for counter in [&metrics.received_updates, &metrics.updates, &metrics.updates_delayed] {
            // Counted from 0.
            drop(counter.get_or_create(&MANAGER));
        }
        drop(metrics.failed_configs.get_or_create(&MANAGER));
        metrics
    }

    /// So many jobs of the config are relabeled by the shards.
    pub(super) fn relabeled_by_shards(&self, jobs: usize) {
        self.relabeled_by_shards.set(i64::try_from(jobs).unwrap_or(i64::MAX));
    }

    /// A job uses a discovery: its failures are counted from 0.
    pub(super) fn started(&self, mechanism: &'static str, job: &JobName) {
        drop(self.refresh_failures.get_or_create(&refresh_labels(mechanism, job)));
    }

    /// A refresh failed that a job uses.
    pub(super) fn refresh_failed(&self, mechanism: &'static str, job: &JobName) {
        self.refresh_failures.get_or_create(&refresh_labels(mechanism, job)).inc();
    }

    /// A discovery told something.
    pub(super) fn received_update(&self) {
        self.received_updates.get_or_create(&MANAGER).inc();
    }

    /// What was found was handed on for all jobs, whether it had changed or not.
    pub(super) fn handed_on<'a>(&self, jobs: impl Iterator<Item = &'a JobName>, now: Timestamp) {
        self.updates.get_or_create(&MANAGER).inc();
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in milliseconds fits a float for 285,000 years")]
        let now = now.0 as f64 / 1000.0;
        for job in jobs {
            self.last_update.get_or_create(&config_labels(job)).set(now);
        }
    }

    /// There is a job with this `target_limit` from now on, or it has another one; 0 is none.
    pub(super) fn limited(&self, job: &JobName, is_new: bool, target_limit: u64) {
        let count = if is_new { &self.pools.created } else { &self.pools.reloads };
        count.inc();
        self.pools.target_limit.get_or_create(&job_labels(job)).set(i64::try_from(target_limit).unwrap_or(i64::MAX));
    }

    /// A job was relabeled.
    pub(super) fn relabeled(&self, job: &Relabeled) {
        let labels = job_labels(&job.job);
        self.discovered_targets.get_or_create(&config_labels(&job.job)).set(count(job.label_sets));
        let pools = &self.pools;
        pools.syncs.get_or_create(&labels).inc();
        pools.sync_failed.get_or_create(&labels).inc_by(job.new_errors as u64);
        pools.sync_length.get_or_create(&labels).observe(job.took.as_secs_f64());
        pools.targets.get_or_create(&labels).set(count(job.targets.active.len()));
        if let Some(TargetLimitExceeded { .. }) = job.targets.exceeded_target_limit {
            pools.exceeded_target_limit.inc();
        }
    }

    /// A job is no longer in the config.
    pub(super) fn forget(&self, job: &JobName) {
        self.discovered_targets.remove(&config_labels(job));
        self.last_update.remove(&config_labels(job));
        let (pools, labels) = (&self.pools, job_labels(job));
        pools.syncs.remove(&labels);
        pools.sync_failed.remove(&labels);
        pools.sync_length.remove(&labels);
        pools.targets.remove(&labels);
        pools.target_limit.remove(&labels);
    }

    /// A job does not use a mechanism any more.
    pub(super) fn forget_mechanism(&self, mechanism: &'static str, job: &JobName) {
        self.refresh_failures.remove(&refresh_labels(mechanism, job));
    }
}

#[cfg(test)]
impl Default for Metrics {
    fn default() -> Self {
        Self::register(&mut Registry::default())
    }
}

impl PoolMetrics {
    fn register(registry: &mut Registry) -> Self {
        let sync_length: Family<JobLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SYNC_BUCKETS));
        registry.register(
            "prometheus_target_sync_length_histogram_seconds",
            "How long it took to make a job's targets of what was discovered",
            sync_length.clone(),
        );
        drop(shown::<Counter>(
            registry,
            "prometheus_target_scrape_pools_failed",
            "Jobs that could not be begun: none, because a config with such a job is refused",
        ));
        drop(shown::<Counter>(
            registry,
            "prometheus_target_scrape_pool_reloads_failed",
            "Jobs that could not go on under another config: none, because such a config is refused",
        ));
        Self {
            created: shown(registry, "prometheus_target_scrape_pools", "Jobs that were begun"),
            reloads: shown(
                registry,
                "prometheus_target_scrape_pool_reloads",
                "Jobs that went on under a config that was read again",
            ),
            syncs: shown(
                registry,
                "prometheus_target_scrape_pool_sync",
                "How often a job's targets were made of what was discovered",
            ),
            sync_failed: shown(registry, "prometheus_target_sync_failed", "Label sets that made no target"),
            sync_length,
            targets: shown(registry, "prometheus_target_scrape_pool_targets", "Active targets of a job"),
            target_limit: shown(
                registry,
                "prometheus_target_scrape_pool_target_limit",
                "Targets a job may have, 0 is any number",
            ),
            exceeded_target_limit: shown(
                registry,
                "prometheus_target_scrape_pool_exceeded_target_limit",
                "How often a job was found to have more targets than it may",
            ),
        }
    }
}

/// A metric that is exposed from now on.
fn shown<M: Metric + TypedMetric + EncodeMetric + Clone + Default>(
    registry: &mut Registry,
    name: &str,
    help: &str,
) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn refresh_labels(mechanism: &'static str, job: &JobName) -> RefreshLabels {
    RefreshLabels { mechanism, config: job.as_str().into() }
}

fn config_labels(job: &JobName) -> ConfigLabels {
    ConfigLabels { config: job.as_str().into(), name: NAME }
}

fn job_labels(job: &JobName) -> JobLabels {
    JobLabels { scrape_job: job.as_str().into() }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
