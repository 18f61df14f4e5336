//! Which metrics the series of the whole fleet are of: asked of every shard when somebody wants to know.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use narthex_common::samples::{JobSamples, MOST, Samples, SamplesQuery};
use narthex_planner::world::Seen;
use serde::Serialize;

use crate::observe::{Observed, ObservedReplica, ObservedShard, ShardClient};

/// How long one shard may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many shards are asked at once: an answer may have megabytes.
const AT_ONCE: usize = 16;
/// So many times as many metrics are asked for as are shown, and at least so many: each shard has other largest ones.
const MORE: usize = 4;
const AT_LEAST: usize = 100;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct FleetSamples {
    status: &'static str,
    data: Samples,
    /// What is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// What all shards say. Every replica has all targets: of each job that one counts which knows most of it.
pub(super) async fn fleet_samples(observed: &Observed, client: &dyn ShardClient, query: &SamplesQuery) -> FleetSamples {
    let of_a_shard = SamplesQuery { limit: limit_of_a_shard(query.limit), ..query.clone() };
    let mut fleet = FleetSamples { status: "success", data: Samples::new(), warnings: Vec::new() };
    for replica in &observed.replicas {
        let (samples, warnings) = replica_samples(replica, client, &of_a_shard).await;
        fleet.warnings.extend(warnings);
        for (name, job) in samples {
            let known = fleet.data.entry(name).or_default();
            if job.total > known.total {
                *known = job;
            }
        }
    }
    fleet.data.values_mut().for_each(|job: &mut JobSamples| job.list_largest(query.limit));
    fleet
}

fn limit_of_a_shard(shown: usize) -> usize {
    if shown == 0 { 0 } else { shown.saturating_mul(MORE).clamp(AT_LEAST, MOST) }
}

async fn replica_samples(
    replica: &ObservedReplica,
    client: &dyn ShardClient,
    query: &SamplesQuery,
) -> (Samples, Vec<String>) {
    let (mut samples, mut warnings) = (Samples::new(), Vec::new());
    // Collected first: a stream over borrowed iterators is not general enough to be sent between threads.
    let asked: Vec<_> = replica.shards.iter().map(|shard| ask(shard, client, query)).collect();
    let mut answers = stream::iter(asked).buffered(AT_ONCE).zip(stream::iter(&replica.shards));
    while let Some((answer, shard)) = answers.next().await {
        match answer {
            Ok(jobs) => {
                for (name, job) in jobs {
                    samples.entry(name).or_default().add(job);
                }
            }
            Err(error) => {
                warnings.push(format!("{}/{} is not counted: {error:#}", replica.id, shard.address.id));
            }
        }
    }
    (samples, warnings)
}

async fn ask(shard: &ObservedShard, client: &dyn ShardClient, query: &SamplesQuery) -> anyhow::Result<Samples> {
    anyhow::ensure!(matches!(shard.seen, Seen::Fresh(_)), "it did not answer in the last round");
    tokio::time::timeout(PATIENCE, client.samples(&shard.address.url, query))
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")))
}
