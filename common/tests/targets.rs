//! Building targets: the cases of Prometheus' own tests, and our own.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;
#[cfg(test)]
mod conformance;

use std::{collections::BTreeMap, path::Path};

use config_support::{Memory, prometheus_3};
use narthex_common::{
    config::{Config, PromDuration},
    job::JobName,
    labels::Labels,
    relabel::{Action, RelabelConfig, RelabeledBy},
    semantics::{NameValidation, PrometheusVersion},
    target::{
        Target,
        build::{Built, TargetBuilder, TargetSettings},
    },
};
use rstest::rstest;
use serde_json::Value;

const V3_13: PrometheusVersion = PrometheusVersion { major: 3, minor: 13 };

fn settings() -> TargetSettings {
    TargetSettings {
        job_name: JobName::from("job"),
        scrape_interval: PromDuration::from_secs(60),
        scrape_timeout: PromDuration::from_secs(10),
        metrics_path: "/metrics".into(),
        scheme: "http".into(),
        params: BTreeMap::new(),
        convert_classic_histograms_to_nhcb: false,
        always_scrape_classic_histograms: false,
        scrape_native_histograms: false,
        relabeled_by: RelabeledBy::Coordinator,
        relabel_configs: Vec::new(),
        name_validation: NameValidation::Legacy,
    }
}

fn settings_of(case: &Value) -> TargetSettings {
    let text = |field: &str, default: &str| case[field].as_str().unwrap_or(default).to_owned();
    TargetSettings {
        job_name: JobName::from(text("job_name", "").as_str()),
        scrape_interval: text("scrape_interval", "1m").parse().unwrap(),
        scrape_timeout: text("scrape_timeout", "10s").parse().unwrap(),
        metrics_path: text("metrics_path", ""),
        scheme: text("scheme", ""),
        params: params(&case["params"]),
        convert_classic_histograms_to_nhcb: case["convert_classic_histograms_to_nhcb"].as_bool().unwrap_or_default(),
        relabel_configs: conformance::rules(&case["relabel_configs"]),
        ..settings()
    }
}

fn params(json: &Value) -> BTreeMap<String, Vec<String>> {
    json.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), conformance::strings(v))).collect()
}

fn build(settings: TargetSettings, version: PrometheusVersion, labels: &Labels) -> Built {
    TargetBuilder::new(settings, version).unwrap().build(labels, &Labels::default())
}

fn target(built: Built) -> Target {
    match built {
        Built::Active { target, .. } => target,
        Built::Dropped { .. } | Built::Failed { .. } => panic!("not a target: {built:?}"),
    }
}

fn error(built: &Built) -> &str {
    match built {
        Built::Failed { error, .. } => error,
        Built::Active { .. } | Built::Dropped { .. } => panic!("not a failure: {built:?}"),
    }
}

#[test]
fn labels_are_populated_as_prometheus_does_it() {
    let Some(data) = conformance::read("target_labels.json") else { return };
    for case in data["populate_labels"].as_array().unwrap() {
        let name = &case["name"];
        // Labels are texts here, so one that is not UTF-8 is refused before it gets this far.
        if case["target_labels"].as_object().unwrap().values().any(Value::is_object) {
            continue;
        }
        let built = build(settings_of(&case["scrape_config"]), V3_13, &conformance::labels(&case["target_labels"]));
        match (&built, case["expected_error"].as_str()) {
            (Built::Failed { error, .. }, Some(expected)) => assert_eq!(error, expected, "{name}"),
            (Built::Active { discovered, target }, None) => {
                assert_eq!(target.labels, conformance::labels(&case["expected_labels"]), "{name}");
                assert_eq!(*discovered, conformance::labels(&case["expected_discovered_labels"]), "{name}");
            }
            (Built::Active { .. } | Built::Dropped { .. } | Built::Failed { .. }, _) => panic!("{name}: {built:?}"),
        }
    }
}

#[test]
fn urls_are_those_of_prometheus() {
    let Some(data) = conformance::read("target_labels.json") else { return };
    for case in data["target_url"].as_array().unwrap() {
        // A target without an address is one only in versions that are not released yet.
        if case["labels"].get("__address__").is_none() {
            continue;
        }
        let settings = TargetSettings { params: params(&case["params"]), ..settings() };
        let target = target(build(settings, PrometheusVersion::V3_5, &conformance::labels(&case["labels"])));
        assert_eq!(target.url, case["expected_url"].as_str().unwrap(), "{}", case["name"]);
    }
}

#[test]
fn labels_of_the_target_override_the_job() {
    let Some(data) = conformance::read("target_labels.json") else { return };
    for case in data["scrape_config_with_labels"].as_array().unwrap() {
        let settings = settings_of(&case["scrape_config"]);
        let target = target(build(settings, PrometheusVersion::V3_5, &conformance::labels(&case["target_labels"])));
        if let Some(request) = case["expected_request"].as_object() {
            let query: Vec<_> =
                params(&request["query"]).into_iter().map(|(name, values)| format!("{name}={}", values[0])).collect();
            let url = format!("http://127.0.0.1:1{}?{}", request["path"].as_str().unwrap(), query.join("&"));
            assert_eq!(target.url, url, "{}", case["name"]);
        }
        for (name, value) in case["expected_labels_subset"].as_object().into_iter().flatten() {
            assert_eq!(target.labels.get(name), value.as_str(), "{}", case["name"]);
        }
    }
}

#[test]
fn a_bad_target_does_not_drop_its_group() {
    let Some(data) = conformance::read("target_labels.json") else { return };
    for case in data["targets_from_group"].as_array().unwrap() {
        let builder = TargetBuilder::new(settings_of(&case["scrape_config"]), PrometheusVersion::V3_5).unwrap();
        let targets = case["group"]["targets"].as_array().unwrap();
        let built: Vec<_> =
            targets.iter().map(|t| builder.build(&conformance::labels(t), &Labels::default())).collect();
        let active = built.iter().filter(|built| matches!(built, Built::Active { .. })).count();
        assert_eq!(active as u64, case["expected_target_count"].as_u64().unwrap());
        assert_eq!(error(&built[0]), "no address");
    }
}

#[test]
fn a_job_that_keeps_or_drops_labels_may_lose_its_addresses() {
    let Some(cases) = conformance::read("target_labels.json") else { return };
    for case in cases["label_keep_drop"].as_array().unwrap() {
        let path = Path::new("/prometheus.yml");
        let files = Memory::of([("/prometheus.yml", case["config_yaml"].as_str().unwrap())]);
        let config = Config::load(path, &files, prometheus_3()).unwrap();
        let builder = TargetBuilder::new(&config.jobs[0], prometheus_3()).unwrap();
        let built = builder.build(&conformance::labels(&case["target_labels"]), &Labels::default());
        // Which instance of which group it is, the caller knows.
        let failure =
            case["expected_failure"].as_str().map(|text| text.strip_prefix("instance 0 in group : ").unwrap());
        match failure {
            Some(failure) => assert_eq!(error(&built), failure, "{case}"),
            None => assert!(matches!(built, Built::Active { .. }), "{case}: {built:?}"),
        }
    }
}

fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().copied().collect()
}

#[test]
fn a_target_wins_over_its_group() {
    let builder = TargetBuilder::new(settings(), PrometheusVersion::V3_5).unwrap();
    let built = builder.build(
        &labels(&[("__address__", "a:1"), ("zone", "own")]),
        &labels(&[("zone", "group"), ("rack", "7"), ("__meta_x", "y")]),
    );
    let Built::Active { discovered, target } = built else { panic!("{built:?}") };
    assert_eq!(discovered.get("__meta_x"), Some("y"));
    assert_eq!(
        target.labels.to_string(),
        r#"{__address__="a:1", __metrics_path__="/metrics", __scheme__="http", __scrape_interval__="1m", __scrape_timeout__="10s", instance="a:1", job="job", rack="7", zone="own"}"#
    );
}

#[test]
fn a_group_gives_no_target_its_address() {
    let builder = TargetBuilder::new(settings(), PrometheusVersion::V3_5).unwrap();
    // What is left of `targets: [""]`.
    let built = builder.build(&Labels::default(), &labels(&[("__address__", "group:1")]));
    assert_eq!(error(&built), "no address");
}

#[test]
fn a_parameter_that_is_no_label_name_stays_in_the_url_for_2_x() {
    let settings = TargetSettings { params: [("match[]".into(), vec!["a".into(), "b".into()])].into(), ..settings() };
    let at = labels(&[("__address__", "a:1")]);
    for (version, label) in [(PrometheusVersion::V2_42, None), (PrometheusVersion::V3_5, Some("a"))] {
        let target = target(build(settings.clone(), version, &at));
        assert_eq!(target.url, "http://a:1/metrics?match%5B%5D=a&match%5B%5D=b", "{version}");
        assert_eq!(target.labels.get("__param_match[]"), label, "{version}");
    }
}

#[test]
fn a_default_port_is_appended_by_2_x_only() {
    let at = labels(&[("__address__", "a")]);
    let old = target(build(settings(), PrometheusVersion::V2_42, &at));
    assert_eq!((old.url.as_str(), old.labels.get("instance")), ("http://a:80/metrics", Some("a:80")));
    let new = target(build(settings(), PrometheusVersion::V3_5, &at));
    assert_eq!((new.url.as_str(), new.labels.get("instance")), ("http://a/metrics", Some("a")));
}

#[test]
fn a_parameter_of_the_target_wins_from_3_0_on() {
    let settings = TargetSettings { params: [("m".into(), vec!["job".into(), "2".into()])].into(), ..settings() };
    let own = labels(&[("__address__", "a:1"), ("__param_m", "own")]);
    let url = |version| target(build(settings.clone(), version, &own)).url;
    assert_eq!(url(PrometheusVersion::V2_42), "http://a:1/metrics?m=job&m=2");
    assert_eq!(url(PrometheusVersion::V3_5), "http://a:1/metrics?m=own&m=2");
}

#[test]
fn histogram_labels_come_with_3_13() {
    let settings = TargetSettings { scrape_native_histograms: true, ..settings() };
    let at = labels(&[("__address__", "a:1"), ("__always_scrape_classic_histograms__", "maybe")]);
    assert!(matches!(build(settings.clone(), PrometheusVersion::V3_5, &at), Built::Active { .. }));
    assert_eq!(
        error(&build(settings.clone(), V3_13, &at)),
        "error parsing always scrape classic histograms: strconv.ParseBool: parsing \"maybe\": invalid syntax"
    );
    let target = target(build(settings, V3_13, &labels(&[("__address__", "a:1")])));
    assert_eq!(target.labels.get("__scrape_native_histograms__"), Some("true"));
}

#[rstest]
#[case::no_address(&[("x", "y")], "no address")]
#[case::path_in_the_address(&[("__address__", "a/b")], "\"a/b\" is not a valid hostname")]
#[case::password(&[("__address__", "http://u:pw@x")], "\"http://u:xxxxx@x\" is not a valid hostname")]
#[case::interval(
    &[("__address__", "a"), ("__scrape_interval__", "1x")],
    "error parsing scrape interval: unknown unit \"x\" in duration \"1x\""
)]
#[case::no_timeout(&[("__address__", "a"), ("__scrape_timeout__", "0s")], "scrape timeout cannot be 0")]
#[case::timeout_above_interval(
    &[("__address__", "a"), ("__scrape_timeout__", "2m")],
    "scrape timeout cannot be greater than scrape interval (\"2m\" > \"1m\")"
)]
fn a_target_that_cannot_be_scraped_says_why(#[case] own: &[(&str, &str)], #[case] why: &str) {
    assert_eq!(error(&build(settings(), PrometheusVersion::V3_5, &labels(own))), why);
}

#[test]
fn a_label_that_is_needed_must_not_be_dropped() {
    let keep = |regex: &str| {
        let rule =
            RelabelConfig { action: Some(Action::LabelKeep), regex: Some(regex.into()), ..RelabelConfig::default() };
        let settings = TargetSettings { relabel_configs: vec![rule], ..settings() };
        build(settings, PrometheusVersion::V3_5, &labels(&[("__address__", "localhost:9090")]))
    };
    assert_eq!(error(&keep("foo")), "no address");
    assert_eq!(error(&keep("__address__")), "error parsing scrape interval: empty duration string");
}

#[test]
fn a_dropped_target_keeps_what_was_discovered() {
    let rule = RelabelConfig { action: Some(Action::Drop), ..RelabelConfig::default() };
    let settings = TargetSettings { relabel_configs: vec![rule], ..settings() };
    let built = build(settings, PrometheusVersion::V3_5, &labels(&[("__address__", "a"), ("__meta_x", "y")]));
    let Built::Dropped { discovered } = built else { panic!("{built:?}") };
    assert_eq!((discovered.get("__meta_x"), discovered.get("job")), (Some("y"), Some("job")));
}

#[test]
fn what_the_shards_relabel_is_known_by_what_was_discovered() {
    let drop = RelabelConfig { action: Some(Action::Drop), ..RelabelConfig::default() };
    let by_shards = TargetSettings {
        relabel_configs: vec![drop],
        relabeled_by: RelabeledBy::Shards { line: 1, why: "a test".into() },
        params: [("match[]".into(), vec!["a".into()])].into(),
        ..settings()
    };
    let at: Labels = [("__address__", "a"), ("__meta_x", "y")].into_iter().collect();
    for (version, has_param) in [(PrometheusVersion::V3_5, true), (PrometheusVersion::V2_42, false)] {
        let Built::Active { discovered, target } = build(by_shards.clone(), version, &at) else { panic!("{version}") };
        assert!(target.is_relabeled_by_shard());
        assert_eq!(target.labels.get("__meta_x"), Some("y"));
        assert_eq!(target.labels.get("__address__"), Some("a"), "nothing is made of it");
        assert_eq!(target.labels.get("__param_match[]").is_some(), has_param, "what a 2.x does not take from a file");
        assert_eq!(discovered.get("__param_match[]"), Some("a"));
    }
}
