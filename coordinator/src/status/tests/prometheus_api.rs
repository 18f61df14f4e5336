//! The part of the API that is Prometheus' own. That real ones answer alike, the end-to-end tests show.

use super::{
    http::{FakeConfig, api, api_over, get},
    *,
};
use crate::observe::fake::{FakeShard, Fleet, Link};

/// A snapshot of the shards of a fleet, and an API over both.
fn fleet_api(fleet: &Arc<Fleet>, shards: u32) -> axum::Router {
    let mut snapshot = snapshot();
    let one = |ordinal: u32| {
        let mut shard = shard(target("a:9100"), Load::ZERO, Fingerprint(0));
        shard.address.id = ShardId(format!("shard-{ordinal}"));
        shard.address.url = format!("http://shard-{ordinal}.replica-0:8080/").parse().unwrap();
        shard
    };
    let replica = |id: &str, shards: std::ops::Range<u32>| ObservedReplica {
        id: ReplicaId(id.into()),
        scalable: false,
        wanted_shards: 1,
        shards: shards.map(one).collect(),
    };
    let half = shards / 2;
    let replicas = vec![replica("one", 0..half), replica("two", half..shards)];
    snapshot.observed = Arc::new(Observed { replicas });
    api_over(snapshot, FakeConfig::default(), Arc::clone(fleet))
}

/// Lets the Prometheus of a shard answer.
fn answers(fleet: &Fleet, shard: u32, path: &'static str, data: Value) {
    fleet.with_shard(shard, |shard: &mut FakeShard| {
        shard.prometheus_answers.insert(path, Ok(json!({"status": "success", "data": data})))
    });
}

fn meaning(help: &str) -> Value {
    json!({"type": "gauge", "help": help, "unit": ""})
}

fn of_target(instance: &str, metric: &str) -> Value {
    json!({"target": {"instance": instance}, "metric": metric, "type": "gauge", "help": "h", "unit": ""})
}

#[tokio::test]
async fn scrape_pools_are_the_jobs() {
    let (status, answer) = get(&api(snapshot()), "/api/v1/scrape_pools").await;
    assert_eq!((status, answer), (200, json!({"status": "success", "data": {"scrapePools": ["node"]}})));
}

#[tokio::test]
async fn dropped_targets_are_counted_for_all_jobs_when_somebody_asks_for_them() {
    let counts = async |query: &str| get(&api(snapshot()), &format!("/api/v1/targets?{query}")).await.1["data"].clone();
    assert_eq!(counts("scrapePool=none").await["droppedTargetCounts"], json!({"node": 1}));
    let active = counts("state=active").await;
    assert_eq!((&active["droppedTargetCounts"], &active["droppedTargets"]), (&Value::Null, &json!([])));
    let dropped = counts("state=dropped").await;
    assert_eq!((&dropped["droppedTargetCounts"], &dropped["activeTargets"]), (&json!({"node": 1}), &json!([])));
}

#[tokio::test]
async fn what_metrics_mean_is_put_together_from_all_shards_without_duplicates() {
    let fleet = Fleet::new(4, Fingerprint(0));
    answers(&fleet, 0, "/api/v1/metadata", json!({"up": [meaning("a")], "cpu": [meaning("a")]}));
    answers(&fleet, 1, "/api/v1/metadata", json!({"cpu": [meaning("a"), meaning("b")], "disk": [meaning("a")]}));
    let api = fleet_api(&fleet, 4);
    let all = json!({"cpu": [meaning("a"), meaning("b")], "disk": [meaning("a")], "up": [meaning("a")]});
    let (status, answer) = get(&api, "/api/v1/metadata").await;
    assert_eq!((status, answer), (200, json!({"status": "success", "data": all})));
    assert!(fleet.with_shard(2, |shard| shard.prometheus_was_asked.is_empty()), "one replica has all targets");
    let (_, answer) = get(&api, "/api/v1/metadata?limit=1&limit_per_metric=1&metric=cpu").await;
    assert_eq!(answer["data"], json!({"cpu": [meaning("a")]}));
    let asked = fleet.with_shard(1, |shard| shard.prometheus_was_asked.pop()).unwrap();
    let query = [("limit", "1"), ("limit_per_metric", "1"), ("metric", "cpu")].map(|(k, v)| (k, v.to_owned())).to_vec();
    assert_eq!(asked, ("/api/v1/metadata".into(), query));
}

#[tokio::test]
async fn a_shard_that_does_not_answer_is_made_up_for_by_another_replica_or_named() {
    let fleet = Fleet::new(2, Fingerprint(0));
    let api = fleet_api(&fleet, 2);
    answers(&fleet, 0, "/api/v1/metadata", json!({"up": [meaning("a")]}));
    answers(&fleet, 1, "/api/v1/metadata", json!({"cpu": [meaning("a")]}));
    fleet.with_shard(0, |shard| shard.link = Link::Refused);
    let (_, answer) = get(&api, "/api/v1/metadata").await;
    assert_eq!(answer, json!({"status": "success", "data": {"cpu": [meaning("a")]}}));
    fleet.with_shard(1, |shard| shard.prometheus_answers.clear());
    let (status, answer) = get(&api, "/api/v1/metadata").await;
    let warnings = ["one/shard-0", "two/shard-1"].map(|shard| format!("what {shard} knows is missing: "));
    assert_eq!((status, answer["warnings"].as_array().unwrap().len()), (200, 2));
    for (warning, expected) in answer["warnings"].as_array().unwrap().iter().zip(warnings) {
        assert!(warning.as_str().unwrap().starts_with(&expected), "{warning}");
    }
}

#[tokio::test]
async fn what_the_metrics_of_targets_mean_is_cut_behind_a_target() {
    let fleet = Fleet::new(4, Fingerprint(0));
    let path = "/api/v1/targets/metadata";
    answers(&fleet, 0, path, json!([of_target("b", "cpu"), of_target("b", "up")]));
    answers(&fleet, 1, path, json!([of_target("a", "cpu"), of_target("b", "up"), of_target("a", "up")]));
    let api = fleet_api(&fleet, 4);
    let all = [of_target("a", "cpu"), of_target("a", "up"), of_target("b", "cpu"), of_target("b", "up")];
    assert_eq!(get(&api, path).await.1["data"], json!(all), "a target that moves is on two shards");
    assert_eq!(get(&api, &format!("{path}?limit=1")).await.1["data"], json!(all[..2]));
    assert_eq!(get(&api, &format!("{path}?limit=0")).await.1["data"], json!([]));
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_in_prometheus_words() {
    let fleet = Fleet::new(2, Fingerprint(0));
    let path = "/api/v1/targets/metadata";
    let reason = "invalid parameter \"match_target\": 1:3: parse error: unexpected end of input inside braces";
    fleet.with_shard(0, |shard| shard.prometheus_answers.insert(path, Err(reason.into())));
    let api = fleet_api(&fleet, 2);
    for (asked, error) in [
        (format!("{path}?match_target=x%7B"), reason),
        (format!("{path}?limit=x"), "limit must be a number"),
        ("/api/v1/metadata?limit=x".into(), "limit must be a number"),
        ("/api/v1/metadata?limit_per_metric=x".into(), "limit_per_metric must be a number"),
        ("/api/v1/targets/relabel_steps?labels=%7B%7D".into(), "no scrapePool parameter provided"),
        ("/api/v1/targets/relabel_steps?scrapePool=node".into(), "no labels parameter provided"),
        (
            "/api/v1/targets/relabel_steps?scrapePool=x&labels=%7B%7D".into(),
            "error retrieving scrape config: scrape pool \"x\" not found",
        ),
    ] {
        let (status, answer) = get(&api, &asked).await;
        assert_eq!(
            (status, answer),
            (400, json!({"status": "error", "errorType": "bad_data", "error": error})),
            "{asked}"
        );
    }
}

/// An API over a config of this text.
fn api_of(text: &str) -> axum::Router {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    std::fs::write(&path, text).unwrap();
    let mut snapshot = snapshot();
    let mut discovered = Discovered::clone(&snapshot.discovered);
    discovered.config = Arc::new(Config::load(&path, &Disk, PrometheusVersion::V3_5).unwrap());
    snapshot.discovered = Arc::new(discovered);
    api(snapshot)
}

#[tokio::test]
async fn relabeling_is_told_step_by_step_to_its_end() {
    let api = api_of(
        "scrape_configs: [{job_name: node, relabel_configs: [{target_label: a, replacement: b}, \
         {source_labels: [a], regex: b, action: Drop}, {action: labeldrop, regex: x}]}]",
    );
    let labels = "%7B%22job%22%3A%22node%22%7D";
    let (status, answer) = get(&api, &format!("/api/v1/targets/relabel_steps?scrapePool=node&labels={labels}")).await;
    let steps = json!([
        {"rule": {"separator": ";", "regex": "(.*)", "targetLabel": "a", "replacement": "b", "action": "replace"},
         "output": {"a": "b", "job": "node"}, "keep": true},
        {"rule": {"sourceLabels": ["a"], "separator": ";", "regex": "b", "replacement": "$1", "action": "drop"},
         "output": {}, "keep": false},
        {"rule": {"separator": ";", "regex": "x", "replacement": "$1", "action": "labeldrop"},
         "output": {}, "keep": false},
    ]);
    assert_eq!((status, answer), (200, json!({"status": "success", "data": {"steps": steps}})));
}

#[tokio::test]
async fn the_users_config_is_shown_without_its_secrets() {
    let api = api_of("scrape_configs:\n- job_name: node\n  basic_auth: {username: me, password: hunter2}\n");
    let (status, answer) = get(&api, "/api/v1/status/config").await;
    let yaml = answer["data"]["yaml"].as_str().unwrap();
    assert!(status == 200 && yaml.contains("password: <secret>") && yaml.contains("username: me"), "{yaml}");
    assert!(!yaml.contains("hunter2"));
}

#[tokio::test]
async fn the_build_info_says_which_program_this_is() {
    let (_, answer) = get(&api(snapshot()), "/api/v1/status/buildinfo").await;
    assert_eq!(answer["data"]["application"], "narthex-coordinator");
    assert_eq!(answer["data"]["version"], env!("CARGO_PKG_VERSION"));
}
