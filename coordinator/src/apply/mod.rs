//! Applying: the differences between what a plan wants and what was observed.
//!
//! [`changes()`] decides, [`apply`] acts. Nothing here is believed to have happened because it was asked for: the next
//! round looks. That is why the order within a round does not matter. When a move begins, its destination and its
//! source are told at once; whichever fails is still seen as it is by the next plan, and the source goes on scraping
//! until a later one lets it go.

mod changes;
mod reloads;
mod tell;

use std::{collections::BTreeSet, sync::Arc};

use narthex_common::{assignment::AssignmentUpdate, config::ConfigSources, report::ConfigFrom, shard::ReplicaId};
use narthex_planner::Plan;
use tracing::info;
use url::Url;

pub use self::{
    changes::changes,
    reloads::Reloads,
    tell::{Teller, Told, UnderWay},
};
use crate::{
    observe::Observed,
    provider::{Provider, ShardAddress},
};

/// What one shard is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardChange {
    /// The replica it belongs to.
    pub replica: ReplicaId,
    /// Where it is.
    pub address: ShardAddress,
    /// How its assignment changes.
    pub update: AssignmentUpdate,
}

/// What became of a round's changes.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The changes that shards have taken.
    pub taken: Vec<Arc<ShardChange>>,
    /// What failed and what that means, one line each. The next round sees what is, and plans again.
    pub errors: Vec<String>,
}

/// Tells the shards and the provider: puts every change at once, gives the config to the
/// shards whose turn it is, or has them read their own, and asks for the
/// number of shards that the plan wants. Shards that take too long are not waited for, see [`Teller`].
pub async fn apply(
    teller: &mut Teller,
    provider: &dyn Provider,
    observed: &Observed,
    plan: &Plan,
    reloads: &BTreeSet<Url>,
    config: &Arc<ConfigSources>,
    changes: Vec<ShardChange>,
) -> Applied {
    let changes = changes.into_iter().map(|change| Told::Assignment(Arc::new(change)));
    let shards = observed.replicas.iter().flat_map(|r| r.shards.iter().map(|shard| (&r.id, shard)));
    let reloads = shards.filter(|(_, shard)| reloads.contains(&shard.address.url)).map(|(replica, shard)| {
        let (replica, address) = (replica.clone(), shard.address.clone());
        match shard.seen.last().map(|state| state.report.config_from) {
            Some(ConfigFrom::Coordinator) => Told::Config { replica, address, config: Arc::clone(config) },
            Some(ConfigFrom::File) | None => Told::Reload { replica, address },
        }
    });
    let told: BTreeSet<Url> = changes.chain(reloads).filter_map(|told| teller.tell(told)).collect();
    let mut errors = Vec::new();
    scale_all(provider, observed, plan, &mut errors).await;
    let mut applied = teller.settle(&told).await;
    applied.errors.extend(errors);
    applied
}

async fn scale_all(provider: &dyn Provider, observed: &Observed, plan: &Plan, errors: &mut Vec<String>) {
    for replica in &observed.replicas {
        let Some(planned) = plan.replicas.get(&replica.id) else { continue };
        let (from, to) = (replica.wanted_shards, planned.wanted_shards);
        if !replica.scalable || from == to {
            continue;
        }
        let replica = &replica.id;
        match provider.scale(replica, to).await {
            Ok(()) => info!(%replica, from, to, "number of shards asked for"),
            Err(error) => {
                errors.push(format!("scale {replica} from {from} to {to} shards: {error:#}; trying again next round"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
