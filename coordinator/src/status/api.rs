//! The coordinator's HTTP API.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Path, RawQuery, State, rejection::BytesRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use narthex_common::{
    api::{Answer, ErrorType},
    fingerprint::NotAFingerprint,
    samples::SamplesQuery,
    semantics::PrometheusVersion,
    target::TargetId,
};
use narthex_planner::Round;
use serde::Serialize;
use tokio::sync::{Semaphore, watch};

use super::{
    Snapshot, TryConfig,
    live::Live,
    plan::{PlanQuery, Planned, Targets, plan_view},
    preview::{self, PreviewRequest},
    prometheus_api,
    samples::fleet_samples,
    shard_summaries,
    target_history::target_history,
};
use crate::observe::ShardClient;

/// How large a request for a preview may be: configs of thousands of jobs have a few megabytes.
const MAX_BODY: usize = 16 << 20;

/// Reads the config again: what `POST /-/reload` and SIGHUP do.
pub trait Reload: Send + Sync {
    /// Reads, checks and applies the config file.
    ///
    /// # Errors
    /// When the file is broken; the last good one stays in force.
    fn reload(&self) -> BoxFuture<'_, anyhow::Result<()>>;
}

/// What the API reads.
#[derive(Clone)]
pub struct ApiState {
    snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
    /// What Prometheus the shards run.
    pub(super) version: PrometheusVersion,
    reload: Arc<dyn Reload>,
    try_config: Arc<dyn TryConfig>,
    pub(super) live: Arc<Live>,
    pub(super) client: Arc<dyn ShardClient>,
    /// One at a time asks all shards which metrics they have: each may answer with megabytes.
    asking_for_samples: Arc<Semaphore>,
    /// One at a time asks all shards what metrics mean, for the same reason.
    pub(super) asking_for_metadata: Arc<Semaphore>,
    /// One preview at a time: a large one keeps a core busy for a minute.
    previews: Arc<Semaphore>,
}

impl ApiState {
    /// An API over the newest round (none before the first), what reads configs, and what asks the shards.
    #[must_use]
    pub fn new(
        snapshot: watch::Receiver<Option<Arc<Snapshot>>>,
        config: Arc<impl Reload + TryConfig + 'static>,
        client: Arc<dyn ShardClient>,
        version: PrometheusVersion,
    ) -> Self {
        let (reload, try_config) = (Arc::clone(&config) as _, config as _);
        Self {
            snapshot,
            version,
            reload,
            try_config,
            live: Arc::new(Live::new(Arc::clone(&client))),
            client,
            asking_for_samples: Arc::new(Semaphore::new(1)),
            asking_for_metadata: Arc::new(Semaphore::new(1)),
            previews: Arc::new(Semaphore::new(1)),
        }
    }

    /// The newest round. Cloned out, so that a long answer does not keep the next one from being published.
    pub(super) fn newest(&self) -> Result<Arc<Snapshot>, Failure> {
        self.snapshot.borrow().clone().ok_or_else(|| Failure {
            status: StatusCode::SERVICE_UNAVAILABLE,
            error_type: ErrorType::Unavailable,
            error: "the first round is not over yet: see /-/ready for what it waits for".to_owned(),
        })
    }
}

/// The API's routes.
pub fn router(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/targets/{id}/history", get(history))
        .route("/api/v1/plan", get(plan))
        .route("/api/v1/plan/preview", post(preview).layer(DefaultBodyLimit::max(MAX_BODY)))
        .route("/api/v1/shards", get(shards))
        .route("/api/v1/samples", get(samples))
        // As Kvass has it.
        .route("/api/v1/samples/", get(samples))
        .route("/debug/world", get(world))
        .route("/debug/round", get(round))
        .route("/-/reload", post(reload).put(reload))
        .merge(prometheus_api::routes())
        .with_state(state)
}

async fn shards(State(state): State<ApiState>) -> Result<Response, Failure> {
    Ok(success(shard_summaries(&*state.newest()?)))
}

/// Which metrics the series are of.
async fn samples(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = SamplesQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let snapshot = state.newest()?;
    // It is never closed.
    let _turn = state.asking_for_samples.acquire().await;
    let samples = fleet_samples(&snapshot.observed, &*state.client, &query).await;
    off_the_async_threads(move || Json(samples).into_response()).await
}

async fn plan(State(state): State<ApiState>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = PlanQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let snapshot = state.newest()?;
    off_the_async_threads(move || {
        let Snapshot { world, discovered, observed, plan, errors, took, planning, .. } = &*snapshot;
        let targets = Targets { world, discovered, observed };
        success(plan_view(&Planned { targets, plan, errors, round: *took, planning: *planning }, &query))
    })
    .await
}

/// What would be planned if something were different. Nothing becomes different.
async fn preview(
    State(state): State<ApiState>,
    RawQuery(query): RawQuery,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Failure> {
    let query = PlanQuery::parse(query.as_deref().unwrap_or_default()).map_err(Failure::bad_data)?;
    let body = body.map_err(|error| Failure { status: error.status(), ..Failure::bad_data(error.body_text()) })?;
    let mut request = PreviewRequest::parse(&body).map_err(Failure::bad_data)?;
    let turn = Arc::clone(&state.previews).try_acquire_owned().map_err(|_| Failure {
        status: StatusCode::TOO_MANY_REQUESTS,
        error_type: ErrorType::Unavailable,
        error: "another preview is being made; ask again when it is done".to_owned(),
    })?;
    let snapshot = state.newest()?;
    let discovered = match request.config.take() {
        Some(text) => {
            let running = Arc::clone(&snapshot.discovered.config);
            let found = state.try_config.try_config(running, text).await;
            Some(found.map_err(|error| Failure::bad_data(format!("{error:#}")))?)
        }
        None => None,
    };
    let view = off_the_async_threads(move || {
        let view = preview::preview(&snapshot, &request, discovered.as_ref(), &query);
        drop(turn);
        view
    });
    Ok(success(view.await?.map_err(Failure::bad_data)?))
}

async fn history(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, Failure> {
    let fingerprint =
        id.parse().map_err(|error: NotAFingerprint| Failure::bad_data(format!("read the target's id: {error}")))?;
    let snapshot = state.newest()?;
    let found = off_the_async_threads(move || target_history(&snapshot, TargetId(fingerprint))).await?;
    found.map(success).ok_or_else(|| Failure {
        status: StatusCode::NOT_FOUND,
        error_type: ErrorType::NotFound,
        error: format!("target {id} is not discovered, on no shard, and nothing is remembered of it"),
    })
}

/// The planner's exact input and its answer, bare, so that it can be saved and replayed.
async fn round(State(state): State<ApiState>) -> Result<Response, Failure> {
    let snapshot = state.newest()?;
    off_the_async_threads(move || {
        let Snapshot { policy, world, plan, .. } = &*snapshot;
        Json(Round { policy: policy.clone(), world: world.clone(), plan: plan.clone() }).into_response()
    })
    .await
}

/// The planner's exact input, bare, so that it can be saved as a scenario.
async fn world(State(state): State<ApiState>) -> Result<Response, Failure> {
    Ok(Json(&state.newest()?.world).into_response())
}

async fn reload(State(state): State<ApiState>) -> Response {
    match state.reload.reload().await {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            format!("failed to reload config: {error:#}\n"),
        )
            .into_response(),
    }
}

/// Does work whose length grows with the number of targets where it keeps no other request waiting.
pub(super) async fn off_the_async_threads<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        error_type: ErrorType::Internal,
        error: format!("put the answer together: {error}"),
    })
}

pub(super) fn success(data: impl Serialize) -> Response {
    Json(Answer::Success { data }).into_response()
}

/// Why there is no data.
pub(super) struct Failure {
    status: StatusCode,
    error_type: ErrorType,
    error: String,
}

impl Failure {
    pub(super) fn bad_data(error: String) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error_type: ErrorType::BadData, error }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let Self { status, error_type, error } = self;
        (status, Json(Answer::<()>::Error { error_type, error })).into_response()
    }
}
