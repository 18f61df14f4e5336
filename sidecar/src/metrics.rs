//! What the sidecar tells of itself on `/metrics`. The proxy has its own.

use narthex_common::assignment::TargetState;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{leaving::Leaving, prometheus::PrometheusSeen, shard::ShardState};

/// The ways that a target leaves which another shard has taken over.
const LEAVING_POOL: &str = "leaving_pool";
const PLAIN: &str = "plain";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByWay {
    way: &'static str,
}

/// Figures of the shard. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {
    targets: Family<ByState, Gauge>,
    revision: Gauge,
    config_good: Gauge,
    prometheus_ready: Gauge,
    head_series: Gauge,
    prometheus_starts: Counter,
    leaving_generations: Gauge,
    leaving_targets: Gauge,
    handed_over: Family<ByWay, Counter>,
}

impl ShardMetrics {
    /// Metrics that the registry shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "narthex_sidecar_targets",
            "Targets assigned to this shard, by whether they are here to stay",
            metrics.targets.clone(),
        );
        registry.register(
            "narthex_sidecar_assignment_revision",
            "Revision of the assignment in force",
            metrics.revision.clone(),
        );
        registry.register(
            "narthex_sidecar_config_last_reload_successful",
            "Whether the newest config is the one in force",
            metrics.config_good.clone(),
        );
        registry.register(
            "narthex_sidecar_prometheus_ready",
            "Whether the Prometheus next door answers and is ready",
            metrics.prometheus_ready.clone(),
        );
        registry.register(
            "narthex_sidecar_prometheus_head_series",
            "Series that the Prometheus next door holds in memory, as last seen",
            metrics.head_series.clone(),
        );
        registry.register(
            "narthex_sidecar_prometheus_starts",
            "Times that this sidecar has started Prometheus",
            metrics.prometheus_starts.clone(),
        );
        registry.register(
            "narthex_sidecar_leaving_generations",
            "Generations of leaving scrape pools that are open",
            metrics.leaving_generations.clone(),
        );
        registry.register(
            "narthex_sidecar_leaving_targets",
            "Targets on their way to another shard, those included that are no longer assigned",
            metrics.leaving_targets.clone(),
        );
        registry.register(
            "narthex_sidecar_handed_over_targets",
            "Targets that another shard has taken over, by whether a leaving pool kept their leaving out of the data",
            metrics.handed_over.clone(),
        );
        for way in [LEAVING_POOL, PLAIN] {
            drop(metrics.handed_over.get_or_create(&ByWay { way }));
        }
        metrics
    }

    /// Shows what is on its way out.
    pub fn leaving(&self, leaving: &Leaving) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.leaving_generations.set(gauge(leaving.generations().len()));
        self.leaving_targets.set(gauge(leaving.leavers().count()));
    }

    /// Counts targets that have left without a trace.
    pub fn left_without_a_trace(&self, targets: usize) {
        self.handed_over.get_or_create(&ByWay { way: LEAVING_POOL }).inc_by(targets as u64);
    }

    /// Counts targets that were handed over and whose end shows in the data.
    pub fn left_plainly(&self, targets: usize) {
        self.handed_over.get_or_create(&ByWay { way: PLAIN }).inc_by(targets as u64);
    }

    /// Targets that left without a trace and plainly.
    #[cfg(test)]
    pub(crate) fn left(&self) -> (u64, u64) {
        let left = |way| self.handed_over.get_or_create(&ByWay { way }).get();
        (left(LEAVING_POOL), left(PLAIN))
    }

    /// Counts starts of Prometheus.
    #[must_use]
    pub fn prometheus_starts(&self) -> Counter {
        self.prometheus_starts.clone()
    }

    /// Shows what is in force.
    pub fn in_force(&self, shard: &ShardState) {
        let in_transfer = shard.assignment.targets.values().filter(|t| t.state == TargetState::InTransfer).count();
        self.set_targets("in_transfer", in_transfer);
        self.set_targets("normal", shard.assignment.targets.len() - in_transfer);
        self.revision.set(i64::try_from(shard.assignment.revision.0).unwrap_or(i64::MAX));
        self.config_good.set(i64::from(shard.config_error.is_none()));
    }

    /// Shows what was seen of Prometheus.
    pub fn seen(&self, prometheus: &PrometheusSeen) {
        self.prometheus_ready.set(i64::from(prometheus.report.ready));
        if let Some(series) = prometheus.report.head_series {
            self.head_series.set(i64::try_from(series.0).unwrap_or(i64::MAX));
        }
    }

    fn set_targets(&self, state: &'static str, count: usize) {
        self.targets.get_or_create(&ByState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
