//! What a shard runs with, as a whole and detail by detail. What `promtool` says of it is asked when there is one.

use std::{fmt::Write as _, fs, process::Command};

use narthex_common::config::yaml::Node;
use rstest::rstest;

use super::{layout::DEFAULT_DIRECTORIES, *};

mod leaving;
mod relabeled_here;
mod vmagent;

use crate::testing::{assignment, config as load, ids, target};

/// Two jobs, one of which makes use of everything that a shard must not see, and one in a file of its own.
const AWKWARD: &str = r#"
# The user's words.
global:
  scrape_interval: 15s
  external_labels: {region: eu-1, pod: "${POD_NAME}"}
  target_limit: 500
rule_files: [rules/*.yml]
alerting:
  alertmanagers:
  - basic_auth: {username: alert, password: alert-secret}
    static_configs: [{targets: ["alertmanager:9093"]}]
scrape_config_files: ["jobs/*.yml"]
scrape_configs:
- job_name: node
  honor_labels: true
  scheme: https
  metrics_path: /probe
  params: {module: [http_2xx, other], target: ["0x1F"]}
  sample_limit: 1_000
  target_limit: 7
  basic_auth: {username: prometheus, password: scrape-secret}
  tls_config: {ca_file: ca.pem, insecure_skip_verify: yes}
  follow_redirects: true
  enable_http2: true
  proxy_url: http://user:proxy-secret@proxy.example:3128
  no_proxy: localhost
  static_configs:
  - targets: ["a:9100", "b:9100"]
    labels: {zone: "1.10"}
  file_sd_configs:
  - files: [more/*.json]
  relabel_configs:
  - {source_labels: [__address__], regex: "(.*):\\d+", target_label: instance, replacement: $1}
  metric_relabel_configs:
  - {regex: "secret_.*", action: labeldrop}
  - {source_labels: [__name__], regex: go_.*, target_label: kind, replacement: ""}
remote_write:
- url: https://store.example/api/v1/push
  bearer_token_file: token
"#;

const SPLIT: &str = r"
scrape_configs:
- job_name: split off
  scrape_interval: 1m
  http_sd_configs: [{url: http://sd.example/targets}]
";

fn awkward() -> Config {
    load(AWKWARD, &[("/etc/prometheus/jobs/one.yml", SPLIT)])
}

fn settings() -> RenderSettings {
    RenderSettings {
        proxy_address: "127.0.0.1:8008".to_owned(),
        token: Secret::new("0123456789abcdef"),
        target_directory: "/store/targets".into(),
        directories: DEFAULT_DIRECTORIES,
        rules: Rules::Drop,
        kind: PrometheusKind::Server,
        version: Some(PrometheusVersion::V3_5),
    }
}

fn layout(config: &Config) -> Layout {
    Layout::of(&ids(config), DEFAULT_DIRECTORIES)
}

fn many_jobs(count: usize) -> Config {
    let mut text = "scrape_configs:\n".to_owned();
    for i in 0..count {
        writeln!(text, "- {{job_name: job-{i}, static_configs: [{{targets: ['a:1']}}]}}").unwrap();
    }
    load(&text, &[])
}

#[test]
fn a_shard_runs_with_the_users_config_except_for_what_is_not_prometheus_own_any_more() {
    let config = awkward();
    insta::assert_snapshot!(super::config(&config, &ids(&config), &LeavingPools::new(), &settings()));
}

#[test]
fn rules_and_alerting_stay_when_asked_to() {
    let config = awkward();
    let settings = RenderSettings { rules: Rules::Keep, ..settings() };
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &settings);
    assert!(text.contains("/etc/prometheus/rules/*.yml"), "{text}");
    assert!(text.contains("alert-secret"), "{text}");
}

#[test]
fn an_agent_is_not_given_what_it_refuses() {
    let config =
        load("remote_write: [{url: http://store}]\nremote_read: [{url: http://store}]\nrule_files: [a.yml]\n", &[]);
    let settings = RenderSettings { kind: PrometheusKind::Agent, ..settings() };
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &settings);
    assert!(text.contains("remote_write"), "{text}");
    assert!(!text.contains("remote_read") && !text.contains("rule_files"), "{text}");
}

#[test]
fn no_credentials_of_scrapes_are_in_the_generated_config() {
    let config = awkward();
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &settings());
    for secret in ["scrape-secret", "proxy-secret", "ca.pem", "alert-secret"] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

#[test]
fn targets_carry_their_final_labels_and_nothing_else() {
    let config = awkward();
    let targets = [
        target("node", "https://a:9100/probe", &[("zone", "1.10"), ("__param_module", "other"), ("__tmp", "x")]),
        target("split off", "http://c:80/metrics", &[]),
        target("a job that is gone", "http://d:80/metrics", &[]),
    ];
    let files = target_files(
        &assignment(&config, targets),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Server,
    );
    let mut text = String::new();
    for (path, contents) in &files {
        writeln!(text, "{}\n{contents}", path.display()).unwrap();
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_label_that_a_target_has_lost_stays_lost() {
    let config = awkward();
    let lost = target("node", "http://a:9100/", &[("job", ""), ("__metrics_path__", "")]);
    let files = target_files(
        &assignment(&config, [lost]),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Server,
    );
    let text = files.values().find(|text| text.contains("a:9100")).unwrap();
    assert!(!text.contains("__meta_kv_job"), "{text}");
    assert!(!text.contains("__meta_kv___metrics_path__"), "{text}");
}

#[test]
fn a_target_that_differs_from_another_in_its_scheme_alone_is_told_apart() {
    let config = awkward();
    let twins = [target("node", "http://a:1/m", &[]), target("node", "https://a:1/m", &[])];
    let files = target_files(
        &assignment(&config, twins),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Server,
    );
    let text: String = files.into_values().collect();
    assert_eq!(text.matches(r#""__meta_kv___param_narthex_scheme":"https""#).count(), 1, "{text}");
    assert_eq!(text.matches(r#""__meta_kv___scheme__":"http""#).count(), 2, "{text}");
}

#[test]
fn a_job_without_targets_has_an_empty_file() {
    let config = awkward();
    let files = target_files(
        &Assignment::default(),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Server,
    );
    assert_eq!(files.into_values().collect::<Vec<_>>(), ["[\n{\"targets\":[]}\n]\n"; 2]);
}

#[rstest]
#[case::few(32, 32)]
#[case::many(33, 1)]
fn jobs_share_directories_only_when_they_are_many(#[case] jobs: usize, #[case] at_least: usize) {
    let config = many_jobs(jobs);
    let files = target_files(
        &Assignment::default(),
        &Leaving::default(),
        &ids(&config),
        layout(&config),
        PrometheusKind::Server,
    );
    let directories: std::collections::BTreeSet<_> = files.keys().map(|file| file.parent().unwrap()).collect();
    assert!((at_least..=32).contains(&directories.len()), "{directories:?}");
    assert_eq!(files.len(), jobs);
}

#[rstest]
#[case::too_old(Some(PrometheusVersion::V2_42), false)]
#[case::unknown(None, false)]
#[case::new_enough(Some(PrometheusVersion::V3_5), true)]
fn dropped_neighbours_are_forgotten_where_prometheus_can(
    #[case] version: Option<PrometheusVersion>,
    #[case] expected: bool,
) {
    let config = many_jobs(40);
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &RenderSettings { version, ..settings() });
    assert_eq!(text.matches("keep_dropped_targets: 1").count(), if expected { 40 } else { 0 });
    assert_eq!(text.matches("__meta_kvjob").count(), 40);
}

#[test]
fn a_config_without_jobs_is_left_as_it_is() {
    let config = load("global: {scrape_interval: 5s}\n", &[]);
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &settings());
    assert!(text.contains("scrape_interval: 5s"), "{text}");
}

#[test]
fn promtool_accepts_what_is_generated() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("note: no promtool on PATH; what it would say of the generated config is not known");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    for config in [awkward(), many_jobs(3), many_jobs(40)] {
        let settings = RenderSettings {
            target_directory: directory.path().join("targets"),
            // Debian's.
            version: Some(PrometheusVersion::V2_42),
            ..settings()
        };
        let ids = ids(&config);
        let jobs: Vec<_> = config.jobs.iter().map(|job| job.job_name.to_string()).collect();
        let targets = jobs.iter().map(|job| target(job, "https://a:9100/metrics", &[("zone", "1.10")]));
        for (file, text) in target_files(
            &assignment(&config, targets),
            &Leaving::default(),
            &ids,
            layout(&config),
            PrometheusKind::Server,
        ) {
            let path = settings.target_directory.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let path = directory.path().join("prometheus.yml");
        let pools = BTreeMap::from([(GenerationId(1), config.jobs.iter().map(|job| job.job_name.clone()).collect())]);
        fs::write(&path, super::config(&config, &ids, &pools, &settings)).unwrap();
        // Files that the user's config names are not there: only the syntax is looked at.
        let said = Command::new("promtool").args(["check", "config", "--syntax-only"]).arg(&path).output().unwrap();
        assert!(
            said.status.success(),
            "{}{}",
            String::from_utf8_lossy(&said.stdout),
            String::from_utf8_lossy(&said.stderr)
        );
    }
}

#[test]
fn the_generated_config_can_be_read_again_and_has_the_same_jobs() {
    let config = awkward();
    let text = super::config(&config, &ids(&config), &LeavingPools::new(), &settings());
    let again = load(&text, &[]);
    let names = |config: &Config| config.jobs.iter().map(|job| job.job_name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&again), names(&config));
    // What the user wrote of samples is what Prometheus does to samples.
    let rules = |config: &Config| {
        config.jobs.iter().map(|job| job.node.get("metric_relabel_configs").map(Node::to_yaml)).collect::<Vec<_>>()
    };
    assert_eq!(rules(&again), rules(&config));
}
