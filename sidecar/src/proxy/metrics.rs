//! What the proxy tells of itself on `/metrics`.

use std::fmt::{self, Write as _};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// How a request to the proxy ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Outcome {
    /// The target's whole answer went through, with status 200.
    Forwarded,
    /// The target answered with another status, which went through.
    OtherStatus,
    /// The target gave no answer: Prometheus got a 502 with the reason.
    NoAnswer,
    /// The target's answer broke off, and so did the one to Prometheus.
    BrokenOff,
    /// The target exposed more series than it may, and nothing of that was taken.
    CutOff,
    /// The target's job has more targets than its `target_limit` allows: it was not asked.
    TooManyTargets,
    /// Prometheus went away before the end.
    Cancelled,
    /// Not forwarded: no credentials, or no target of this shard.
    Refused,
}

impl Outcome {
    const ALL: [Self; 8] = [
        Self::Forwarded,
        Self::OtherStatus,
        Self::NoAnswer,
        Self::BrokenOff,
        Self::CutOff,
        Self::TooManyTargets,
        Self::Cancelled,
        Self::Refused,
    ];
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Forwarded => "forwarded",
            Self::OtherStatus => "other_status",
            Self::NoAnswer => "no_answer",
            Self::BrokenOff => "broken_off",
            Self::CutOff => "cut_off",
            Self::TooManyTargets => "too_many_targets",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: Outcome,
}

/// Counters of the proxy. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ProxyMetrics {
    requests: Family<ByOutcome, Counter>,
    bytes: Counter,
    in_flight: Gauge,
    guarded: Gauge,
}

/// One scrape on its way, as long as it lives.
#[derive(Debug)]
pub(super) struct InFlight(Gauge);

impl ProxyMetrics {
    /// Metrics that the registry shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for outcome in Outcome::ALL {
            // From zero, so that the first one of a kind is seen as an increase.
            drop(metrics.requests.get_or_create(&ByOutcome { outcome }));
        }
        registry.register(
            "narthex_sidecar_proxy_requests",
            "Requests to the scrape proxy, by how they ended",
            metrics.requests.clone(),
        );
        registry.register(
            "narthex_sidecar_proxy_bytes",
            "Bytes of scrape bodies that went through, as the targets sent them",
            metrics.bytes.clone(),
        );
        registry.register("narthex_sidecar_proxy_in_flight", "Scrapes on their way", metrics.in_flight.clone());
        registry.register(
            "narthex_sidecar_guarded_targets",
            "Targets that are cut off because they expose more series than --target.max-series allows",
            metrics.guarded.clone(),
        );
        metrics
    }

    /// Counts guarded targets.
    pub(super) const fn guarded(&self) -> &Gauge {
        &self.guarded
    }

    pub(super) fn ended(&self, outcome: Outcome) {
        self.requests.get_or_create(&ByOutcome { outcome }).inc();
    }

    pub(super) fn passed(&self, bytes: usize) {
        self.bytes.inc_by(bytes as u64);
    }

    pub(super) fn in_flight(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn every_outcome_is_counted_from_zero() {
        let mut registry = Registry::default();
        let _metrics = ProxyMetrics::register(&mut registry);
        let mut shown = String::new();
        encode(&mut shown, &registry).unwrap();
        assert_eq!(shown.matches("narthex_sidecar_proxy_requests_total{outcome=").count(), Outcome::ALL.len());
        assert!(shown.contains("{outcome=\"no_answer\"} 0"), "{shown}");
    }
}
