//! The API as it is asked.

use anyhow::Context as _;
use axum::{Router, body::Body, http::Request};
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, watch};
use tower::ServiceExt as _;

use super::{
    super::{ApiState, Reload, TryConfig, router},
    plan::with_a_plan,
    *,
};
use crate::observe::fake::Fleet;

/// A config file that is not there, and whose text means what a test says.
#[derive(Default)]
pub(super) struct FakeConfig {
    /// What is discovered with any config.
    pub(super) found: Option<Discovered>,
    /// Told when an answer begins, and what it then waits for.
    pub(super) gate: Option<Arc<(Notify, Notify)>>,
}

impl Reload for FakeConfig {
    fn reload(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { anyhow::bail!("a preview reloads nothing") })
    }
}

impl TryConfig for FakeConfig {
    fn try_config(&self, _: Arc<Config>, text: String) -> BoxFuture<'_, anyhow::Result<Discovered>> {
        Box::pin(async move {
            if let Some(gate) = &self.gate {
                gate.0.notify_one();
                gate.1.notified().await;
            }
            self.found.clone().with_context(|| format!("{text} is refused"))
        })
    }
}

/// An API over a snapshot.
pub(super) fn api(snapshot: Snapshot) -> Router {
    api_with(snapshot, FakeConfig::default())
}

pub(super) fn api_with(snapshot: Snapshot, config: FakeConfig) -> Router {
    api_over(snapshot, config, Fleet::new(1, Fingerprint(0)))
}

pub(super) fn api_over(snapshot: Snapshot, config: FakeConfig, fleet: Arc<Fleet>) -> Router {
    let (_, newest) = watch::channel(Some(Arc::new(snapshot)));
    router(ApiState::new(newest, Arc::new(config), fleet, PrometheusVersion::V3_5))
}

/// The status and the answer to a request.
pub(super) async fn ask(api: &Router, request: Request<Body>) -> (u16, Value) {
    let response = api.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_else(|_| String::from_utf8_lossy(&body).into()))
}

pub(super) async fn get(api: &Router, path: &str) -> (u16, Value) {
    ask(api, Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_plan_is_asked_for_with_filters() {
    let api = api(with_a_plan());
    let (status, answer) = get(&api, "/api/v1/plan?limit=1&change=move").await;
    assert_eq!((status, &answer["status"]), (200, &json!("success")));
    assert_eq!(answer["data"]["replicas"][0]["changes"][0]["change"], "move");
    let (status, answer) = get(&api, "/api/v1/plan?limit=x").await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
}

#[tokio::test]
async fn the_history_of_a_target_says_where_it_is_and_how_it_got_there() {
    let api = api(with_a_plan());
    let (status, answer) = get(&api, &format!("/api/v1/targets/{}/history", target("a:9100").id)).await;
    assert_eq!(status, 200, "{answer}");
    let data = &answer["data"];
    assert_eq!((&data["url"], &data["discovered"]), (&json!("http://a:9100/metrics"), &json!(true)));
    let on = json!([{
        "replica": "replica-0", "shard": "shard-0", "state": "normal", "health": "up",
        "measured": {"exposed": 101, "kept": 100},
    }]);
    assert_eq!(data["on"], on);
    assert_eq!(data["recorded_since"], "1970-01-01T00:00:00.000Z");
    assert_eq!(data["oversized"], json!(["replica-0"]));
    assert_eq!(data["suspected"][0]["why"], "died_again");
    let [event] = &data["history"].as_array().unwrap()[..] else { panic!("{data}") };
    assert_eq!((&event["change"], &event["to_shard"]), (&json!("move"), &json!("shard-1")));
    assert_eq!(event["text"], "moves from shard-0 to shard-1: shard-0 holds 40,000 series more than its budget");
    serde_json::from_value::<super::super::TargetHistory>(data.clone()).unwrap();

    let (_, answer) = get(&api, &format!("/api/v1/targets/{}/history", target("b:9100").id)).await;
    let data = &answer["data"];
    assert_eq!((&data["on"], &data["unplaced"][0]["why"]), (&json!([]), &json!("waiting_for_shards")));
    assert_eq!(
        (&data["history"][0]["change"], &data["history"][0]["why"]),
        (&json!("unplaced"), &json!("waiting_for_shards"))
    );
    serde_json::from_value::<super::super::TargetHistory>(data.clone()).unwrap();
}

#[tokio::test]
async fn a_target_that_nobody_knows_and_an_id_that_is_none_are_different_errors() {
    let api = api(with_a_plan());
    let (status, answer) = get(&api, "/api/v1/targets/00000000000000ff/history").await;
    assert_eq!((status, &answer["errorType"]), (404, &json!("not_found")));
    assert_eq!(
        answer["error"],
        "target 00000000000000ff is not discovered, on no shard, and nothing is remembered of it"
    );
    let (status, answer) = get(&api, "/api/v1/targets/ff/history").await;
    assert_eq!((status, &answer["errorType"]), (400, &json!("bad_data")));
    assert_eq!(answer["error"], "read the target's id: \"ff\" is not a fingerprint of 16 hexadecimal digits");
}
