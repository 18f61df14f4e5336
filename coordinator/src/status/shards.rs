//! The shards as `/api/v1/shards` shows them.

use narthex_common::{
    assignment::{Revision, TargetState},
    load::{Load, Series},
    semantics::PrometheusVersion,
    shard::{Ordinal, ReplicaId, ShardId},
    time::Timestamp,
};
use narthex_planner::world::Seen;
use serde::{Deserialize, Serialize};

use super::snapshot::Snapshot;

/// One shard, for people.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardSummary {
    /// Its replica.
    pub replica: ReplicaId,
    /// Its place there.
    pub ordinal: Ordinal,
    /// Its name.
    pub id: ShardId,
    /// Its sidecar's API.
    pub url: String,
    /// Its Prometheus.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prometheus_url: Option<String>,
    /// Its Prometheus' version.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prometheus_version: Option<PrometheusVersion>,
    /// `ready`, `starting` (its Prometheus is not ready), `prometheus-down` (it does not answer), `config-differs`, `stale` or `never-seen`.
    pub state: String,
    /// Since when there is no answer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stale_since: Option<Timestamp>,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Targets it scrapes.
    pub targets: usize,
    /// Of these, targets that another shard is taking over.
    pub in_transfer: usize,
    /// Series it keeps, by its targets' last scrapes.
    pub series: Series,
    /// Series it scrapes, by its targets' last scrapes.
    pub total_series: Series,
    /// Series its Prometheus holds in memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub head_series: Option<Series>,
    /// Since when it has had no target.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub idle_since: Option<Timestamp>,
    /// The version of its assignment.
    pub revision: Revision,
}

/// All shards of a snapshot, by replica and ordinal.
#[must_use]
pub fn shard_summaries(snapshot: &Snapshot) -> Vec<ShardSummary> {
    let mut all = Vec::new();
    for replica in &snapshot.observed.replicas {
        for shard in &replica.shards {
            let state = shard.seen.last();
            let report = state.map(|state| &state.report);
            let targets = || state.into_iter().flat_map(|state| &state.assignment.targets);
            // A target that was never scraped here weighs what the coordinator planned it with.
            let load: Load = targets()
                .filter_map(|(id, assigned)| {
                    state.and_then(|state| state.targets.get(id)).and_then(|report| report.load).or(assigned.load)
                })
                .sum();
            all.push(ShardSummary {
                replica: replica.id.clone(),
                ordinal: shard.address.ordinal,
                id: shard.address.id.clone(),
                url: shard.address.url.to_string(),
                prometheus_url: report.map(|report| report.prometheus.url.clone()),
                prometheus_version: report.and_then(|report| report.prometheus.version),
                state: match &shard.seen {
                    Seen::Never => "never-seen",
                    Seen::Stale { .. } => "stale",
                    Seen::Fresh(state) if state.report.config != snapshot.config => "config-differs",
                    Seen::Fresh(state) if state.report.prometheus.silent_since.is_some() => "prometheus-down",
                    Seen::Fresh(state) if !state.report.prometheus.ready => "starting",
                    Seen::Fresh(_) => "ready",
                }
                .to_owned(),
                stale_since: match &shard.seen {
                    Seen::Stale { at, .. } => Some(*at),
                    Seen::Never | Seen::Fresh(_) => None,
                },
                error: shard.error.clone().or_else(|| {
                    let report = report?;
                    report.config_error.clone().or_else(|| Some(report.target_mismatch.as_ref()?.to_string()))
                }),
                targets: targets().count(),
                in_transfer: targets().filter(|(_, assigned)| assigned.state == TargetState::InTransfer).count(),
                series: load.kept,
                total_series: load.exposed,
                head_series: report.and_then(|report| report.prometheus.head_series),
                idle_since: report.and_then(|report| report.idle_since),
                revision: report.map_or(Revision(0), |report| report.revision),
            });
        }
    }
    all
}
