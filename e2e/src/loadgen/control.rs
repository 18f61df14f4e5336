//! The control API: `GET /targets`, `GET /targets/{i}`, `PATCH /targets/{i}`.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::target::Target;

#[derive(Clone)]
struct Controlled {
    targets: Arc<[Target]>,
    addresses: Arc<[SocketAddr]>,
}

impl Controlled {
    /// What is told about a target: no secrets, they are not for whoever can reach this port.
    fn view(&self, index: usize) -> Option<Value> {
        let (target, address) = (self.targets.get(index)?, self.addresses.get(index)?);
        let mut settings = serde_json::to_value(target.settings()).ok()?;
        for secret in ["/basicAuth/password", "/bearer"] {
            if let Some(value) = settings.pointer_mut(secret) {
                *value = json!("<secret>");
            }
        }
        Some(json!({
            "index": index,
            "address": address.to_string(),
            "scrapes": target.scrapes(),
            "currentSeries": target.current_series(),
            "settings": settings,
        }))
    }
}

/// Serves the API until the end.
pub(super) async fn serve(listener: TcpListener, targets: Arc<[Target]>, addresses: Vec<SocketAddr>) {
    let router = Router::new()
        .route("/targets", get(list))
        .route("/targets/{index}", get(show).patch(change))
        .with_state(Controlled { targets, addresses: addresses.into() });
    if let Err(e) = axum::serve(listener, router).await {
        tracing::error!(error = %e, "control API ended");
    }
}

async fn list(State(controlled): State<Controlled>) -> Json<Value> {
    Json((0..controlled.targets.len()).filter_map(|index| controlled.view(index)).collect())
}

async fn show(State(controlled): State<Controlled>, Path(index): Path<usize>) -> Response {
    match controlled.view(index) {
        Some(view) => Json(view).into_response(),
        None => (StatusCode::NOT_FOUND, format!("no target {index}\n")).into_response(),
    }
}

/// Takes the body whatever its `Content-Type` says: `curl -d` says the wrong one.
async fn change(State(controlled): State<Controlled>, Path(index): Path<usize>, body: Bytes) -> Response {
    let Some(target) = controlled.targets.get(index) else {
        return (StatusCode::NOT_FOUND, format!("no target {index}\n")).into_response();
    };
    let changed = serde_json::from_slice(&body).map_err(anyhow::Error::from).and_then(|change| target.change(&change));
    match changed {
        Ok(()) => show(State(controlled), Path(index)).await,
        Err(e) => (StatusCode::BAD_REQUEST, format!("{e:#}\n")).into_response(),
    }
}
