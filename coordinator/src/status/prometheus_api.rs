//! What Prometheus' own API answers, answered for all shards together, so that whatever asks a Prometheus about its
//! targets can ask the coordinator. Queries are not among it: see the guide for a global view of the data.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
    routing::get,
};
use narthex_common::{job::JobName, labels::Labels};
use serde::Serialize;

use super::{
    api::{ApiState, Failure, off_the_async_threads, success},
    metadata::{self, BadQuery, MetadataQuery, TargetMetadataQuery},
    relabel_steps::relabel_steps,
    targets::{TargetsQuery, targets_view},
};

/// The routes.
pub(super) fn routes() -> Router<ApiState> {
    Router::new()
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/targets/metadata", get(target_metadata))
        .route("/api/v1/targets/relabel_steps", get(steps))
        .route("/api/v1/scrape_pools", get(scrape_pools))
        .route("/api/v1/metadata", get(metric_metadata))
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/status/buildinfo", get(build_info))
}

async fn targets(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = TargetsQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let snapshot = state.newest()?;
    let live = state.live.reports(&snapshot.observed).await;
    off_the_async_threads(move || success(targets_view(&snapshot, &live, &query))).await
}

/// The names of all jobs.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ScrapePools {
    scrape_pools: Vec<String>,
}

async fn scrape_pools(State(state): State<ApiState>) -> Result<Response, Failure> {
    let scrape_pools = state.newest()?.discovered.jobs.keys().map(ToString::to_string).collect();
    Ok(success(ScrapePools { scrape_pools }))
}

async fn metric_metadata(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = MetadataQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let snapshot = state.newest()?;
    // It is never closed.
    let _turn = state.asking_for_metadata.acquire().await;
    let found = metadata::metadata(&snapshot.observed, &*state.client, &query).await.map_err(refused)?;
    off_the_async_threads(move || Json(found).into_response()).await
}

async fn target_metadata(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = TargetMetadataQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let snapshot = state.newest()?;
    // It is never closed.
    let _turn = state.asking_for_metadata.acquire().await;
    let found = metadata::target_metadata(&snapshot.observed, &*state.client, &query).await.map_err(refused)?;
    off_the_async_threads(move || Json(found).into_response()).await
}

fn refused(BadQuery(reason): BadQuery) -> Failure {
    Failure::bad_data(reason)
}

/// A config as text.
#[derive(Debug, Serialize)]
struct ConfigText {
    yaml: String,
}

/// The user's own main file: what the shards run with is made of it.
async fn config(State(state): State<ApiState>) -> Result<Response, Failure> {
    let config = Arc::clone(&state.newest()?.discovered.config);
    off_the_async_threads(move || success(ConfigText { yaml: config.shown().to_yaml() })).await
}

/// Which program this is. Prometheus' fields that mean nothing here are empty.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    application: &'static str,
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

async fn build_info() -> Response {
    success(BuildInfo {
        application: "narthex-coordinator",
        version: env!("CARGO_PKG_VERSION"),
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    })
}

async fn steps(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let (mut pool, mut labels) = (String::new(), String::new());
    for (key, value) in url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes()) {
        match &*key {
            "scrapePool" if pool.is_empty() => pool = value.into_owned(),
            "labels" if labels.is_empty() => labels = value.into_owned(),
            _ => {}
        }
    }
    if pool.is_empty() {
        return Err(Failure::bad_data("no scrapePool parameter provided".to_owned()));
    }
    if labels.is_empty() {
        return Err(Failure::bad_data("no labels parameter provided".to_owned()));
    }
    let labels: Labels =
        serde_json::from_str(&labels).map_err(|error| Failure::bad_data(format!("error parsing labels: {error}")))?;
    let config = Arc::clone(&state.newest()?.discovered.config);
    let version = state.version;
    let steps = off_the_async_threads(move || {
        let job = config.job(&JobName::from(pool.as_str()));
        let job = job.ok_or_else(|| format!("error retrieving scrape config: scrape pool {pool:?} not found"))?;
        relabel_steps(job, version, &labels)
    });
    Ok(success(steps.await?.map_err(Failure::bad_data)?))
}
