//! What the metrics of the fleet mean (`/api/v1/metadata`, `/api/v1/targets/metadata`): asked of the shards' Prometheus,
//! through the sidecars, when somebody wants to know, and put together without duplicates.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use narthex_planner::world::Seen;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;

use crate::observe::{Observed, ObservedReplica, ObservedShard, RefusedByPrometheus, ShardClient};

/// How long one shard may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many shards are asked at once: an answer may have megabytes.
const AT_ONCE: usize = 4;
/// So many entries are put together at most; a fleet of many targets has more than anybody can read.
const MOST: usize = 100_000;

/// What Prometheus knows of a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Metadata {
    #[serde(rename = "type")]
    kind: String,
    help: String,
    unit: String,
}

/// What Prometheus knows of a metric of one target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct TargetMetadata {
    target: BTreeMap<String, String>,
    /// Left out when only one metric was asked for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    metric: String,
    #[serde(rename = "type")]
    kind: String,
    help: String,
    unit: String,
}

/// The metadata of metrics by name, as one Prometheus has it.
type ByMetric = BTreeMap<String, BTreeSet<Metadata>>;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Found<T> {
    status: &'static str,
    data: T,
    /// What is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadQuery(pub(super) String);

/// What `/api/v1/metadata` is asked.
#[derive(Debug, Default)]
pub(super) struct MetadataQuery {
    limit: Option<usize>,
    limit_per_metric: Option<usize>,
    metric: Option<String>,
}

/// What `/api/v1/targets/metadata` is asked.
#[derive(Debug, Default)]
pub(super) struct TargetMetadataQuery {
    limit: Option<usize>,
    match_target: Option<String>,
    metric: Option<String>,
}

impl MetadataQuery {
    /// Reads a query, with Prometheus' own words for what is wrong with it.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*key {
                "limit" if asked.limit.is_none() => asked.limit = limit("limit", &value)?,
                "limit_per_metric" if asked.limit_per_metric.is_none() => {
                    // Unlike the other one, 0 is none.
                    asked.limit_per_metric = limit("limit_per_metric", &value)?.filter(|limit| *limit > 0);
                }
                "metric" if asked.metric.is_none() => asked.metric = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(asked)
    }
}

impl TargetMetadataQuery {
    /// Reads a query, with Prometheus' own words for what is wrong with it.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*key {
                "limit" if asked.limit.is_none() => asked.limit = limit("limit", &value)?,
                "match_target" if asked.match_target.is_none() => asked.match_target = Some(value.into_owned()),
                "metric" if asked.metric.is_none() => asked.metric = Some(value.into_owned()),
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// A limit; none when it is negative.
fn limit(name: &str, value: &str) -> Result<Option<usize>, String> {
    let number: i64 = value.parse().map_err(|_| format!("{name} must be a number"))?;
    Ok(usize::try_from(number).ok())
}

/// What all shards know of metrics.
pub(super) async fn metadata(
    observed: &Observed,
    client: &dyn ShardClient,
    query: &MetadataQuery,
) -> Result<Found<ByMetric>, BadQuery> {
    let of_a_shard = [
        Some(("limit", query.limit.unwrap_or(MOST).min(MOST).to_string())),
        query.limit_per_metric.map(|limit| ("limit_per_metric", limit.to_string())),
        query.metric.clone().map(|metric| ("metric", metric)),
    ];
    let ask = Ask { client, path: "/api/v1/metadata", query: of_a_shard.into_iter().flatten().collect() };
    let (per_metric, most) = (query.limit_per_metric.unwrap_or(usize::MAX), query.limit.unwrap_or(usize::MAX));
    let mut found = ask
        .everywhere(observed, |all: &mut ByMetric, told: ByMetric| {
            for (name, entries) in told {
                if all.len() < MOST || all.contains_key(&name) {
                    all.entry(name).or_default().extend(entries);
                }
            }
            all.len()
        })
        .await?;
    found.data = found.data.into_iter().take(most).collect();
    for entries in found.data.values_mut() {
        *entries = std::mem::take(entries).into_iter().take(per_metric).collect();
    }
    Ok(found)
}

/// What all shards know of the metrics of targets.
pub(super) async fn target_metadata(
    observed: &Observed,
    client: &dyn ShardClient,
    query: &TargetMetadataQuery,
) -> Result<Found<Vec<TargetMetadata>>, BadQuery> {
    let of_a_shard = [
        Some(("limit", query.limit.unwrap_or(MOST).min(MOST).to_string())),
        query.match_target.clone().map(|selector| ("match_target", selector)),
        query.metric.clone().map(|metric| ("metric", metric)),
    ];
    let ask = Ask { client, path: "/api/v1/targets/metadata", query: of_a_shard.into_iter().flatten().collect() };
    let found = ask
        .everywhere(observed, |all: &mut BTreeSet<TargetMetadata>, told: Vec<TargetMetadata>| {
            let room = MOST.saturating_sub(all.len());
            all.extend(told.into_iter().take(room));
            all.len()
        })
        .await?;
    let data = up_to_a_target(found.data, query.limit);
    Ok(Found { status: found.status, data, warnings: found.warnings })
}

/// As many as were asked for, and the rest of the last target, as Prometheus counts them.
fn up_to_a_target(all: BTreeSet<TargetMetadata>, limit: Option<usize>) -> Vec<TargetMetadata> {
    let Some(limit) = limit else { return all.into_iter().collect() };
    let mut some: Vec<TargetMetadata> = Vec::new();
    for entry in all {
        if some.len() >= limit && some.last().is_none_or(|last| last.target != entry.target) {
            break;
        }
        some.push(entry);
    }
    some
}

/// A question to the Prometheus of every shard.
struct Ask<'a> {
    client: &'a dyn ShardClient,
    path: &'static str,
    query: Vec<(&'static str, String)>,
}

impl Ask<'_> {
    /// What the shards of the first replica say that can be asked whole; every replica has all targets. If there is
    /// none, what any shard says. `add` adds what a shard said and says how much there is.
    async fn everywhere<T: DeserializeOwned + Send + 'static, A: Default + Send>(
        &self,
        observed: &Observed,
        add: impl Fn(&mut A, T) -> usize + Send + Sync,
    ) -> Result<Found<A>, BadQuery> {
        let (mut all, mut warnings, mut size) = (A::default(), Vec::new(), 0);
        for replica in &observed.replicas {
            let missing = self.of_replica(replica, |told| size = add(&mut all, told)).await?;
            if missing.is_empty() {
                warnings.clear();
                break;
            }
            warnings.extend(missing);
        }
        if size >= MOST {
            warnings
                .push(format!("there may be more than these {size}; ask for less, with limit, metric or match_target"));
        }
        Ok(Found { status: "success", data: all, warnings })
    }

    /// Takes what each shard of a replica says. What is missing.
    async fn of_replica<T: DeserializeOwned + Send + 'static>(
        &self,
        replica: &ObservedReplica,
        mut take: impl FnMut(T) + Send,
    ) -> Result<Vec<String>, BadQuery> {
        // Collected first: a stream over borrowed iterators is not general enough to be sent between threads.
        let asked: Vec<_> = replica.shards.iter().map(|shard| self.of_shard(shard)).collect();
        let mut answers = stream::iter(asked).buffered(AT_ONCE).zip(stream::iter(&replica.shards));
        let mut missing = Vec::new();
        while let Some((answer, shard)) = answers.next().await {
            match answer {
                Ok(told) => take(told),
                Err(error) => match error.downcast::<RefusedByPrometheus>() {
                    Ok(RefusedByPrometheus(reason)) => return Err(BadQuery(reason)),
                    Err(error) => {
                        missing.push(format!("what {}/{} knows is missing: {error:#}", replica.id, shard.address.id));
                    }
                },
            }
        }
        Ok(missing)
    }

    async fn of_shard<T: DeserializeOwned + Send + 'static>(&self, shard: &ObservedShard) -> anyhow::Result<T> {
        anyhow::ensure!(matches!(shard.seen, Seen::Fresh(_)), "it did not answer in the last round");
        let url: &Url = &shard.address.url;
        let answer = tokio::time::timeout(PATIENCE, self.client.prometheus(url, self.path, &self.query))
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {PATIENCE:?}")))?;
        Ok(tokio::task::spawn_blocking(move || serde_json::from_slice::<Answered<T>>(&answer)).await??.data)
    }
}

/// A successful answer of Prometheus.
#[derive(Deserialize)]
struct Answered<T> {
    data: T,
}
