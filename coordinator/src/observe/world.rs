//! From what was observed to the planner's view of it.

use narthex_common::fingerprint::Fingerprint;
use narthex_planner::{
    memory::Memory,
    world::{HeldTarget, OwnBudget, ReplicaView, Seen, ShardReport, ShardView},
};

use super::{Observed, ObservedShard, ShardState};

/// The replicas as the planner sees them; `config` is the fingerprint of the coordinator's config.
#[must_use]
pub fn world_replicas(observed: &Observed, config: Fingerprint) -> Vec<ReplicaView> {
    observed
        .replicas
        .iter()
        .map(|replica| ReplicaView {
            id: replica.id.clone(),
            scalable: replica.scalable,
            wanted_shards: replica.wanted_shards,
            shards: replica.shards.iter().map(|s| (s.address.ordinal, shard_view(s, config))).collect(),
            memory: Memory::default(),
        })
        .collect()
}

fn shard_view(shard: &ObservedShard, config: Fingerprint) -> ShardView {
    let report = match &shard.seen {
        Seen::Never => Seen::Never,
        Seen::Stale { at, last } => Seen::Stale { at: *at, last: shard_report(last, config) },
        Seen::Fresh(state) => Seen::Fresh(shard_report(state, config)),
    };
    ShardView {
        id: shard.address.id.clone(),
        report,
        found_at_start: shard.found_at_start,
        budget: OwnBudget::default(),
    }
}

fn shard_report(state: &ShardState, config: Fingerprint) -> ShardReport {
    let held = |(id, assigned): (&_, &narthex_common::assignment::AssignedTarget)| {
        let report = state.targets.get(id);
        let held = HeldTarget {
            job: assigned.target.job.clone(),
            interval: assigned.target.interval().unwrap_or_default(),
            state: assigned.state,
            since: assigned.since,
            planned: assigned.load,
            load: report.and_then(|report| report.load),
            scrapes: report.map_or(0, |report| report.scrapes),
        };
        (*id, held)
    };
    ShardReport {
        config_matches: state.report.config == config,
        ready: state.report.prometheus.ready,
        head_series: state.report.prometheus.head_series,
        idle_since: state.report.idle_since,
        targets: state.assignment.targets.iter().map(held).collect(),
    }
}
