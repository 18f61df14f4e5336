//! Discovery's metrics, under the names that Prometheus has for them, so that alerts written for it go on working.

mod kinds;

use std::sync::Arc;

use narthex_common::job::JobName;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

pub(super) use self::kinds::{
    ConsulCall, ConsulMetrics, DnsMetrics, FileMetrics, HttpMetrics, KindMetrics, RefreshMetrics,
};

/// Counts what discovery does.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    refresh_failures: Family<RefreshLabels, Counter>,
    discovered_targets: Family<DiscoveredLabels, Gauge>,
    sync_failed: Family<SyncLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefreshLabels {
    mechanism: &'static str,
    config: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DiscoveredLabels {
    config: Arc<str>,
    /// Which of Prometheus' discovery managers: always the one for scrapes.
    name: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SyncLabels {
    scrape_job: Arc<str>,
}

impl Metrics {
    /// Metrics that `registry` exposes.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "prometheus_sd_refresh_failures",
            "Refreshes of a discovery that failed",
            metrics.refresh_failures.clone(),
        );
        registry.register(
            "prometheus_sd_discovered_targets",
            "Label sets that discovery lists, before relabeling",
            metrics.discovered_targets.clone(),
        );
        registry.register(
            "prometheus_target_sync_failed",
            "Label sets that made no target",
            metrics.sync_failed.clone(),
        );
        metrics
    }

    /// A job uses a discovery: its failures are counted from 0.
    pub(super) fn started(&self, mechanism: &'static str, job: &JobName) {
        drop(self.refresh_failures.get_or_create(&RefreshLabels { mechanism, config: job.as_str().into() }));
    }

    /// A refresh failed that a job uses.
    pub(super) fn refresh_failed(&self, mechanism: &'static str, job: &JobName) {
        self.refresh_failures.get_or_create(&RefreshLabels { mechanism, config: job.as_str().into() }).inc();
    }

    /// A job was relabeled.
    pub(super) fn relabeled(&self, job: &JobName, label_sets: usize, new_errors: usize) {
        let config: Arc<str> = job.as_str().into();
        let discovered = DiscoveredLabels { config: Arc::clone(&config), name: "scrape" };
        self.discovered_targets.get_or_create(&discovered).set(i64::try_from(label_sets).unwrap_or(i64::MAX));
        let failed = SyncLabels { scrape_job: config };
        self.sync_failed.get_or_create(&failed).inc_by(u64::try_from(new_errors).unwrap_or(u64::MAX));
    }

    /// A job is no longer in the config.
    pub(super) fn forget(&self, job: &JobName) {
        let config: Arc<str> = job.as_str().into();
        for mechanism in ["consul", "dns", "file", "http"] {
            self.refresh_failures.remove(&RefreshLabels { mechanism, config: Arc::clone(&config) });
        }
        self.discovered_targets.remove(&DiscoveredLabels { config: Arc::clone(&config), name: "scrape" });
        self.sync_failed.remove(&SyncLabels { scrape_job: config });
    }
}
