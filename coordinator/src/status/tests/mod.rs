//! What the API shows of a round.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use narthex_common::{
    assignment::{AssignedTarget, Revision, TargetState},
    config::{Config, PromDuration},
    fingerprint::Fingerprint,
    job::JobName,
    load::{Load, Series},
    report::{Cursor, Health, PrometheusReport, Report, TargetMismatch, TargetReport},
    semantics::PrometheusVersion,
    shard::{Ordinal, ReplicaId, ShardId},
    target::Target,
    time::Timestamp,
};
use narthex_planner::{
    Plan, Policy, World,
    memory::Memory,
    policy::Settings,
    world::{HeldTarget, JobView, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView, TargetView},
};
use narthex_runtime::files::Disk;
use serde_json::{Value, json};

use super::{
    History, Snapshot,
    live::LiveReports,
    shard_summaries,
    table::table,
    targets::{TargetsQuery, targets_view},
};
use crate::{
    discover::{ActiveTarget, Discovered, JobTargets},
    observe::{Observed, ObservedReplica, ObservedShard, ShardAssignment, ShardState},
    provider::ShardAddress,
    round::Rules,
};

mod http;
mod metrics;
mod plan;
mod preview;
mod prometheus_api;
mod samples;

fn target(instance: &str) -> Target {
    let labels = [("__address__", instance), ("__scrape_interval__", "15s"), ("job", "node"), ("instance", instance)];
    Target::new("node".into(), labels.into_iter().collect(), format!("http://{instance}/metrics"))
}

/// One job with two targets and a dropped one; the first target is up on `shard-0`, the second was only probed.
fn snapshot() -> Snapshot {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prometheus.yml");
    std::fs::write(&path, "scrape_configs: [{job_name: node}]").unwrap();
    let config = Arc::new(Config::load(&path, &Disk, PrometheusVersion::V3_5).unwrap());
    let (scraped, probed) = (target("a:9100"), target("b:9100"));
    let active = |target: &Target| ActiveTarget {
        target: Arc::new(target.clone()),
        discovered_labels: [("__address__", "found"), ("__meta_x", "1")].into_iter().collect(),
    };
    let found = JobTargets {
        discovered: true,
        active: [(scraped.id, active(&scraped)), (probed.id, active(&probed))].into_iter().collect(),
        dropped: vec![[("__address__", "c:9100")].into_iter().collect()],
        dropped_count: 1,
        ..JobTargets::default()
    };
    let jobs: BTreeMap<JobName, _> = [("node".into(), Arc::new(found))].into_iter().collect();
    let discovered = Arc::new(Discovered { config, jobs });
    let fingerprint = discovered.config.fingerprint();
    let load = |n| Load { exposed: Series(n + 1), kept: Series(n) };
    let probed = Arc::new([(probed.id, KnownLoad::Measured(load(7)))].into_iter().collect());
    let observed = Arc::new(Observed {
        replicas: vec![ObservedReplica {
            id: ReplicaId("replica-0".into()),
            scalable: true,
            wanted_shards: 1,
            shards: vec![shard(scraped, load(100), fingerprint)],
        }],
    });
    let interval = PromDuration::from_secs(15);
    let listed =
        |id| (id, TargetView { job: "node".into(), interval, since: Timestamp(0), probed: KnownLoad::Unknown });
    let world = World {
        now: Timestamp(0),
        seed: 0,
        jobs: [("node".into(), JobView { discovered: true })].into(),
        targets: discovered.jobs[&JobName::from("node")].active.keys().copied().map(listed).collect(),
        replicas: vec![ReplicaView {
            id: ReplicaId("replica-0".into()),
            scalable: true,
            wanted_shards: 1,
            shards: [(Ordinal(0), shard_view(&[(&target("a:9100"), load(100))]))].into(),
            memory: Memory::default(),
        }],
    };
    Snapshot {
        at: Timestamp(0),
        took: Duration::ZERO,
        planning: Duration::ZERO,
        config: fingerprint,
        discovered,
        probed,
        observed,
        world,
        policy: Policy::new(Settings::default()).unwrap(),
        rules: Rules::new(Policy::new(Settings::default()).unwrap(), None),
        plan: Plan::default(),
        history: History::default(),
        errors: Vec::new(),
    }
}

fn shard(target: Target, load: Load, config: Fingerprint) -> ObservedShard {
    let report = TargetReport {
        id: target.id,
        state: TargetState::Normal,
        health: Health::Up,
        last_error: String::new(),
        last_scrape: Some(Timestamp(1_000)),
        last_scrape_duration: Duration::from_millis(250),
        load: Some(load),
        scrapes: 3,
        dropped: false,
    };
    let assigned = AssignedTarget { target, state: TargetState::Normal, since: None, load: None };
    let state = ShardState {
        report: Report {
            cursor: Cursor("1".into()),
            complete: true,
            revision: Revision(4),
            config,
            config_from: narthex_common::report::ConfigFrom::File,
            config_error: None,
            idle_since: None,
            prometheus: PrometheusReport {
                url: "http://127.0.0.1:9090".into(),
                ready: true,
                silent_since: None,
                version: Some(PrometheusVersion::V3_5),
                head_series: Some(Series(105)),
            },
            target_mismatch: None,
            targets: Vec::new(),
        },
        targets: [(report.id, report)].into_iter().collect(),
        assignment: Arc::new(ShardAssignment {
            revision: Revision(4),
            config,
            targets: [(assigned.target.id, assigned)].into_iter().collect(),
            ..ShardAssignment::default()
        }),
    };
    ObservedShard {
        address: ShardAddress {
            ordinal: Ordinal(0),
            id: ShardId("shard-0".into()),
            url: "http://127.0.0.1:8080".parse().unwrap(),
            problem: None,
            budget: OwnBudget::default(),
        },
        found_at_start: None,
        seen: Seen::Fresh(Arc::new(state)),
        error: None,
    }
}

/// `shard-0`, as the planner sees it.
fn shard_view(targets: &[(&Target, Load)]) -> ShardView {
    let held = |(target, load): &(&Target, Load)| {
        let held = HeldTarget {
            job: target.job.clone(),
            interval: PromDuration::from_secs(15),
            state: TargetState::Normal,
            since: Some(Timestamp(0)),
            planned: None,
            load: Some(*load),
            scrapes: 3,
        };
        (target.id, held)
    };
    let report = ShardReport {
        config_matches: true,
        ready: true,
        head_series: None,
        idle_since: None,
        targets: targets.iter().map(held).collect(),
    };
    ShardView {
        id: ShardId("shard-0".into()),
        report: Seen::Fresh(report),
        found_at_start: None,
        budget: OwnBudget::default(),
    }
}

fn view(query: &TargetsQuery) -> Value {
    serde_json::to_value(targets_view(&snapshot(), &LiveReports::new(), query)).unwrap()
}

fn urls(view: &Value) -> Vec<&str> {
    view["activeTargets"].as_array().unwrap().iter().map(|target| target["scrapeUrl"].as_str().unwrap()).collect()
}

#[test]
fn a_target_is_shown_as_prometheus_shows_it_with_its_series_and_shards() {
    let view = view(&TargetsQuery::default());
    let scraped = view["activeTargets"].as_array().unwrap().iter().find(|t| t["health"] == "up").unwrap();
    assert_eq!(
        *scraped,
        json!({
            "discoveredLabels": {"__address__": "found", "__meta_x": "1"},
            "labels": {"instance": "a:9100", "job": "node"},
            "scrapePool": "node",
            "scrapeUrl": "http://a:9100/metrics",
            "globalUrl": "http://a:9100/metrics",
            "lastError": "",
            "lastScrape": "1970-01-01T00:00:01.000Z",
            "lastScrapeDuration": 0.25,
            "health": "up",
            "scrapeInterval": "15s",
            "scrapeTimeout": "",
            "series": 100,
            "totalSeries": 101,
            "shards": ["shard-0"],
            "id": target("a:9100").id,
        })
    );
    let probed = view["activeTargets"].as_array().unwrap().iter().find(|t| t["health"] == "unknown").unwrap();
    assert_eq!((&probed["series"], &probed["shards"]), (&json!(7), &json!([])));
    assert_eq!(probed["lastScrape"], "0001-01-01T00:00:00Z");
    assert_eq!(view["droppedTargets"], json!([{"discoveredLabels": {"__address__": "c:9100"}, "scrapePool": "node"}]));
    assert_eq!(view["droppedTargetCounts"], json!({"node": 1}));
    assert!(view.get("activeStatistics").is_none());
}

#[test]
fn what_a_shard_says_now_counts_more_than_what_the_round_saw() {
    let snapshot = snapshot();
    let mut report = shard(target("a:9100"), Load::ZERO, Fingerprint(0));
    let Seen::Fresh(state) = &mut report.seen else { unreachable!() };
    let mut now = state.targets.values().next().unwrap().clone();
    now.last_scrape = Some(Timestamp(9_000));
    let live = LiveReports::from([(report.address.url.clone(), BTreeMap::from([(now.id, now)]))]);
    let view = serde_json::to_value(targets_view(&snapshot, &live, &TargetsQuery::default())).unwrap();
    let last_scrapes: Vec<_> = view["activeTargets"].as_array().unwrap().iter().map(|t| &t["lastScrape"]).collect();
    assert!(last_scrapes.contains(&&json!("1970-01-01T00:00:09.000Z")), "{last_scrapes:?}");
}

#[test]
fn a_query_narrows_what_is_shown() {
    let text = |text: &str| Some(text.to_owned());
    let regex = |pattern: &str| regex::Regex::new(pattern).unwrap();
    let dropped = view(&TargetsQuery { state: text("dropped"), ..TargetsQuery::default() });
    assert_eq!((urls(&dropped).len(), dropped["droppedTargets"].as_array().unwrap().len()), (0, 1));
    let active = view(&TargetsQuery { state: text("active"), ..TargetsQuery::default() });
    assert_eq!((urls(&active).len(), active["droppedTargets"].as_array().unwrap().len()), (2, 0));
    assert!(urls(&view(&TargetsQuery { scrape_pool: text("other"), ..TargetsQuery::default() })).is_empty());
    assert!(urls(&view(&TargetsQuery { jobs: vec![regex("^x")], ..TargetsQuery::default() })).is_empty());
    assert_eq!(urls(&view(&TargetsQuery { jobs: vec![regex("^x"), regex("no")], ..TargetsQuery::default() })).len(), 2);
    let up = view(&TargetsQuery { health: vec!["up".into()], ..TargetsQuery::default() });
    assert_eq!(urls(&up), ["http://a:9100/metrics"]);
}

#[test]
fn statistics_count_targets_by_job_and_health_as_kvass_does() {
    let only = view(&TargetsQuery { statistics: Some("only".into()), ..TargetsQuery::default() });
    assert_eq!(only["activeStatistics"], json!([{"JobName": "node", "Total": 2, "Health": {"unknown": 1, "up": 1}}]));
    assert!(urls(&only).is_empty());
    let with = view(&TargetsQuery { statistics: Some("with".into()), ..TargetsQuery::default() });
    assert_eq!(urls(&with).len(), 2);
}

#[test]
fn a_shard_is_shown_with_what_it_carries() {
    let mut snapshot = snapshot();
    let [shard] = shard_summaries(&snapshot).try_into().unwrap();
    assert_eq!((shard.state.as_str(), shard.targets, shard.in_transfer), ("ready", 1, 0));
    assert_eq!((shard.series, shard.total_series, shard.head_series), (Series(100), Series(101), Some(Series(105))));
    snapshot.config = Fingerprint(1);
    assert_eq!(shard_summaries(&snapshot)[0].state, "config-differs");
}

#[test]
fn shards_of_several_replicas_are_shown_with_their_replica() {
    let mut shards = shard_summaries(&snapshot());
    assert!(table(&shards).contains("\n shard-0 "), "{}", table(&shards));
    let twin =
        super::ShardSummary { replica: ReplicaId("b".into()), error: Some("silent".into()), ..shards[0].clone() };
    shards.push(twin);
    let text = table(&shards);
    assert!(text.contains("\n replica-0/shard-0 ") && text.contains("\n b/shard-0 "), "{text}");
    assert!(text.ends_with("\nb/shard-0: silent"), "{text}");
}

#[test]
fn a_shard_whose_prometheus_scrapes_other_targets_than_those_assigned_says_so() {
    let error = |config_error: Option<&str>| {
        let mut snapshot = snapshot();
        let Seen::Fresh(state) = &mut Arc::make_mut(&mut snapshot.observed).replicas[0].shards[0].seen else {
            panic!("not fresh")
        };
        let report = &mut Arc::make_mut(state).report;
        report.config_error = config_error.map(str::to_owned);
        report.target_mismatch =
            Some(TargetMismatch { missing: 1, unexpected: 0, examples: vec!["node a:9100 is missing".into()] });
        shard_summaries(&snapshot)[0].error.clone().unwrap()
    };
    assert_eq!(error(None), "its Prometheus does not scrape 1 target that it should (node a:9100 is missing)");
    // What may be the reason comes first.
    assert_eq!(error(Some("refused")), "refused");
}
