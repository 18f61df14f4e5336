//! Relabeling: the cases of Prometheus' own tests, and our own.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;
#[cfg(test)]
mod conformance;

use std::path::Path;

use narthex_common::{
    config::{Config, ScrapeConfig, yaml},
    labels::{Labels, LabelsBuilder},
    relabel::{Action, RelabelConfig, Rules},
    semantics::{NameValidation, PrometheusVersion},
};
use serde_json::Value;

fn names(case: &Value) -> NameValidation {
    serde_json::from_value(case["name_validation_scheme"].clone()).unwrap()
}

#[test]
fn labels_are_relabeled_as_prometheus_does_it() {
    let Some(data) = conformance::read("relabel.json") else { return };
    for case in data["cases"].as_array().unwrap() {
        let configs = conformance::rules(&case["relabel_configs"]);
        let rules = Rules::compile(&configs, names(case), PrometheusVersion::V3_5).unwrap();
        let mut labels = LabelsBuilder::from(&conformance::labels(&case["input"]));
        let kept = rules.apply(&mut labels);
        assert_eq!(kept, !case["drop"].as_bool().unwrap(), "{}", case["name"]);
        if kept {
            assert_eq!(labels.build(), conformance::labels(&case["output"]), "{}", case["name"]);
        }
    }
}

#[test]
fn rules_are_validated_as_prometheus_does_it() {
    let Some(data) = conformance::read("relabel.json") else { return };
    for case in data["validate"].as_array().unwrap() {
        let mut rule = conformance::rule(&case["config_go_fields"]);
        if case["config_go_fields"]["action"].is_null() {
            rule.action = None;
        }
        let validated = rule.validate(names(case), PrometheusVersion::V3_5).map_err(|e| e.to_string());
        match case["expected_error_contains"].as_str() {
            Some(why) => assert!(validated.clone().unwrap_err().contains(why), "{}: {validated:?}", case["name"]),
            None => assert_eq!(validated, Ok(()), "{}", case["name"]),
        }
    }
}

#[test]
fn legacy_targets_may_contain_variables() {
    let Some(data) = conformance::read("relabel.json") else { return };
    for case in data["legacy_target_label_pattern"].as_array().unwrap() {
        let target_label = case["target_label"].as_str().unwrap().to_owned();
        let rule = RelabelConfig { target_label, ..RelabelConfig::default() };
        assert_eq!(
            rule.validate(NameValidation::Legacy, PrometheusVersion::V3_5).is_ok(),
            case["valid"],
            "{:?}",
            rule.target_label
        );
    }
}

/// The job whose `relabel_configs` are these lines of YAML.
fn job_with(relabel_configs: &str) -> ScrapeConfig {
    let text = format!("scrape_configs:\n- job_name: job\n  relabel_configs:{relabel_configs}\n");
    let files = config_support::Memory::of([("/prometheus.yml", text)]);
    Config::load(Path::new("/prometheus.yml"), &files, PrometheusVersion::V3_5).unwrap().jobs.remove(0)
}

#[test]
fn rules_mean_the_same_after_they_were_written_again() {
    let Some(cases) = conformance::read("relabel.json") else { return };
    for case in cases["yaml_roundtrip"].as_array().unwrap() {
        let rule = yaml::read(case["yaml"].as_str().unwrap()).unwrap();
        let text = |rule: yaml::Node| yaml::Node::list([rule]).to_yaml();
        let (once, twice) = (text(rule.clone()), text(yaml::read(&rule.to_yaml()).unwrap()));
        assert_eq!(once, twice, "{case}");
        let indented: String = once.lines().map(|line| format!("\n  {line}")).collect();
        let job = job_with(&indented);
        let written = job.node.get("relabel_configs").unwrap().items()[0].to_yaml();
        assert_eq!(yaml::read(&written).unwrap().to_yaml(), rule.to_yaml(), "{case}");
        for (field, value) in
            [("separator", &job.relabel_configs[0].separator), ("replacement", &job.relabel_configs[0].replacement)]
        {
            assert_eq!(rule.get(field).and_then(yaml::Node::text), Some(value.as_str()), "{field} of {case}");
        }
    }
}

#[test]
fn configs_from_real_life_are_applied() {
    let Some(data) = conformance::read("relabel.json") else { return };
    for case in data["benchmark_configs_without_expectation"].as_array().unwrap() {
        let job = job_with(case["relabel_configs_yaml"].as_str().unwrap());
        let rules = Rules::compile(&job.relabel_configs, job.name_validation, PrometheusVersion::V3_5).unwrap();
        let labels = conformance::labels(&case["input"]);
        let left = rules.explain(&labels).pop().unwrap().after;
        let mut builder = LabelsBuilder::from(&labels);
        assert_eq!(left, rules.apply(&mut builder).then(|| builder.build()), "{}", case["name"]);
        if case["name"] == "kubernetes" {
            // hashmod of 10.132.183.40:80 by 3 is not 0.
            assert_eq!(left, None);
        }
    }
}

fn replace(target_label: &str, replacement: &str) -> RelabelConfig {
    RelabelConfig { target_label: target_label.into(), replacement: replacement.into(), ..RelabelConfig::default() }
}

fn from(source_labels: &[&str], regex: &str, config: RelabelConfig) -> RelabelConfig {
    let source_labels = source_labels.iter().map(|&name| name.to_owned()).collect();
    RelabelConfig { source_labels, regex: Some(regex.into()), ..config }
}

fn act(action: Action) -> RelabelConfig {
    RelabelConfig { action: Some(action), ..RelabelConfig::default() }
}

fn relabeled(labels: &[(&str, &str)], configs: &[RelabelConfig]) -> Option<Labels> {
    let rules = Rules::compile(configs, NameValidation::Legacy, PrometheusVersion::V3_5).unwrap();
    let mut builder = LabelsBuilder::from(&labels.iter().copied().collect::<Labels>());
    rules.apply(&mut builder).then(|| builder.build())
}

#[test]
fn a_value_is_taken_from_several_labels() {
    let rules = [from(&["a", "none", "b"], "(.*);;(.*)", replace("c", "$2/$1"))];
    let labels = relabeled(&[("a", "1"), ("b", "2")], &rules).unwrap();
    assert_eq!(labels.get("c"), Some("2/1"));
}

#[test]
fn a_rule_without_source_sets_or_removes_a_label() {
    let labels = relabeled(&[("a", "1"), ("b", "2")], &[replace("c", "3"), replace("b", "")]).unwrap();
    assert_eq!(labels.to_string(), r#"{a="1", c="3"}"#);
}

#[test]
fn a_target_that_is_no_name_is_left_out() {
    let labels = relabeled(&[("a", "x-y")], &[from(&["a"], "(.*)", replace("$1", "z"))]).unwrap();
    assert_eq!(labels.to_string(), r#"{a="x-y"}"#);
}

#[test]
fn version_2_does_not_remove_the_label_that_a_template_names() {
    let rule = from(&["b"], "(.*)", replace("$1", ""));
    for (version, kept) in [(PrometheusVersion::V2_42, Some("old")), (PrometheusVersion::V3_5, None)] {
        let rules = Rules::compile(std::slice::from_ref(&rule), NameValidation::Legacy, version).unwrap();
        let mut labels = LabelsBuilder::default();
        labels.set("a", "old");
        labels.set("b", "a");
        assert!(rules.apply(&mut labels));
        assert_eq!(labels.get("a"), kept, "{version}");
    }
}

#[test]
fn labels_are_mapped_from_what_was_there_before() {
    let map = RelabelConfig { regex: Some("a(.*)".into()), ..act(Action::LabelMap) };
    let labels = relabeled(&[("a_x", "1"), ("aa_x", "2")], &[map]).unwrap();
    assert_eq!(labels.to_string(), r#"{_x="1", a_x="2", aa_x="2"}"#);
}

#[test]
fn labels_that_are_both_absent_are_equal() {
    let equal = |action| RelabelConfig {
        source_labels: vec!["x".into()],
        target_label: "y".into(),
        action: Some(action),
        ..RelabelConfig::default()
    };
    assert!(relabeled(&[("a", "1")], &[equal(Action::KeepEqual)]).is_some());
    assert!(relabeled(&[("a", "1")], &[equal(Action::DropEqual)]).is_none());
}

#[test]
fn the_hash_is_that_of_prometheus() {
    let hash = RelabelConfig {
        source_labels: vec!["c".into()],
        target_label: "d".into(),
        modulus: 1000,
        ..act(Action::HashMod)
    };
    assert_eq!(relabeled(&[("c", "baz")], &[hash]).unwrap().get("d"), Some("976"));
}

#[test]
fn a_pod_is_relabeled_as_usual() {
    let rules = [
        from(&["__meta_phase"], "Succeeded|Failed", act(Action::Drop)),
        from(&["__meta_port_name"], ".*-metrics", act(Action::Keep)),
        from(&["__address__", "__meta_port"], r"(.+?)(\:\d+)?;(\d+)", replace("__address__", "$1:$3")),
        RelabelConfig { regex: Some("__meta_label_(.+)".into()), ..act(Action::LabelMap) },
        from(&["__meta_absent"], "(https?)", replace("__scheme__", "$1")),
        RelabelConfig { regex: Some("__tmp.*".into()), ..act(Action::LabelDrop) },
    ];
    let pod = [
        ("__address__", "10.0.0.1:80"),
        ("__meta_port", "9100"),
        ("__meta_port_name", "http-metrics"),
        ("__meta_label_app", "web"),
        ("__meta_phase", "Running"),
        ("__tmp_x", "1"),
    ];
    let labels = relabeled(&pod, &rules).unwrap();
    assert_eq!(labels.get("__address__"), Some("10.0.0.1:9100"));
    assert_eq!(labels.get("app"), Some("web"));
    assert_eq!((labels.get("__tmp_x"), labels.get("__scheme__")), (None, None));
}

#[test]
fn rules_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>() {}
    shared::<Rules>();
}
