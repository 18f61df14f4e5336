//! The targets as `/api/v1/targets` shows them: Prometheus' own shape, with what Narthex knows besides.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{
    job::job_pattern, labels, labels::Labels, load::Series, report::Health, shard::ReplicaId, target::TargetId,
    time::Timestamp,
};
use narthex_planner::reason::Unplaced;
use regex::Regex;
use serde::Serialize;

use super::{
    live::LiveReports,
    snapshot::{Scraped, Snapshot},
    words::unplaced_in_words,
};
use crate::discover::ActiveTarget;

/// Prometheus writes this moment where there was none: Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What is asked for.
#[derive(Debug, Default)]
pub(super) struct TargetsQuery {
    /// `active`, `dropped`, or both.
    pub(super) state: Option<String>,
    /// Only this job.
    pub(super) scrape_pool: Option<String>,
    /// Kvass' `statistics`: `only` or `with`.
    pub(super) statistics: Option<String>,
    /// Kvass' `job`: only jobs that match one of these.
    pub(super) jobs: Vec<Regex>,
    /// Kvass' `health`: only targets of one of these.
    pub(super) health: Vec<String>,
}

impl TargetsQuery {
    /// Reads a query.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut asked = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "state" => asked.state = Some(value.to_lowercase()).filter(|state| !state.is_empty()),
                "scrapePool" => asked.scrape_pool = Some(value.into_owned()).filter(|pool| !pool.is_empty()),
                "statistics" if value == "only" || value == "with" => asked.statistics = Some(value.into_owned()),
                "statistics" if value.is_empty() => {}
                "statistics" => return Err(format!("statistics is {value:?}; it may be \"only\" or \"with\"")),
                "job" => asked.jobs.push(job_pattern(&value, asked.jobs.len())?),
                "health" => asked.health.push(value.into_owned()),
                _ => {}
            }
        }
        Ok(asked)
    }
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetsView {
    active_targets: Vec<ActiveTargetView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    active_statistics: Option<Vec<JobStatistics>>,
    dropped_targets: Vec<DroppedTargetView>,
    /// Of all jobs, whichever is asked about; none when nobody asks about dropped targets.
    dropped_target_counts: Option<BTreeMap<String, usize>>,
}

/// One target that is to be scraped.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ActiveTargetView {
    discovered_labels: Labels,
    labels: BTreeMap<String, String>,
    scrape_pool: String,
    scrape_url: String,
    global_url: String,
    last_error: String,
    last_scrape: String,
    last_scrape_duration: f64,
    health: Health,
    scrape_interval: String,
    scrape_timeout: String,
    /// Series it keeps after metric relabeling.
    series: Series,
    /// Series it exposes.
    total_series: Series,
    /// The shards that scrape it.
    shards: Vec<String>,
    /// What its history is asked by.
    id: TargetId,
    /// Whether the shards relabel it: neither its final labels nor its URL are known here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    relabeled_by_shard: bool,
    /// Whether the shard that relabels it does not scrape it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dropped_by_shard: bool,
    /// The replicas in which no shard takes it, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unplaced: BTreeMap<ReplicaId, UnplacedHere>,
}

/// Why no shard of a replica takes a target.
#[derive(Debug, Serialize)]
struct UnplacedHere {
    reason: Unplaced,
    text: &'static str,
}

/// One target that relabeling dropped.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct DroppedTargetView {
    discovered_labels: Labels,
    scrape_pool: String,
}

/// How many targets of a job are in which health, with Kvass' field names.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct JobStatistics {
    job_name: String,
    total: usize,
    health: BTreeMap<&'static str, usize>,
}

/// The targets of a snapshot that a query asks for.
#[must_use]
pub(super) fn targets_view(snapshot: &Snapshot, live: &LiveReports, query: &TargetsQuery) -> TargetsView {
    let only_statistics = query.statistics.as_deref() == Some("only");
    let wants = |state: &str| query.state.as_deref().is_none_or(|asked| asked == state || asked == "any");
    let scraped = snapshot.scraped(live);
    let counts = snapshot.discovered.jobs.iter().map(|(job, found)| (job.to_string(), found.dropped_count));
    let mut view = TargetsView {
        active_targets: Vec::new(),
        active_statistics: query.statistics.as_ref().map(|_| Vec::new()),
        dropped_targets: Vec::new(),
        dropped_target_counts: wants("dropped").then(|| counts.collect()),
    };
    for (job, found) in &snapshot.discovered.jobs {
        let pool = job.as_str();
        if query.scrape_pool.as_deref().is_some_and(|asked| asked != pool) {
            continue;
        }
        if wants("dropped") && !only_statistics {
            let dropped = found.dropped.iter().cloned();
            view.dropped_targets.extend(
                dropped.map(|discovered_labels| DroppedTargetView { discovered_labels, scrape_pool: pool.to_owned() }),
            );
        }
        if !query.jobs.is_empty() && !query.jobs.iter().any(|asked| asked.is_match(pool)) {
            continue;
        }
        let mut statistics =
            JobStatistics { job_name: pool.to_owned(), total: found.active.len(), health: BTreeMap::new() };
        let nothing = Scraped::default();
        for (id, active) in &found.active {
            let known = scraped.get(id).unwrap_or(&nothing);
            let health = known.report.map_or(Health::Unknown, |report| report.health);
            *statistics.health.entry(health.as_str()).or_default() += 1;
            let asked_for = query.health.is_empty() || query.health.iter().any(|asked| asked == health.as_str());
            if asked_for && wants("active") && !only_statistics {
                view.active_targets.push(active_view(snapshot, pool, active, known));
            }
        }
        if let Some(all) = &mut view.active_statistics {
            all.push(statistics);
        }
    }
    view
}

fn active_view(snapshot: &Snapshot, pool: &str, active: &ActiveTarget, known: &Scraped<'_>) -> ActiveTargetView {
    let target = &active.target;
    let load = known.report.and_then(|report| report.load).or_else(|| snapshot.probed_load(target.id));
    let unplaced = snapshot.plan.replicas.iter().filter_map(|(replica, plan)| {
        let reason = *plan.unplaced.get(&target.id)?;
        Some((replica.clone(), UnplacedHere { reason, text: unplaced_in_words(reason) }))
    });
    let final_labels = target.labels.visible().filter(|_| !target.is_relabeled_by_shard());
    let label = |name| target.labels.get(name).unwrap_or_default().to_owned();
    ActiveTargetView {
        discovered_labels: active.discovered_labels.clone(),
        labels: final_labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        scrape_pool: pool.to_owned(),
        scrape_url: target.url.clone(),
        global_url: target.url.clone(),
        last_error: known.report.map(|report| report.last_error.clone()).unwrap_or_default(),
        last_scrape: known
            .report
            .and_then(|report| report.last_scrape)
            .map_or_else(|| NEVER.to_owned(), |at: Timestamp| at.to_string()),
        last_scrape_duration: known.report.map_or(Duration::ZERO, |report| report.last_scrape_duration).as_secs_f64(),
        health: known.report.map_or(Health::Unknown, |report| report.health),
        scrape_interval: label(labels::SCRAPE_INTERVAL),
        scrape_timeout: label(labels::SCRAPE_TIMEOUT),
        series: load.unwrap_or_default().kept,
        total_series: load.unwrap_or_default().exposed,
        shards: known.shards.iter().map(|&id| id.to_owned()).collect(),
        id: target.id,
        relabeled_by_shard: target.is_relabeled_by_shard(),
        dropped_by_shard: known.report.is_some_and(|report| report.dropped),
        unplaced: unplaced.collect(),
    }
}
