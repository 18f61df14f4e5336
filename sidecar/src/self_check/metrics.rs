//! What the self-check tells on `/metrics`.

use std::sync::atomic::AtomicU64;

use narthex_common::time::Timestamp;
use prometheus_client::{metrics::gauge::Gauge, registry::Registry};

/// Figures of the self-check. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct SelfCheckMetrics {
    missing: Gauge,
    unexpected: Gauge,
    last: Gauge<f64, AtomicU64>,
}

impl SelfCheckMetrics {
    /// Metrics that the registry shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "narthex_sidecar_self_check_missing_targets",
            "Targets that are assigned and that Prometheus does not scrape, by the last check",
            metrics.missing.clone(),
        );
        registry.register(
            "narthex_sidecar_self_check_unexpected_targets",
            "Targets that Prometheus scrapes and that are not assigned, by the last check",
            metrics.unexpected.clone(),
        );
        registry.register(
            "narthex_sidecar_self_check_last_timestamp_seconds",
            "When Prometheus' targets were last compared with those assigned; 0 before the first time",
            metrics.last.clone(),
        );
        metrics
    }

    pub(super) fn checked(&self, missing: usize, unexpected: usize, now: Timestamp) {
        self.missing.set(i64::try_from(missing).unwrap_or(i64::MAX));
        self.unexpected.set(i64::try_from(unexpected).unwrap_or(i64::MAX));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have less than 53 bits")]
        self.last.set(now.0 as f64 / 1000.0);
    }
}
