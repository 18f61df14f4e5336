//! The endpoints every binary has: `/-/healthy`, `/-/ready`, `/metrics`.

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// Why a binary is not ready, or that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Ready.
    Ready,
    /// Not yet, and why: `waiting for the first discovery of jobs a, b`.
    NotReady(String),
}

/// The routes `/-/healthy` (200 as soon as the process runs), `/-/ready` (503 with the reason until ready) and
/// `/metrics` (OpenMetrics or text, as asked for).
pub fn routes(metrics: Arc<Registry>, readiness: watch::Receiver<Readiness>) -> Router {
    let _ = (metrics, readiness);
    todo!()
}
