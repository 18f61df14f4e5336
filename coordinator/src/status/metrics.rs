//! The metrics of rounds.

use std::sync::atomic::AtomicU64;

use narthex_planner::{reason::Unplaced, world::Seen};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Snapshot, shard_summaries};

/// What rounds saw and did, as metrics.
#[derive(Debug)]
pub struct RoundMetrics {
    duration: Histogram,
    last: Gauge<f64, AtomicU64>,
    errors: Counter,
    changes: Family<ChangeLabels, Counter>,
    targets: Family<TargetLabels, Gauge>,
    unplaced: Family<UnplacedLabels, Gauge>,
    shards: Family<ShardStateLabels, Gauge>,
    wanted_shards: Family<ReplicaLabels, Gauge>,
    shard_series: Family<ShardLabels, Gauge>,
    shard_targets: Family<ShardLabels, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TargetLabels {
    job: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReplicaLabels {
    replica: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnplacedLabels {
    replica: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardStateLabels {
    replica: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    replica: String,
    shard: String,
}

impl RoundMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            duration: Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]),
            last: Gauge::default(),
            errors: Counter::default(),
            changes: Family::default(),
            targets: Family::default(),
            unplaced: Family::default(),
            shards: Family::default(),
            wanted_shards: Family::default(),
            shard_series: Family::default(),
            shard_targets: Family::default(),
        };
        let r = registry.sub_registry_with_prefix("narthex_coordinator");
        r.register_with_unit("round_duration", "How long rounds took", Unit::Seconds, metrics.duration.clone());
        r.register_with_unit("last_round_timestamp", "When the last round began", Unit::Seconds, metrics.last.clone());
        r.register("round_errors", "What rounds could not do", metrics.errors.clone());
        r.register("changes", "Planned changes by kind", metrics.changes.clone());
        r.register("targets", "Targets by job: active or dropped by relabeling", metrics.targets.clone());
        r.register("unplaced_targets", "Targets that no shard takes, by why", metrics.unplaced.clone());
        r.register("shards", "Shards by state", metrics.shards.clone());
        r.register("wanted_shards", "Shards that there are to be", metrics.wanted_shards.clone());
        r.register("shard_series", "Series a shard keeps, by its last scrapes", metrics.shard_series.clone());
        r.register("shard_targets", "Targets a shard scrapes", metrics.shard_targets.clone());
        metrics
    }

    /// Shows a round.
    pub fn show(&self, snapshot: &Snapshot) {
        self.duration.observe(snapshot.took.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in milliseconds fits a float for 285,000 years")]
        self.last.set(snapshot.at.0 as f64 / 1000.0);
        self.errors.inc_by(snapshot.errors.len() as u64);
        self.targets.clear();
        for (job, found) in &snapshot.discovered.jobs {
            let labels = |state| TargetLabels { job: job.to_string(), state };
            self.targets.get_or_create(&labels("active")).set(count(found.active.len()));
            self.targets.get_or_create(&labels("dropped")).set(count(found.dropped.len()));
        }
        if !snapshot.plan.replicas.is_empty() {
            // Of a replica that is gone nothing is shown. None at all is a provider that could not list them.
            self.unplaced.clear();
            self.wanted_shards.clear();
        }
        for (id, plan) in &snapshot.plan.replicas {
            let labels = ReplicaLabels { replica: id.0.clone() };
            for reason in Unplaced::ALL {
                let unplaced = plan.unplaced.values().filter(|why| **why == reason).count();
                let labels = UnplacedLabels { replica: id.0.clone(), reason: reason.as_str() };
                self.unplaced.get_or_create(&labels).set(count(unplaced));
            }
            self.wanted_shards.get_or_create(&labels).set(i64::from(plan.wanted_shards));
            for change in &plan.changes {
                self.changes.get_or_create(&ChangeLabels { kind: change.kind() }).inc();
            }
        }
        self.show_shards(snapshot);
    }

    fn show_shards(&self, snapshot: &Snapshot) {
        self.shards.clear();
        self.shard_series.clear();
        self.shard_targets.clear();
        for replica in &snapshot.observed.replicas {
            for shard in &replica.shards {
                let state = match &shard.seen {
                    Seen::Never => "never_seen",
                    Seen::Stale { .. } => "stale",
                    Seen::Fresh(_) => "fresh",
                };
                self.shards.get_or_create(&ShardStateLabels { replica: replica.id.0.clone(), state }).inc();
            }
        }
        for shard in shard_summaries(snapshot) {
            let labels = ShardLabels { replica: shard.replica.0, shard: shard.id.0 };
            self.shard_series.get_or_create(&labels).set(i64::try_from(shard.series.0).unwrap_or(i64::MAX));
            self.shard_targets.get_or_create(&labels).set(count(shard.targets));
        }
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
