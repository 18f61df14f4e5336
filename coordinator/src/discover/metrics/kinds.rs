//! The metrics of the kinds of discovery. Prometheus has summaries where histograms are here: `_sum` and `_count` are
//! the same.

use std::{path::Path, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// From a file that is read to a Consul that is far away.
const SECONDS: [f64; 10] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0];

/// What discoverers count. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct KindMetrics {
    /// Of all kinds that ask at an interval.
    pub(in super::super) refreshes: RefreshMetrics,
    /// Of `file_sd_configs`.
    pub(in super::super) file: FileMetrics,
    /// Of `http_sd_configs`.
    pub(in super::super) http: HttpMetrics,
    /// Of `dns_sd_configs`.
    pub(in super::super) dns: DnsMetrics,
    /// Of `consul_sd_configs`.
    pub(in super::super) consul: ConsulMetrics,
}

impl KindMetrics {
    /// Metrics that `registry` exposes.
    pub(in super::super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.refreshes.register(registry);
        metrics.file.register(registry);
        metrics.http.register(registry);
        metrics.dns.register(registry);
        metrics.consul.register(registry);
        metrics
    }
}

/// How long refreshes take.
#[derive(Clone, Debug)]
pub(in super::super) struct RefreshMetrics(Family<MechanismLabels, Histogram, fn() -> Histogram>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MechanismLabels {
    mechanism: &'static str,
}

impl Default for RefreshMetrics {
    fn default() -> Self {
        Self(Family::new_with_constructor(seconds))
    }
}

impl RefreshMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "prometheus_sd_refresh_duration_seconds",
            "How long a refresh of a discovery took",
            self.0.clone(),
        );
    }

    /// A refresh took so long.
    pub(in super::super) fn observe(&self, mechanism: &'static str, took: Duration) {
        self.0.get_or_create(&MechanismLabels { mechanism }).observe(took.as_secs_f64());
    }
}

/// What `file_sd_configs` count.
#[derive(Clone, Debug)]
pub(in super::super) struct FileMetrics {
    read_errors: Counter,
    scans: Histogram,
    modified: Family<FileLabels, Gauge<f64, AtomicU64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FileLabels {
    filename: String,
}

impl FileLabels {
    fn of(file: &Path) -> Self {
        Self { filename: file.to_string_lossy().into_owned() }
    }
}

impl Default for FileMetrics {
    fn default() -> Self {
        Self { read_errors: Counter::default(), scans: seconds(), modified: Family::default() }
    }
}

impl FileMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "prometheus_sd_file_read_errors",
            "Files of targets that could not be read",
            self.read_errors.clone(),
        );
        registry.register(
            "prometheus_sd_file_scan_duration_seconds",
            "How long it took to read all files of a file_sd",
            self.scans.clone(),
        );
        registry.register(
            "prometheus_sd_file_mtime_seconds",
            "When a file of targets was changed, as of the last time it was read",
            self.modified.clone(),
        );
    }

    /// A file was read that was changed then.
    pub(in super::super) fn read(&self, file: &Path, modified: f64) {
        self.modified.get_or_create(&FileLabels::of(file)).set(modified);
    }

    /// A file is gone.
    pub(in super::super) fn forget(&self, file: &Path) {
        self.modified.remove(&FileLabels::of(file));
    }

    /// A file could not be read.
    pub(in super::super) fn read_failed(&self) {
        self.read_errors.inc();
    }

    /// Reading all files took so long.
    pub(in super::super) fn scanned(&self, took: Duration) {
        self.scans.observe(took.as_secs_f64());
    }
}

/// What `http_sd_configs` count.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct HttpMetrics(Counter);

impl HttpMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("prometheus_sd_http_failures", "Refreshes of http_sd that failed", self.0.clone());
    }

    /// A refresh failed.
    pub(in super::super) fn failed(&self) {
        self.0.inc();
    }
}

/// What `dns_sd_configs` count.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct DnsMetrics {
    lookups: Counter,
    failures: Counter,
}

impl DnsMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register("prometheus_sd_dns_lookups", "Names that dns_sd looked up", self.lookups.clone());
        registry.register(
            "prometheus_sd_dns_lookup_failures",
            "Names that dns_sd could not look up",
            self.failures.clone(),
        );
    }

    /// A name was looked up.
    pub(in super::super) fn looked_up(&self, failed: bool) {
        self.lookups.inc();
        self.failures.inc_by(u64::from(failed));
    }
}

/// What `consul_sd_configs` ask and may have to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum ConsulCall {
    /// The list of services.
    Services,
    /// The instances of one.
    Service,
}

/// What `consul_sd_configs` count.
#[derive(Clone, Debug)]
pub(in super::super) struct ConsulMetrics {
    failures: Counter,
    durations: Family<CallLabels, Histogram, fn() -> Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    endpoint: &'static str,
    call: &'static str,
}

impl Default for ConsulMetrics {
    fn default() -> Self {
        Self { failures: Counter::default(), durations: Family::new_with_constructor(seconds) }
    }
}

impl ConsulMetrics {
    fn register(&self, registry: &mut Registry) {
        registry.register(
            "prometheus_sd_consul_rpc_failures",
            "Questions that Consul did not answer",
            self.failures.clone(),
        );
        registry.register(
            "prometheus_sd_consul_rpc_duration_seconds",
            "How long Consul took to answer, waiting for changes included",
            self.durations.clone(),
        );
    }

    /// A question was not answered.
    pub(in super::super) fn failed(&self) {
        self.failures.inc();
    }

    /// An answer took so long.
    pub(in super::super) fn observe(&self, call: ConsulCall, took: Duration) {
        let call = match call {
            ConsulCall::Services => "services",
            ConsulCall::Service => "service",
        };
        self.durations.get_or_create(&CallLabels { endpoint: "catalog", call }).observe(took.as_secs_f64());
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}
