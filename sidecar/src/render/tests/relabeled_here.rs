//! Jobs whose targets Prometheus relabels by itself.

use narthex_common::{
    labels::{Labels, LabelsBuilder},
    relabel::Rules as RelabelRules,
    semantics::NameValidation,
    target::Target,
};

use super::*;

const JOB: &str = r#"
scrape_configs:
- job_name: node
  scheme: https
  static_configs: [{targets: ["a"]}]
  relabel_configs:
  - {action: labeldrop, regex: __narthex_relabel_by_shards}
  - {source_labels: [__meta_role], target_label: role, replacement: "", separator: ""}
  - {action: labelmap, regex: "__meta_(.+)"}
"#;

fn generated(version: PrometheusVersion) -> Config {
    let config = load(JOB, &[]);
    let settings = RenderSettings { version: Some(version), ..settings() };
    load(&super::super::config(&config, &ids(&config), &LeavingPools::new(), &settings), &[])
}

/// What the generated rules make of a target with these labels.
fn relabeled(version: PrometheusVersion, discovered: &[(&str, &str)]) -> Option<String> {
    let job = &generated(version).jobs[0];
    let rules = RelabelRules::compile(&job.relabel_configs, NameValidation::Utf8, version).unwrap();
    let sent = discovered.iter().map(|(name, value)| (format!("__meta_kv_{name}"), (*value).to_owned()));
    let own = [("__meta_filepath", "/store/f.json"), ("__meta_kvid", "id"), ("__address__", "b"), ("job", "node")];
    let own = own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let mut labels = LabelsBuilder::from(&sent.chain(own).collect::<Labels>());
    rules.apply(&mut labels).then(|| {
        let tells = !version.is_3_or_later();
        assert_eq!(labels.get("__meta_kvid").is_some(), tells, "where Prometheus tells what the rules left");
        labels.retain(|name, _| !name.starts_with("__meta_"));
        labels.build().to_string()
    })
}

#[test]
fn the_users_rules_see_what_was_discovered_and_nothing_else() {
    let discovered = [("__address__", "a:1"), ("__scheme__", "http"), ("__meta_role", "x"), ("zone", "1")];
    let expected = r#"{__address__="a:1", __scheme__="http", role="x", zone="1"}"#;
    assert_eq!(relabeled(PrometheusVersion::V3_5, &discovered).as_deref(), Some(expected));
}

#[test]
fn https_is_marked_and_asked_for_by_http() {
    let discovered = [("__address__", "a"), ("__scheme__", "https")];
    let expected = r#"{__address__="a", __param_narthex_scheme="https", __scheme__="http"}"#;
    assert_eq!(relabeled(PrometheusVersion::V3_5, &discovered).as_deref(), Some(expected));
}

#[rstest]
#[case("a", "a:443")]
#[case("a:1", "a:1")]
#[case("[::1]", "[::1]:443")]
#[case("[::1]:9", "[::1]:9")]
#[case("::1", "::1")]
fn prometheus_2_appends_the_port_of_the_true_scheme(#[case] address: &str, #[case] expected: &str) {
    let discovered = [("__address__", address), ("__scheme__", "https")];
    let labels = relabeled(PrometheusVersion::V2_42, &discovered).unwrap();
    assert!(labels.contains(&format!("__address__={expected:?}")), "{labels}");
    let plain = relabeled(PrometheusVersion::V2_42, &[("__address__", address), ("__scheme__", "http")]).unwrap();
    assert!(plain.contains(&format!("__address__={address:?}")), "its own: {plain}");
}

#[test]
fn the_users_rules_are_passed_on_word_for_word() {
    let rules = generated(PrometheusVersion::V3_5).jobs[0].node.get("relabel_configs").unwrap().to_yaml();
    let own = load(JOB, &[]).jobs[0].node.get("relabel_configs").unwrap().to_yaml();
    assert!(rules.contains(own.trim_end()), "{own} in {rules}");
}

#[test]
fn a_target_is_listed_with_what_was_discovered_unless_its_job_is_relabeled_elsewhere() {
    let config = load(JOB, &[]);
    let discovered = Labels::from_iter([("__address__", "a"), ("__scheme__", "https"), ("__meta_role", "x")]);
    let assigned = narthex_common::assignment::AssignedTarget {
        target: Target::of_discovered("node".into(), discovered),
        ..target("node", "http://b:1/", &[])
    };
    let both = assignment(&config, [assigned, target("node", "http://b:1/", &[])]);
    let files = target_files(&both, &Leaving::default(), &ids(&config), layout(&config), PrometheusKind::Server);
    let text: String = files.into_values().collect();
    assert!(text.contains(r#""targets":["a"]"#) && !text.contains("b:1"), "{text}");
    assert!(text.contains(r#""__meta_kv___scheme__":"https""#), "{text}");
    assert!(text.contains(r#""__meta_kv___meta_role":"x""#), "{text}");
}
