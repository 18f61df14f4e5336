//! The API port: report and assignment for the coordinator, reload, health and metrics; all else goes to Prometheus.

use std::{error::Error, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::to_bytes,
    extract::{Query, RawQuery, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use http_body::Body as _;
use http_body_util::LengthLimitError;
use narthex_common::{
    api::{Answer, ErrorType, RELOAD, SHARD_ASSIGNMENT, SHARD_CONFIG, SHARD_REPORT, SHARD_SAMPLES},
    assignment::{Assignment, Revision, UpdateRefused},
    fingerprint::Fingerprint,
    report::{Cursor, Report},
    samples::SamplesQuery,
};
use narthex_runtime::admin::{self, Readiness};
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::{Mutex, watch};

use crate::{
    pass_through,
    prometheus::HttpPrometheus,
    proxy::TopMetrics,
    report::Reporter,
    shard::{ConfigNotTaken, PutRefused, ShardHandle},
};

/// An assignment of a million targets with long labels is smaller, and so is every config.
const MAX_PUT: usize = 256 << 20;
/// How long a body may take to arrive. The coordinator, which waits less, tries again in its next round.
const PUT_TIMEOUT: Duration = Duration::from_secs(30);

/// A body that is none that a coordinator would send.
#[derive(Debug, thiserror::Error)]
#[error("it is larger than {} MiB", MAX_PUT >> 20)]
struct TooLarge;

/// What the API answers from.
#[derive(Clone)]
pub struct Api {
    /// Changes things.
    pub shard: ShardHandle,
    /// Says how things are.
    pub reporter: Reporter,
    /// Says which metrics the targets have.
    pub top: TopMetrics,
    /// Whose turn it is to put something.
    pub putting: Arc<Mutex<()>>,
}

#[derive(Deserialize)]
struct Since {
    since: Option<Cursor>,
}

/// What a PUT of an assignment leads to.
#[derive(Debug, Serialize)]
struct InForce {
    revision: Revision,
}

/// What a PUT of a config leads to.
#[derive(Debug, Serialize)]
struct ConfigInForce {
    config: Fingerprint,
}

/// The routes of the API port. What is not known here goes to Prometheus.
pub fn routes(
    api: Api,
    prometheus: HttpPrometheus,
    metrics: Arc<Registry>,
    readiness: watch::Receiver<Readiness>,
) -> Router {
    let own = Router::new()
        .route(SHARD_REPORT, get(report))
        .route(SHARD_ASSIGNMENT, get(assignment).put(put_assignment))
        .route(SHARD_SAMPLES, get(samples))
        // As Kvass has it.
        .route("/api/v1/shard/samples/", get(samples))
        .route(SHARD_CONFIG, put(put_config))
        .route(RELOAD, post(reload).put(reload))
        .with_state(api);
    own.merge(admin::routes(metrics, readiness)).fallback_service(pass_through::routes(prometheus))
}

async fn report(State(api): State<Api>, Query(Since { since }): Query<Since>) -> Json<Answer<Report>> {
    Json(Answer::Success { data: api.reporter.report(since.as_ref()) })
}

async fn samples(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    match SamplesQuery::parse(query.as_deref().unwrap_or_default()) {
        Ok(query) => Json(Answer::Success { data: api.top.samples(&query) }).into_response(),
        Err(error) => failed(StatusCode::BAD_REQUEST, ErrorType::BadData, error),
    }
}

async fn assignment(State(api): State<Api>) -> Json<Answer<Arc<Assignment>>> {
    let data = Arc::clone(&api.reporter.shard.borrow().assignment);
    Json(Answer::Success { data })
}

async fn put_assignment(State(api): State<Api>, request: Request) -> Response {
    let update = match read_body(&api, request, "assignment update").await {
        Ok(update) => update,
        Err(answer) => return answer,
    };
    match api.shard.put(update).await {
        Ok(Ok(revision)) => Json(Answer::Success { data: InForce { revision } }).into_response(),
        Ok(Err(refused)) => {
            let (status, kind) = kind_of(&refused);
            if status.is_server_error() {
                tracing::error!(error = %refused, "assignment not taken; going on with the one in force");
            } else {
                tracing::warn!(reason = %refused, "assignment refused; going on with the one in force");
            }
            failed(status, kind, refused.to_string())
        }
        Err(ending) => failed(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Unavailable, ending.to_string()),
    }
}

/// Takes a config of the coordinator and answers once Prometheus has taken it, too.
async fn put_config(State(api): State<Api>, request: Request) -> Response {
    let config = match read_body(&api, request, "config").await {
        Ok(config) => config,
        Err(answer) => return answer,
    };
    match api.shard.take_config(config).await {
        Ok(Ok(config)) => Json(Answer::Success { data: ConfigInForce { config } }).into_response(),
        Ok(Err(error)) => {
            let (status, kind) = match &error {
                ConfigNotTaken::HasFile(_) => (StatusCode::CONFLICT, ErrorType::Conflict),
                ConfigNotTaken::Bad(_) => (StatusCode::BAD_REQUEST, ErrorType::BadData),
                ConfigNotTaken::NotInForce(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorType::Execution),
            };
            failed(status, kind, error.to_string())
        }
        Err(ending) => failed(StatusCode::SERVICE_UNAVAILABLE, ErrorType::Unavailable, ending.to_string()),
    }
}

/// Reads what is put, or says why it cannot be. One at a time: a large one is held in memory while it is read and
/// parsed.
async fn read_body<T: DeserializeOwned + Send + 'static>(
    api: &Api,
    request: Request,
    what: &str,
) -> Result<T, Response> {
    let _turn = api.putting.lock().await;
    match tokio::time::timeout(PUT_TIMEOUT, parse_body(request)).await {
        Ok(Ok(parsed)) => Ok(parsed),
        Ok(Err(error)) => {
            let is_too_large = error.is::<TooLarge>();
            let status = if is_too_large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
            Err(failed(status, ErrorType::BadData, format!("read the {what}: {error:#}")))
        }
        Err(_elapsed) => {
            let error = format!("the {what} did not come within {PUT_TIMEOUT:?}");
            Err(failed(StatusCode::REQUEST_TIMEOUT, ErrorType::BadData, error))
        }
    }
}

async fn parse_body<T: DeserializeOwned + Send + 'static>(request: Request) -> anyhow::Result<T> {
    // One that says beforehand that it is too large is not read at all.
    if request.body().size_hint().lower() > MAX_PUT as u64 {
        return Err(TooLarge.into());
    }
    let body = match to_bytes(request.into_body(), MAX_PUT).await {
        Err(error) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => return Err(TooLarge.into()),
        read => read?,
    };
    // Off the threads that serve scrapes: a large update takes seconds to parse.
    Ok(tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await??)
}

/// As Prometheus answers it: nothing, or the reason as text.
async fn reload(State(api): State<Api>) -> Response {
    match api.shard.reload().await {
        Ok(Ok(())) => StatusCode::OK.into_response(),
        Ok(Err(error)) => {
            (StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {error}\n")).into_response()
        }
        Err(ending) => (StatusCode::SERVICE_UNAVAILABLE, format!("{ending}\n")).into_response(),
    }
}

const fn kind_of(refused: &PutRefused) -> (StatusCode, ErrorType) {
    match refused {
        PutRefused::OtherConfig { .. } | PutRefused::Update(UpdateRefused::OtherBase { .. }) => {
            (StatusCode::CONFLICT, ErrorType::Conflict)
        }
        PutRefused::Update(UpdateRefused::WrongId { .. })
        | PutRefused::UnknownJob { .. }
        | PutRefused::OtherRelabeling { .. } => (StatusCode::BAD_REQUEST, ErrorType::BadData),
        PutRefused::NotKept(_) => (StatusCode::INTERNAL_SERVER_ERROR, ErrorType::Internal),
    }
}

fn failed(status: StatusCode, error_type: ErrorType, error: String) -> Response {
    (status, Json(Answer::<()>::Error { error_type, error })).into_response()
}
