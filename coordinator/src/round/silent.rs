//! Shards that do not answer: said when it begins, with what follows from it, and when it ends.

use std::collections::BTreeSet;

use narthex_common::shard::{ReplicaId, ShardId};
use narthex_planner::world::Seen;
use tracing::{info, warn};

use crate::{
    observe::{Observed, ObservedShard},
    provider::ShardAddress,
};

/// The shards that did not answer in the last round.
#[derive(Debug, Default)]
pub(super) struct SilentShards(BTreeSet<(ReplicaId, ShardId)>);

impl SilentShards {
    /// Logs who began and who ceased to be silent; says what is wrong with everyone who is.
    pub(super) fn look(&mut self, observed: &Observed) -> Vec<String> {
        if observed.replicas.is_empty() {
            // The provider could not say who the shards are: nobody was asked.
            return Vec::new();
        }
        let mut silent = BTreeSet::new();
        let mut errors = Vec::new();
        for replica in &observed.replicas {
            for shard in &replica.shards {
                let key = (replica.id.clone(), shard.address.id.clone());
                let Some(error) = error_of(&replica.id, shard) else {
                    if self.0.contains(&key) {
                        info!(replica = %replica.id, shard = %shard.address.id, "the shard answers again");
                    }
                    continue;
                };
                if !self.0.contains(&key) {
                    warn!("{error}");
                }
                errors.push(error);
                silent.insert(key);
            }
        }
        self.0 = silent;
        errors
    }
}

/// Why a shard said nothing, and what that means.
fn error_of(replica: &ReplicaId, shard: &ObservedShard) -> Option<String> {
    let ShardAddress { id, url, .. } = &shard.address;
    let Some(why) = &shard.error else {
        let Seen::Fresh(state) = &shard.seen else { return None };
        let prometheus = &state.report.prometheus;
        // One that has never answered since its sidecar runs has not started yet.
        let is_down = prometheus.silent_since.is_some() && prometheus.version.is_some();
        return is_down.then(|| {
            format!(
                "the Prometheus of {id} of {replica}, whose sidecar is at {url}, does not answer; nobody scrapes its \
                 targets until it does or others take them over"
            )
        });
    };
    let consequence = match &shard.seen {
        Seen::Never => "it has not answered yet and gets no targets until it does",
        Seen::Stale { .. } => "it gets no new targets, and keeps those it has unless it stays silent for too long",
        Seen::Fresh(_) => "what it said is used all the same",
    };
    Some(format!("no report of {id} of {replica} at {url}: {why}; {consequence}"))
}
