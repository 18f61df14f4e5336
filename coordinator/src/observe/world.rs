//! From what was observed to the planner's view of it.

use narthex_common::{assignment::AssignedTarget, fingerprint::Fingerprint, report::TargetReport};
use narthex_planner::{
    memory::Memory,
    world::{HeldTarget, ReplicaView, Seen, ShardReport, ShardView, TargetMap},
};

#[cfg(test)]
use super::Observed;
use super::{ObservedReplica, ObservedShard, ShardState};
use crate::round::scrape_interval;

/// The replicas as the planner sees them, from nothing; `config` is the fingerprint of the coordinator's config. A round
/// has most of it already.
#[cfg(test)]
pub(crate) fn world_replicas(observed: &Observed, config: Fingerprint) -> Vec<ReplicaView> {
    let report = |state: &ShardState| {
        let held = state.assignment.targets.iter().map(|(id, assigned)| (*id, held(assigned, state.targets.get(id))));
        shard_report(state, config, held.collect())
    };
    let view = |replica: &ObservedReplica| {
        let shards = replica.shards.iter().map(|shard| {
            let seen = match &shard.seen {
                Seen::Never => Seen::Never,
                Seen::Stale { at, last } => Seen::Stale { at: *at, last: report(last) },
                Seen::Fresh(state) => Seen::Fresh(report(state)),
            };
            shard_view(shard, seen)
        });
        replica_view(replica, shards.collect(), Memory::default())
    };
    observed.replicas.iter().map(view).collect()
}

/// A replica as the planner sees it.
pub(crate) fn replica_view(replica: &ObservedReplica, shards: Vec<ShardView>, memory: Memory) -> ReplicaView {
    let ordinals = replica.shards.iter().map(|shard| shard.address.ordinal);
    ReplicaView {
        id: replica.id.clone(),
        scalable: replica.scalable,
        wanted_shards: replica.wanted_shards,
        shards: ordinals.zip(shards).collect(),
        memory,
    }
}

/// A shard as the planner sees it.
pub(crate) fn shard_view(shard: &ObservedShard, report: Seen<ShardReport>) -> ShardView {
    ShardView {
        id: shard.address.id.clone(),
        report,
        found_at_start: shard.found_at_start,
        budget: shard.address.budget,
    }
}

/// What a shard said, about the targets that it has.
pub(crate) fn shard_report(state: &ShardState, config: Fingerprint, targets: TargetMap<HeldTarget>) -> ShardReport {
    ShardReport {
        config_matches: state.report.config == config,
        ready: state.report.prometheus.ready,
        head_series: state.report.prometheus.head_series,
        idle_since: state.report.idle_since,
        targets,
    }
}

/// A target on a shard, from its assignment and what the shard has told of it.
pub(crate) fn held(assigned: &AssignedTarget, report: Option<&TargetReport>) -> HeldTarget {
    HeldTarget {
        job: assigned.target.job.clone(),
        interval: scrape_interval(&assigned.target),
        state: assigned.state,
        since: assigned.since,
        planned: assigned.load,
        load: report.and_then(|report| report.load),
        scrapes: report.map_or(0, |report| report.scrapes),
    }
}
