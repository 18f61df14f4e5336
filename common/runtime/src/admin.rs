//! The endpoints every binary has: `/-/healthy`, `/-/ready`, `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
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
    Router::new()
        .route("/-/healthy", get(async || "healthy\n"))
        .route("/-/ready", get(ready).with_state(readiness))
        .route("/metrics", get(own_metrics).with_state(metrics))
}

async fn ready(State(readiness): State<watch::Receiver<Readiness>>) -> Response {
    let current = readiness.borrow().clone();
    match current {
        Readiness::Ready => "ready\n".into_response(),
        Readiness::NotReady(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn own_metrics(State(registry): State<Arc<Registry>>, headers: HeaderMap) -> Response {
    let mut open_metrics = String::new();
    if let Err(e) = encode(&mut open_metrics, &registry) {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("encode metrics: {e}\n")).into_response();
    }
    let wanted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if wanted.contains("application/openmetrics-text") {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, content_type)], open_metrics).into_response()
    } else {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        ([(header::CONTENT_TYPE, content_type)], plain_text(&open_metrics)).into_response()
    }
}

/// OpenMetrics as the older text format. The samples read the same in both; what differs is that a counter's metadata
/// carries the full name there, that units and the end marker do not exist, and that `info` is a gauge.
fn plain_text(open_metrics: &str) -> String {
    let types: std::collections::BTreeMap<&str, &str> =
        open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let Some((keyword, name, rest)) = metadata(line) else {
            if line != "# EOF" {
                text.extend([line, "\n"]);
            }
            continue;
        };
        let (suffix, kind) = match types.get(name).copied() {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") => ("", "untyped"),
            Some(other) => ("", other),
            None => ("", "untyped"),
        };
        match keyword {
            "HELP" => text.extend(["# HELP ", name, suffix, " ", rest, "\n"]),
            "TYPE" => text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]),
            _unit => {}
        }
    }
    text
}

/// Keyword, name and rest of a line such as `# TYPE up gauge`.
fn metadata(line: &str) -> Option<(&str, &str, &str)> {
    let (keyword, rest) = line.strip_prefix("# ")?.split_once(' ')?;
    let (name, rest) = rest.split_once(' ')?;
    matches!(keyword, "HELP" | "TYPE" | "UNIT").then_some((keyword, name, rest))
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::Request};
    use http_body_util::BodyExt as _;
    use prometheus_client::{
        metrics::{counter::Counter, gauge::Gauge},
        registry::Unit,
    };
    use tower::ServiceExt as _;

    use super::*;

    async fn get(router: &Router, path: &str, accept: &str) -> (StatusCode, String, String) {
        let request = Request::get(path).header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let content_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, content_type, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_binary_is_healthy_at_once_and_says_what_it_waits_for_until_it_is_ready() {
        let (tell, readiness) = watch::channel(Readiness::NotReady("waiting for the first report".to_owned()));
        let router = routes(Arc::new(Registry::default()), readiness);
        assert_eq!(get(&router, "/-/healthy", "*/*").await.0, StatusCode::OK);
        let (status, _, reason) = get(&router, "/-/ready", "*/*").await;
        assert_eq!((status, reason.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "waiting for the first report\n"));
        tell.send_replace(Readiness::Ready);
        assert_eq!(get(&router, "/-/ready", "*/*").await.0, StatusCode::OK);
    }

    #[tokio::test]
    async fn metrics_come_in_the_format_that_was_asked_for() {
        let mut registry = Registry::default();
        let rounds = Counter::<u64>::default();
        rounds.inc_by(3);
        registry.register("narthex_rounds", "Rounds", rounds);
        registry.register_with_unit("narthex_uptime", "Uptime", Unit::Seconds, Gauge::<i64>::default());
        let router = routes(Arc::new(registry), watch::channel(Readiness::Ready).1);

        let (_, content_type, body) = get(&router, "/metrics", "application/openmetrics-text;version=1.0.0").await;
        assert!(content_type.starts_with("application/openmetrics-text"));
        assert!(body.ends_with("# EOF\n"), "{body}");

        let (_, content_type, body) = get(&router, "/metrics", "text/plain").await;
        assert_eq!(content_type, "text/plain; version=0.0.4; charset=utf-8");
        let expected = "# HELP narthex_rounds_total Rounds.\n# TYPE narthex_rounds_total counter\n\
                        narthex_rounds_total 3\n\
                        # HELP narthex_uptime_seconds Uptime.\n# TYPE narthex_uptime_seconds gauge\n\
                        narthex_uptime_seconds 0\n";
        assert_eq!(body, expected);
    }
}
