//! The metrics of rounds.

mod shown;

use std::{collections::BTreeMap, sync::atomic::AtomicU64};

use narthex_planner::{ReplicaPlan, reason::Unplaced, world::Seen};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use self::shown::Shown;
use super::{
    Snapshot, shard_summaries,
    words::{KINDS_AND_REASONS, reason_of},
};

/// What rounds saw and did, as metrics.
#[derive(Debug)]
pub struct RoundMetrics {
    duration: Histogram,
    planning: Histogram,
    last: Gauge<f64, AtomicU64>,
    errors: Counter,
    changes: Family<ChangeLabels, Counter>,
    targets: Shown<TargetLabels>,
    unplaced: Shown<UnplacedLabels>,
    oversized: Shown<ReplicaLabels>,
    suspects: Shown<ReplicaLabels>,
    taken_over: Shown<ReplicaLabels>,
    shards: Shown<ShardStateLabels>,
    wanted_shards: Shown<ReplicaLabels>,
    shard_series: Shown<ShardLabels>,
    shard_targets: Shown<ShardLabels>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ChangeLabels {
    kind: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct TargetLabels {
    job: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ReplicaLabels {
    replica: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct UnplacedLabels {
    replica: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ShardStateLabels {
    replica: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct ShardLabels {
    replica: String,
    shard: String,
}

impl RoundMetrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let r = registry.sub_registry_with_prefix("narthex_coordinator");
        let duration = Histogram::new([0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]);
        let planning = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
        let (last, errors, changes) =
            (Gauge::default(), Counter::default(), Family::<ChangeLabels, Counter>::default());
        r.register_with_unit("round_duration", "How long rounds took", Unit::Seconds, duration.clone());
        r.register_with_unit("planning_duration", "How long the planner took", Unit::Seconds, planning.clone());
        r.register_with_unit("last_round_timestamp", "When the last round began", Unit::Seconds, last.clone());
        r.register("round_errors", "What rounds could not do", errors.clone());
        r.register("changes", "Planned changes by kind and reason", changes.clone());
        for (kind, reason) in KINDS_AND_REASONS {
            // A counter that appears with its first event hides that event from `increase()`.
            drop(changes.get_or_create(&ChangeLabels { kind, reason }));
        }
        let targets = "Targets by job: active or dropped by relabeling";
        let oversized = "Targets that are larger than a shard may fill";
        let suspects = "Targets that may have killed a shard, each kept on a shard of its own";
        let taken_over = "Targets taken over from lost shards whose new shards are being watched";
        Self {
            targets: Shown::register(r, "targets", targets),
            unplaced: Shown::register(r, "unplaced_targets", "Targets that no shard takes, by why"),
            oversized: Shown::register(r, "oversized_targets", oversized),
            suspects: Shown::register(r, "suspect_targets", suspects),
            taken_over: Shown::register(r, "taken_over_targets", taken_over),
            shards: Shown::register(r, "shards", "Shards by state"),
            wanted_shards: Shown::register(r, "wanted_shards", "Shards that there are to be"),
            shard_series: Shown::register(r, "shard_series", "Series a shard keeps, by its last scrapes"),
            shard_targets: Shown::register(r, "shard_targets", "Targets a shard scrapes"),
            duration,
            planning,
            last,
            errors,
            changes,
        }
    }

    /// Shows a round.
    pub fn show(&self, snapshot: &Snapshot) {
        self.duration.observe(snapshot.took.as_secs_f64());
        self.planning.observe(snapshot.planning.as_secs_f64());
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in milliseconds fits a float for 285,000 years")]
        self.last.set(snapshot.at.0 as f64 / 1000.0);
        self.errors.inc_by(snapshot.errors.len() as u64);
        let targets = snapshot.discovered.jobs.iter().flat_map(|(job, found)| {
            let labels = |state| TargetLabels { job: job.to_string(), state };
            [(labels("active"), count(found.active.len())), (labels("dropped"), count(found.dropped_count))]
        });
        self.targets.show(targets.collect());
        if !snapshot.plan.replicas.is_empty() {
            // Of a replica that is gone nothing is shown. None at all is a provider that could not list them.
            self.show_plan(snapshot);
        }
        self.show_shards(snapshot);
    }

    fn show_plan(&self, snapshot: &Snapshot) {
        let replicas = &snapshot.plan.replicas;
        let by_replica = |figure: &dyn Fn(&ReplicaPlan) -> i64| {
            replicas.iter().map(|(id, plan)| (ReplicaLabels { replica: id.0.clone() }, figure(plan))).collect()
        };
        self.wanted_shards.show(by_replica(&|plan| i64::from(plan.wanted_shards)));
        self.oversized.show(by_replica(&|plan| count(plan.oversized.len())));
        self.suspects.show(by_replica(&|plan| count(plan.memory.suspects.len())));
        self.taken_over.show(by_replica(&|plan| count(plan.memory.taken_over.len())));
        let mut unplaced = BTreeMap::new();
        for (id, plan) in replicas {
            let labels = |why: Unplaced| UnplacedLabels { replica: id.0.clone(), reason: why.as_str() };
            unplaced.extend(Unplaced::ALL.map(|why| (labels(why), 0)));
            let mut by_why = BTreeMap::<&str, (Unplaced, i64)>::new();
            plan.unplaced.values().for_each(|why| by_why.entry(why.as_str()).or_insert((*why, 0)).1 += 1);
            unplaced.extend(by_why.into_values().map(|(why, n)| (labels(why), n)));
            for change in &plan.changes {
                let labels = ChangeLabels { kind: change.kind(), reason: reason_of(change) };
                self.changes.get_or_create(&labels).inc();
            }
        }
        self.unplaced.show(unplaced);
    }

    fn show_shards(&self, snapshot: &Snapshot) {
        let mut states = BTreeMap::new();
        for replica in &snapshot.observed.replicas {
            let labels = |state| ShardStateLabels { replica: replica.id.0.clone(), state };
            states.extend(["never_seen", "stale", "fresh"].map(|state| (labels(state), 0)));
            for shard in &replica.shards {
                let state = match &shard.seen {
                    Seen::Never => "never_seen",
                    Seen::Stale { .. } => "stale",
                    Seen::Fresh(_) => "fresh",
                };
                *states.entry(labels(state)).or_default() += 1;
            }
        }
        self.shards.show(states);
        let (mut series, mut targets) = (BTreeMap::new(), BTreeMap::new());
        for shard in shard_summaries(snapshot) {
            let labels = ShardLabels { replica: shard.replica.0, shard: shard.id.0 };
            series.insert(labels.clone(), i64::try_from(shard.series.0).unwrap_or(i64::MAX));
            targets.insert(labels, count(shard.targets));
        }
        self.shard_series.show(series);
        self.shard_targets.show(targets);
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
