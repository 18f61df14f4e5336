//! What probing counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Counts probes.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    /// Probes that measured a load.
    pub(super) measured: Counter,
    /// Probes that failed.
    pub(super) failed: Counter,
    /// Targets that have not been measured.
    pub(super) waiting: Gauge,
}

impl Metrics {
    /// Metrics that `registry` exposes.
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("narthex_probes_measured", "Probes that measured a load", metrics.measured.clone());
        registry.register("narthex_probes_failed", "Probes that failed", metrics.failed.clone());
        registry.register(
            "narthex_probe_waiting_targets",
            "Targets whose load is unknown and that a probe has not measured yet",
            metrics.waiting.clone(),
        );
        metrics
    }
}
