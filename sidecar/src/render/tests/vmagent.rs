//! What a vmagent is given. That the real one takes it is shown end to end.

use super::*;

/// Every field that vmagent refuses, or takes otherwise than Prometheus.
const REFUSED: &str = r#"
global:
  scrape_interval: 15s
  evaluation_interval: 30s
  external_labels: {region: "50%{HOME}"}
  scrape_protocols: [PrometheusText0.0.4]
  body_size_limit: 1MB
  label_value_length_limit: 100
rule_files: [rules/*.yml]
remote_write: [{url: "http://store"}]
storage: {tsdb: {out_of_order_time_window: 5m}}
scrape_configs:
- job_name: node
  honor_timestamps: false
  body_size_limit: 10KB
  sample_limit: 1000
  track_timestamps_staleness: true
  enable_compression: false
  static_configs: [{targets: ["a:9100"]}]
  metric_relabel_configs: [{source_labels: [__name__], regex: "go_.*", action: drop}]
- job_name: plain %{HOME}
  label_limit: 30
  static_configs: [{targets: ["b:9100"]}]
"#;

fn vmagent() -> RenderSettings {
    RenderSettings { kind: PrometheusKind::Vmagent, ..settings() }
}

#[test]
fn a_vmagent_is_given_what_it_takes_and_no_placeholder_that_it_would_replace() {
    let config = load(REFUSED, &[]);
    insta::assert_snapshot!(super::super::config(&config, &ids(&config), &LeavingPools::new(), &vmagent()));
}

#[test]
fn what_is_left_out_for_a_vmagent_is_named() {
    let config = load(REFUSED, &[]);
    let left_out: Vec<_> = left_out(&config, PrometheusKind::Vmagent).into_iter().collect();
    let expected =
        ["global.label_value_length_limit", "global.scrape_protocols", "remote_write", "track_timestamps_staleness"];
    assert_eq!(left_out, expected);
    assert!(super::super::left_out(&config, PrometheusKind::Agent).is_empty());
}

#[test]
fn the_targets_of_a_vmagent_have_their_paths_encoded_and_are_yaml() {
    let config = awkward();
    let odd = target(
        "node",
        "http://a:9100/a%20b%3Fc?x=1",
        &[("__metrics_path__", "/a b?c"), ("env", "%{HOME}"), ("odd", "a\u{2028}b\u{85}\u{7f}c\"ü")],
    );
    let bare = target("node", "http://b:9100", &[]);
    let files = target_files(
        &assignment(&config, [odd, bare]),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Vmagent,
    );
    let text: String = files.into_values().collect();
    for part in [
        r#""__meta_kv___metrics_path__":"/a%20b%3Fc""#,
        r#""__meta_kv___metrics_path__":"/""#,
        r#""__meta_kv_env":"%\u007bHOME}""#,
        r#""__meta_kv_odd":"a\u2028b\u0085\u007fc\"ü""#,
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}
