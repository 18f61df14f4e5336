//! Another number of shards.

use narthex_common::{
    shard::{Ordinal, ShardId},
    time::Timestamp,
};
use narthex_planner::world::{KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView, TargetMap, TargetView};

/// Gives a replica so many shards: new ones are empty and ready, and the highest go. What they measured is still known
/// of the `targets` that they leave behind.
pub(super) fn set_shards(replica: &mut ReplicaView, count: u32, targets: &mut TargetMap<TargetView>, now: Timestamp) {
    let prefix = name_prefix(replica);
    for gone in replica.shards.split_off(&Ordinal(count)).into_values() {
        let (Seen::Stale { last: report, .. } | Seen::Fresh(report)) = gone.report else { continue };
        for (id, held) in report.targets {
            if let (Some(load), Some(target)) = (held.load.or(held.planned), targets.get_mut(&id)) {
                target.probed = KnownLoad::Measured(load);
            }
        }
    }
    for ordinal in 0..count {
        replica
            .shards
            .entry(Ordinal(ordinal))
            .or_insert_with(|| empty_shard(ShardId(format!("{prefix}{ordinal}")), now));
    }
    replica.wanted_shards = count;
}

fn empty_shard(id: ShardId, now: Timestamp) -> ShardView {
    let report = ShardReport {
        config_matches: true,
        ready: true,
        head_series: None,
        idle_since: Some(now),
        targets: TargetMap::new(),
    };
    ShardView { id, report: Seen::Fresh(report), found_at_start: None, budget: OwnBudget::default() }
}

/// What the names of a replica's shards begin with, when they end with their ordinals.
fn name_prefix(replica: &ReplicaView) -> String {
    let last = replica.shards.last_key_value();
    let prefix = last.and_then(|(ordinal, shard)| shard.id.0.strip_suffix(&ordinal.to_string()));
    prefix.unwrap_or("shard-").to_owned()
}
