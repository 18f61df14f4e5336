//! The dry commands, run as a user runs them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use assert_cmd::Command;
use rstest::rstest;
use tempfile::TempDir;

struct Outcome {
    success: bool,
    stdout: String,
    stderr: String,
}

/// Runs `check` on `prometheus.yml` in a folder; the folder's name is cut out of what it says.
fn check(folder: &Path, what: &str, args: &[&str]) -> Outcome {
    let mut command = Command::cargo_bin("narthex-coordinator").unwrap();
    let output = command.args(["check", what]).arg(folder.join("prometheus.yml")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&format!("{}/", folder.display()), "");
    Outcome { success: output.status.success(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

fn folder_with(yaml: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("prometheus.yml"), yaml).unwrap();
    folder
}

#[test]
fn a_good_config_is_said_to_be_good() {
    let folder = folder_with("scrape_configs:\n- job_name: a\n- job_name: b\n");
    let checked = check(folder.path(), "config", &[]);
    assert_eq!(checked.stdout, "prometheus.yml: valid for Prometheus 3.5 and Narthex, 2 jobs\n");
    assert_eq!((checked.success, checked.stderr.as_str()), (true, ""));
}

#[rstest]
#[case::of_prometheus(
    "scrape_configs:\n- job_name: a\n- job_name: a\n",
    "narthex-coordinator: prometheus.yml:3: job \"a\": found multiple scrape configs with job name \"a\"\n"
)]
#[case::of_a_relabeling_rule(
    "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {action: hashmod, target_label: x}\n",
    "relabel configuration for hashmod requires non-zero modulus"
)]
#[case::of_a_kind_of_discovery(
    "scrape_configs:\n- job_name: k8s\n  kubernetes_sd_configs:\n  - role: pod\n",
    "narthex-coordinator: prometheus.yml:4: job \"k8s\": kubernetes_sd_configs is not supported yet; Narthex discovers \
     static_configs, file_sd_configs, http_sd_configs, dns_sd_configs and consul_sd_configs\n"
)]
#[case::of_a_missing_file(
    "scrape_configs:\n- job_name: a\n  authorization: {credentials_file: token}\n",
    "prometheus.yml:2: job \"a\": error checking authorization credentials or bearer token file \"token\": "
)]
#[case::of_a_target_that_cannot_be_scraped(
    "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['h:1', '']}]\n",
    "prometheus.yml:2: job \"a\": instance 1 in group 0: no address\n"
)]
#[case::of_a_missing_rule_file(
    "rule_files: [rules/*.yml, other.yml]\n",
    "narthex-coordinator: prometheus.yml: \"other.yml\" does not point to an existing file\n"
)]
fn an_error_is_told_with_file_line_and_job(#[case] yaml: &str, #[case] error: &str) {
    let folder = folder_with(yaml);
    let checked = check(folder.path(), "config", &[]);
    assert!(checked.stderr.contains(error), "{}", checked.stderr);
    assert!(!checked.stderr.contains("geheim"));
    assert_eq!((checked.success, checked.stdout.as_str()), (false, ""));
}

#[test]
fn all_that_is_not_supported_is_told_at_once() {
    let folder = folder_with(
        "scrape_configs:\n- job_name: a\n  nerve_sd_configs: [{}]\n- job_name: b\n  uyuni_sd_configs: [{}]\n",
    );
    let checked = check(folder.path(), "config", &[]);
    assert_eq!(checked.stderr.lines().count(), 2, "{}", checked.stderr);
}

#[test]
fn files_of_targets_are_checked_too() {
    let folder = folder_with("scrape_configs:\n- job_name: a\n  file_sd_configs: [{files: [bad.json, later.json]}]\n");
    fs::write(folder.path().join("bad.json"), "[{\"target\": []}]").unwrap();
    let checked = check(folder.path(), "config", &[]);
    assert!(checked.stderr.contains("job \"a\": checking SD file \"bad.json\": json: unknown field \"target\""));
    assert!(!checked.success);

    fs::write(folder.path().join("bad.json"), "[]").unwrap();
    let checked = check(folder.path(), "config", &[]);
    assert!(checked.success, "{}", checked.stderr);
    let warning = "warning: prometheus.yml:2: job \"a\": file \"later.json\" for file_sd does not exist";
    assert!(checked.stderr.contains(warning), "{}", checked.stderr);
}

#[test]
fn targets_are_printed_as_json_for_programs() {
    let folder = folder_with(
        "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['h:1']}]\n- job_name: b\n  static_configs: [{targets: ['h:2']}]\n",
    );
    let checked = check(folder.path(), "targets", &["--output", "json", "--job", "b"]);
    assert!(checked.success, "{}", checked.stderr);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["activeTargets"].as_array().unwrap().len(), 1);
    assert_eq!(report["activeTargets"][0]["scrapeUrl"], "http://h:2/metrics");
    assert_eq!(report["activeTargets"][0]["labels"], serde_json::json!({"instance": "h:2", "job": "b"}));
}

#[test]
fn targets_are_printed_as_tables_for_people() {
    let folder = folder_with(
        "scrape_configs:\n- job_name: a\n  static_configs: [{targets: ['h:1', 'h/2', 'h:3']}]\n  \
         relabel_configs: [{source_labels: [__address__], regex: 'h:3', action: drop}]\n",
    );
    let checked = check(folder.path(), "targets", &[]);
    assert!(checked.success, "{}", checked.stderr);
    for part in ["http://h:1/metrics", r#"{instance="h:1", job="a"}"#, r#""h/2" is not a valid hostname"#, "Dropped"] {
        assert!(checked.stdout.contains(part), "{part} is missing in\n{}", checked.stdout);
    }
}

#[test]
fn a_discovery_that_does_not_answer_is_an_error_of_its_job_only() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://user:geheim@{}/sd", listener.local_addr().unwrap());
    let folder = folder_with(&format!(
        "scrape_configs:\n- job_name: mute\n  http_sd_configs: [{{url: '{url}'}}]\n- job_name: refused\n  \
         http_sd_configs: [{{url: 'http://127.0.0.1:1/sd'}}]\n- job_name: fine\n  static_configs: [{{targets: ['h:1']}}]\n"
    ));
    let checked = check(folder.path(), "targets", &["--output", "json", "--timeout", "1s"]);
    assert!(checked.success, "{}", checked.stderr);
    let report: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    assert_eq!(report["activeTargets"].as_array().unwrap().len(), 1);
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_eq!(errors[0]["scrapePool"], "mute");
    assert!(errors[0]["error"].as_str().unwrap().contains("no answer within 1 s"), "{errors:?}");
    assert!(errors[1]["error"].as_str().unwrap().contains("connection refused"), "{errors:?}");
    assert!(!checked.stdout.contains("geheim"));
}

#[test]
fn a_job_that_is_not_there_is_an_error() {
    let folder = folder_with("scrape_configs:\n- job_name: a\n");
    let checked = check(folder.path(), "targets", &["--job", "b"]);
    assert_eq!(checked.stderr, "narthex-coordinator: prometheus.yml: there is no job \"b\"\n");
    assert!(!checked.success);
}
