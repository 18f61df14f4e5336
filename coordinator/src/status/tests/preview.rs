use axum::{Router, body::Body, http::Request};

use super::{
    http::{FakeConfig, api, api_with, ask, get},
    *,
};
use crate::observe::fake::Fleet;

const NOW: Timestamp = Timestamp(1_000_000);

/// `shards` shards, each with the targets of the `loads`, which all are the job's.
fn fleet(loads: &[&[u64]]) -> Snapshot {
    let mut snapshot = snapshot();
    let mut found = JobTargets { discovered: true, ..JobTargets::default() };
    let replica = &mut snapshot.world.replicas[0];
    replica.shards.clear();
    snapshot.world.targets.clear();
    for (ordinal, loads) in (0..).zip(loads) {
        let targets: Vec<Target> = (0..loads.len()).map(|n| target(&format!("t{n}-of-{ordinal}:9100"))).collect();
        let load = |n: &u64| Load { exposed: Series(*n), kept: Series(*n) };
        let held: Vec<(&Target, Load)> = targets.iter().zip(loads.iter().map(load)).collect();
        let mut shard = shard_view(&held);
        shard.id = ShardId(format!("pod-{ordinal}"));
        replica.shards.insert(Ordinal(ordinal), shard);
        for target in targets {
            let probed = KnownLoad::Unknown;
            let interval = PromDuration::from_secs(15);
            let view = TargetView { job: "node".into(), interval, since: Timestamp(0), probed };
            snapshot.world.targets.insert(target.id, view);
            let active = ActiveTarget { target: Arc::new(target), discovered_labels: Default::default() };
            found.active.insert(active.target.id, active);
        }
    }
    replica.wanted_shards = u32::try_from(loads.len()).unwrap();
    snapshot.world.now = NOW;
    snapshot.discovered = discovered(&snapshot, found);
    let max_idle_time = Some(Duration::from_secs(600));
    snapshot.policy = Policy::new(Settings { max_series: Series(1000), max_idle_time, ..Settings::default() }).unwrap();
    snapshot.rules = Rules::new(snapshot.policy.clone(), None);
    snapshot
}

fn discovered(snapshot: &Snapshot, found: JobTargets) -> Arc<Discovered> {
    let jobs = [("node".into(), Arc::new(found))].into();
    Arc::new(Discovered { jobs, config: Arc::clone(&snapshot.discovered.config) })
}

async fn preview(api: &Router, body: Value) -> (u16, Value) {
    ask(api, Request::post("/api/v1/plan/preview").body(Body::from(body.to_string())).unwrap()).await
}

async fn data(api: &Router, body: Value) -> Value {
    let (status, answer) = preview(api, body).await;
    assert_eq!(status, 200, "{answer}");
    serde_json::from_value::<super::super::PreviewView>(answer["data"].clone()).unwrap();
    answer["data"].clone()
}

#[tokio::test]
async fn without_a_difference_the_plan_of_a_fleet_at_rest_is_empty() {
    let api = api(fleet(&[&[400, 300], &[500, 300]]));
    let view = data(&api, json!({"rounds": 5})).await;
    assert_eq!((&view["totals"]["changes"], &view["totals"]["shards"]), (&json!({}), &json!(2)));
    let rest = &view["rest"];
    assert_eq!((&rest["rounds"], &rest["at_rest"]), (&json!(0), &json!(true)));
}

#[tokio::test]
async fn a_smaller_budget_moves_targets_to_new_shards() {
    let api = api(fleet(&[&[400, 300, 200], &[500, 300, 100]]));
    let view = data(&api, json!({"policy": {"max_series": 600}, "rounds": 20})).await;
    assert_eq!(view["policy"]["max_series"], 600);
    assert_eq!(view["policy"]["max_idle_time"], 600.0, "what is not mentioned stays");
    let rest = &view["rest"];
    assert_eq!(rest["at_rest"], true, "{rest}");
    assert!(rest["totals"]["shards"].as_u64() >= Some(3), "{rest}");
    assert!(rest["totals"]["moves"].as_u64() >= Some(2), "{rest}");
    assert_eq!(rest["totals"]["moves"], rest["totals"]["changes"]["settle"], "moves have settled at rest");
}

#[tokio::test]
async fn a_preview_changes_nothing() {
    let snapshot = fleet(&[&[400, 300, 200], &[500, 300, 100]]);
    let found = discovered(&snapshot, JobTargets { discovered: true, ..JobTargets::default() });
    let config = FakeConfig { found: Some((*found).clone()), gate: None };
    let fleet = Fleet::new(2, snapshot.config);
    let (_publish, newest) = tokio::sync::watch::channel(Some(Arc::new(snapshot)));
    let api = super::super::router(super::super::ApiState::new(
        newest,
        Arc::new(config),
        Arc::clone(&fleet) as _,
        PrometheusVersion::V3_5,
    ));
    let before = (get(&api, "/debug/world").await, get(&api, "/api/v1/plan").await);
    for body in [
        json!({"policy": {"max_series": 600}, "rounds": 20}),
        json!({"shards": 1, "rounds": 20}),
        json!({"config": "scrape_configs: []"}),
    ] {
        data(&api, body).await;
    }
    assert_eq!((get(&api, "/debug/world").await, get(&api, "/api/v1/plan").await), before);
    let asked = fleet.asked();
    assert_eq!((asked.puts, asked.reloads, asked.scales), (0, 0, 0));
}

#[tokio::test]
async fn the_targets_of_shards_that_go_need_a_place() {
    let api = api(fleet(&[&[400], &[500, 300]]));
    let view = data(&api, json!({"shards": 1})).await;
    assert_eq!((&view["totals"]["places"], &view["totals"]["moves"]), (&json!(1), &json!(0)), "{view}");
    assert_eq!(view["totals"]["unplaced"], json!({"waiting_for_shards": 1}));
    assert_eq!(view["totals"]["shards"], 1);
    let placed = &view["replicas"][0]["changes"][0];
    assert_eq!((&placed["to_shard"], &placed["url"]), (&json!("pod-0"), &json!("http://t0-of-1:9100/metrics")));
}

#[tokio::test]
async fn shards_that_come_are_empty_and_named_like_the_others() {
    let api = api(fleet(&[&[700, 500]]));
    let view = data(&api, json!({"shards": {"replica-0": 2}})).await;
    assert_eq!((&view["totals"]["shards"], &view["totals"]["moves"]), (&json!(2), &json!(1)), "{view}");
    assert_eq!(view["replicas"][0]["changes"][0]["to_shard"], "pod-1");
    let (status, answer) = preview(&api, json!({"shards": {"replica-9": 2}})).await;
    assert_eq!((status, &answer["error"]), (400, &json!("shards: there is no replica \"replica-9\"")));
}

#[tokio::test]
async fn idle_shards_are_gone_at_rest() {
    let api = api(fleet(&[&[100], &[100]]));
    let view = data(&api, json!({"rounds": 20})).await;
    let rest = &view["rest"];
    assert_eq!((&rest["at_rest"], &rest["totals"]["shards"]), (&json!(true), &json!(1)), "{rest}");
    let cut_short = data(&api, json!({"rounds": 2})).await;
    assert_eq!(cut_short["rest"]["at_rest"], false);
}

#[tokio::test]
async fn another_config_keeps_out_what_is_not_discovered() {
    let snapshot = fleet(&[&[400, 300]]);
    let kept = snapshot.discovered.jobs[&JobName::from("node")].active.iter().next().map(|(id, a)| (*id, a.clone()));
    let (kept, _) = kept.unwrap();
    let all = &snapshot.discovered.jobs[&JobName::from("node")].active;
    // One target stays, the other one has another label and is another target at the same URL.
    let relabeled = |(id, active): (&_, &ActiveTarget)| {
        if *id == kept {
            return (*id, active.clone());
        }
        let labels = [("job", "node"), ("team", "a")].into_iter().collect();
        let target = Arc::new(Target::new("node".into(), labels, active.target.url.clone()));
        (target.id, ActiveTarget { target, ..active.clone() })
    };
    let mut found = (*snapshot.discovered).clone();
    let active = all.iter().map(relabeled).collect();
    found.jobs.insert("node".into(), Arc::new(JobTargets { discovered: true, active, ..JobTargets::default() }));
    let unknown = JobTargets { active: [(target("x:1").id, all[&kept].clone())].into(), ..JobTargets::default() };
    found.jobs.insert("new".into(), Arc::new(unknown));
    let gone = *all.keys().find(|id| **id != kept).unwrap();
    let load = match &snapshot.world.replicas[0].shards[&Ordinal(0)].report {
        Seen::Fresh(report) => report.targets[&gone].load.unwrap(),
        Seen::Stale { .. } | Seen::Never => unreachable!(),
    };
    let api = api_with(snapshot, FakeConfig { found: Some(found), gate: None });
    let view = data(&api, json!({"config": "anything"})).await;
    assert_eq!(view["not_discovered"], json!(["new"]));
    let totals = &view["totals"];
    assert_eq!(
        (&totals["targets"], &totals["places"], &totals["removed"]),
        (&json!(2), &json!(1), &json!(1)),
        "{view}"
    );
    let placed = view["replicas"][0]["changes"].as_array().unwrap().iter().find(|c| c["change"] == "place").unwrap();
    assert!(placed["url"].as_str().unwrap().starts_with("http://t"), "{placed}");
    let too_small = data(&api, json!({"config": "anything", "policy": {"max_series": load.kept.0 - 1}})).await;
    assert!(too_small["totals"]["oversized"].as_u64() >= Some(1), "its load is that of the target it was: {too_small}");
}

#[tokio::test]
async fn the_limit_of_series_a_scrape_is_that_of_the_configs_interval() {
    let mut snapshot = fleet(&[&[1]]);
    snapshot.rules = Rules::new(snapshot.policy.clone(), Some(Series(30_000)));
    snapshot.policy = snapshot.rules.policy(snapshot.discovered.config.scrape_interval);
    let slower = Config { scrape_interval: PromDuration::from_secs(300), ..(*snapshot.discovered.config).clone() };
    let found = Discovered { config: Arc::new(slower), ..(*snapshot.discovered).clone() };
    let api = api_with(snapshot, FakeConfig { found: Some(found), gate: None });
    let limit = async |body| data(&api, body).await["policy"]["max_samples_per_second"].clone();
    assert_eq!(limit(json!({})).await, 500, "of a scrape a minute, the default");
    assert_eq!(limit(json!({"config": "slower"})).await, 100);
    assert_eq!(
        limit(json!({"config": "slower", "policy": {"max_samples_per_second": 7}})).await,
        7,
        "what is asked for"
    );
}

#[tokio::test]
async fn requests_that_make_no_sense_say_what_would() {
    let api = api(fleet(&[&[1]]));
    for (body, error) in [
        (json!({"polcy": {}}), "read what is to be previewed: unknown field `polcy`"),
        (json!({"policy": {"max_serie": 5}}), "policy: unknown field `max_serie`"),
        (json!({"policy": {"max_series": 0}}), "policy: a shard must be allowed at least one series, max_series is 0"),
        (json!({"rounds": 0}), "rounds is 0; it may be a number from 1 to 100"),
        (json!({"rounds": 101}), "rounds is 101; it may be a number from 1 to 100"),
        (json!({"shards": -1}), "shards is -1; it may be a number up to 10000, or an object"),
        (json!({"shards": {"replica-0": "x"}}), "shards is \"x\"; it may be a number up to 10000, or an object"),
        (json!({"config": "x"}), "x is refused"),
        (json!([]), "read what is to be previewed: "),
    ] {
        let (status, answer) = preview(&api, body).await;
        let said = answer["error"].as_str().unwrap();
        assert!(status == 400 && said.starts_with(error), "{status} {said}");
    }
    let large = json!({"config": " ".repeat(17 << 20)});
    let (status, answer) = preview(&api, large).await;
    assert_eq!((status, &answer["errorType"]), (413, &json!("bad_data")));
}

#[tokio::test]
async fn there_is_one_preview_at_a_time() {
    let gate = Arc::new((tokio::sync::Notify::new(), tokio::sync::Notify::new()));
    let snapshot = fleet(&[&[1]]);
    let found = (*snapshot.discovered).clone();
    let api = api_with(snapshot, FakeConfig { found: Some(found), gate: Some(Arc::clone(&gate)) });
    let slow = tokio::spawn({
        let api = api.clone();
        async move { preview(&api, json!({"config": "anything"})).await.0 }
    });
    gate.0.notified().await;
    let (status, answer) = preview(&api, json!({})).await;
    assert_eq!((status, &answer["error"]), (429, &json!("another preview is being made; ask again when it is done")));
    gate.1.notify_one();
    assert_eq!(slow.await.unwrap(), 200);
    assert_eq!(preview(&api, json!({})).await.0, 200);
}
