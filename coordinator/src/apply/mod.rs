//! Applying: the differences between what a plan wants and what was observed.
//!
//! [`changes()`] decides, [`apply`] acts. Nothing here is believed to have happened because it was asked for: the next
//! round looks. That is why the order within a round does not matter. When a move begins, its destination and its
//! source are told at once; whichever fails is still seen as it is by the next plan, and the source goes on scraping
//! until a later one lets it go.

mod changes;
mod reloads;

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt as _};
use narthex_common::{assignment::AssignmentUpdate, shard::ReplicaId};
use narthex_planner::Plan;
use tracing::info;
use url::Url;

pub use self::{changes::changes, reloads::Reloads};
use crate::{
    observe::{Observed, ObservedShard, Refused, ShardClient},
    provider::{Provider, ShardAddress},
};

/// Shards told at once; see how many are asked at once.
const TOLD_AT_ONCE: usize = 128;

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
    pub taken: Vec<ShardChange>,
    /// What failed and what that means, one line each. The next round sees what is, and plans again.
    pub errors: Vec<String>,
}

/// Tells the shards and the provider: puts every change at once, reloads the shards whose turn it is, and asks for the
/// number of shards that the plan wants.
pub async fn apply(
    client: &dyn ShardClient,
    provider: &dyn Provider,
    observed: &Observed,
    plan: &Plan,
    reloads: &BTreeSet<Url>,
    changes: Vec<ShardChange>,
) -> Applied {
    let mut applied = Applied::default();
    put_all(client, changes, &mut applied).await;
    reload_all(client, observed, reloads, &mut applied).await;
    scale_all(provider, observed, plan, &mut applied).await;
    applied
}

async fn put_all(client: &dyn ShardClient, changes: Vec<ShardChange>, applied: &mut Applied) {
    let puts: Vec<_> = changes
        .into_iter()
        .map(|change| async move {
            let answer = client.put_assignment(&change.address.url, &change.update).await;
            (change, answer)
        })
        .collect();
    let answers: Vec<_> = stream::iter(puts).buffered(TOLD_AT_ONCE).collect().await;
    for (change, answer) in answers {
        let (replica, shard) = (&change.replica, &change.address.id);
        match answer {
            Ok(()) => {
                let AssignmentUpdate { revision, put, remove, .. } = &change.update;
                info!(%replica, %shard, revision = revision.0, put = put.len(), removed = remove.len(), "assigned");
                applied.taken.push(change);
            }
            Err(error) if error.is::<Refused>() => applied.errors.push(format!(
                "assign targets to {shard} of {replica}, which has changed since it was asked: {error:#}; looking again \
                 next round"
            )),
            Err(error) => applied.errors.push(format!(
                "assign targets to {shard} of {replica}: {error:#}; it goes on with those it has"
            )),
        }
    }
}

/// Tells every shard that runs another config to read it again: it is the same file, read at another time.
async fn reload_all(client: &dyn ShardClient, observed: &Observed, reloads: &BTreeSet<Url>, applied: &mut Applied) {
    let reloads: Vec<_> = observed
        .replicas
        .iter()
        .flat_map(|replica| replica.shards.iter().map(|shard| (&replica.id, shard)))
        .filter(|(_, shard)| reloads.contains(&shard.address.url))
        .map(|(replica, shard)| async move { (replica, shard, client.reload(&shard.address.url).await) })
        .collect();
    let answers: Vec<_> = stream::iter(reloads).buffered(TOLD_AT_ONCE).collect().await;
    for (replica, ObservedShard { address, .. }, answer) in answers {
        let shard = &address.id;
        match answer {
            Ok(()) => info!(%replica, %shard, "told to read the config again, it runs another one"),
            Err(error) => applied.errors.push(format!(
                "reload {shard} of {replica}, which runs another config: {error:#}; it goes on with the one it has and \
                 gets no new targets"
            )),
        }
    }
}

async fn scale_all(provider: &dyn Provider, observed: &Observed, plan: &Plan, applied: &mut Applied) {
    for replica in &observed.replicas {
        let Some(planned) = plan.replicas.get(&replica.id) else { continue };
        let (from, to) = (replica.wanted_shards, planned.wanted_shards);
        if !replica.scalable || from == to {
            continue;
        }
        let replica = &replica.id;
        match provider.scale(replica, to).await {
            Ok(()) => info!(%replica, from, to, "number of shards asked for"),
            Err(error) => applied
                .errors
                .push(format!("scale {replica} from {from} to {to} shards: {error:#}; trying again next round")),
        }
    }
}

#[cfg(test)]
mod tests;
