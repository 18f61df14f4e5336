//! What Prometheus' own tests say about configs: its good ones load with its values, its bad ones fail with its words.
//!
//! The cases are data read off Prometheus and lie outside this repository; without them the tests say so and pass. The
//! project's own cases are in `config_cases.rs`.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod config_support;
#[cfg(test)]
mod conformance;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use config_support::{Memory, OnDisk, prometheus_3};
use narthex_common::config::{Config, PromDuration, ScrapeConfig, SdConfig, http_client::Source};
use serde_json::Value;

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} in {case}"))
}

#[test]
fn durations_are_prometheus_durations() {
    let Some(cases) = conformance::read("durations.json") else { return };
    for case in cases["parse"].as_array().unwrap().iter().chain(cases["derived"].as_array().unwrap()) {
        let duration: PromDuration = text(case, "in").parse().unwrap();
        assert_eq!(duration.0, case["milliseconds"].as_u64().unwrap(), "{case}");
        assert_eq!(duration.to_string(), text(case, "string"));
    }
    for bad in cases["bad"].as_array().unwrap() {
        assert!(bad.as_str().unwrap().parse::<PromDuration>().is_err(), "{bad}");
    }
    for (bad, message) in cases["bad_messages"].as_object().unwrap() {
        assert_eq!(&bad.parse::<PromDuration>().unwrap_err().to_string(), message);
    }
}

/// A config with one job that has the given HTTP client settings.
fn with_http_client(settings: &str) -> Result<Config, String> {
    let mut config = String::from("scrape_configs:\n- job_name: it\n");
    if settings.trim_start().starts_with('{') {
        // JSON: its entries are those of the job.
        let inner = settings.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap().replace('\t', " ");
        config = format!("scrape_configs:\n- {{job_name: it, {inner}}}\n");
    } else {
        settings.lines().for_each(|line| config += &format!("  {line}\n"));
    }
    load(&config)
}

fn load(text: &str) -> Result<Config, String> {
    let files = Memory::of([("/etc/prometheus/prometheus.yml", text)]);
    Config::load(Path::new("/etc/prometheus/prometheus.yml"), &files, prometheus_3()).map_err(|e| e.to_string())
}

#[test]
fn http_client_settings_are_judged_as_prometheus_does() {
    let Some(cases) = conformance::read("http_client_config.json") else { return };
    for case in cases["http_good"].as_array().unwrap() {
        let loaded = with_http_client(text(case, "text"));
        assert!(loaded.is_ok(), "{}: {loaded:?}", text(case, "file"));
    }
    for case in cases["http_bad"].as_array().unwrap() {
        let error = with_http_client(text(case, "text")).expect_err(text(case, "file"));
        assert!(error.contains(text(case, "expected_error_contains")), "{}: {error}", text(case, "file"));
    }
    let tls = |case: &Value| {
        let indented: String = text(case, "text").lines().map(|line| format!("  {line}\n")).collect();
        with_http_client(&format!("tls_config:\n{indented}"))
    };
    for case in cases["tls_good"].as_array().unwrap() {
        assert!(tls(case).is_ok(), "{case}");
    }
    for case in cases["tls_bad"].as_array().unwrap() {
        assert!(tls(case).is_err(), "{case}");
    }
}

/// Bad configs that are left to the shard's own Prometheus, by what is bad in them. Narthex does not interpret these
/// sections, and passes them on as they are.
const LEFT_TO_PROMETHEUS: [(&str, &[&str]); 9] = [
    (
        "the inside of discoveries that Narthex does not do itself, and what it does not know of those it does",
        &[
            "kubernetes_role.",
            "kubernetes_namespace_discovery.",
            "marathon_",
            "openstack_",
            "ec2_",
            "lightsail_",
            "azure_",
            "oci_",
            "puppetdb_",
            "hetzner_",
            "eureka_",
            "scaleway_",
            "outscale_",
            "uyuni_",
            "ionos_",
            "ovhcloud_",
            "stackit_",
        ],
    ),
    (
        "the inside of remote write and remote read",
        &[
            "remote_write_header",
            "remote_read_header",
            "remote_write_authorization_header",
            "remote_write_wrong_msg",
            "remote_write_queue_",
            "empty_rw_relabel_config",
        ],
    ),
    ("alerting", &["empty_alert_relabel_config", "empty_alertmanager_relabel_config"]),
    ("tracing", &["tracing_"]),
    ("storage", &["tsdb_"]),
    ("OTLP", &["otlp_"]),
    ("agent mode, which is the shard's affair", &["agent_mode."]),
    ("a target group on its own: target files are discovery's", &["static_config.bad.yml"]),
    (
        "they include files that the data does not bring; config_cases.rs has the like",
        &["scrape_config_files_double_import", "scrape_config_files_duplicate", "scrape_config_files_global.bad"],
    ),
];

/// Cases whose text comes from Go's YAML library or cannot be the same, with what must be said instead.
const OTHER_WORDS: [(&str, &str); 3] = [
    // Text that is not UTF-8 is refused where it is read.
    ("labelname.bad.yml", r#""\xff" is not valid UTF-8"#),
    ("labelvalue.bad.yml", r#""\xff" is not valid UTF-8"#),
    ("scrape_config_files_fallback_scrape_protocol2.bad.yml", "fallback_scrape_protocol"),
];

#[test]
fn bad_configs_fail_in_prometheus_words() {
    let Some(data) = conformance::read("config_bad.json") else { return };
    let mut checked = 0;
    let mut failures = Vec::new();
    for case in data["cases"].as_array().unwrap() {
        let file = text(case, "file");
        if LEFT_TO_PROMETHEUS.iter().any(|(_, names)| names.iter().any(|name| file.starts_with(name))) {
            continue;
        }
        checked += 1;
        let expected: Vec<&str> = match OTHER_WORDS.iter().find(|(name, _)| *name == file) {
            Some((_, words)) => vec![words],
            None => case["expected_error_contains"].as_array().unwrap().iter().map(|e| e.as_str().unwrap()).collect(),
        };
        match load(text(case, "text")) {
            Ok(_) => failures.push(format!("{file}: loads, but should say {expected:?}")),
            Err(error) => {
                for words in expected {
                    // Prometheus names the file in its own way.
                    let words = words.rsplit_once(&format!("{file}: ")).map_or(words, |(_, message)| message);
                    if !error.contains(words) {
                        failures.push(format!("{file}: {error}\n    should say {words}"));
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {checked}:\n{}", failures.len(), failures.join("\n"));
    assert!(checked >= 55, "only {checked} cases checked");
}

#[test]
fn good_configs_load_with_prometheus_values() {
    let Some(data) = conformance::read("config_good_expected.json") else { return };
    let dir = conformance::folder().join("config_good");
    for (file, expected) in data["files"].as_object().unwrap() {
        let path = dir.join(file);
        if file.contains("windows") {
            continue;
        }
        let config = Config::load(&path, &OnDisk, prometheus_3()).unwrap_or_else(|error| panic!("{error}"));
        if let Some(jobs) = expected["get_scrape_configs"].as_array() {
            assert_eq!(config.jobs.len(), jobs.len(), "{file}");
            for (job, expected) in config.jobs.iter().zip(jobs) {
                check_job(job, expected.as_object().unwrap(), &dir, file);
            }
        }
        for (job, expected) in expected["scrape_configs"].as_array().into_iter().flatten().enumerate() {
            check_job(&config.jobs[job], expected.as_object().unwrap(), &dir, file);
        }
        if let Some(first) = expected["first_scrape_config"].as_object() {
            check_job(&config.jobs[0], first, &dir, file);
        }
        for by_env in expected["external_labels_by_env"].as_array().into_iter().flatten() {
            let env = |name: &str| by_env["env"][name].as_str().map(str::to_owned);
            let expected: BTreeMap<String, String> = serde_json::from_value(by_env["external_labels"].clone()).unwrap();
            assert_eq!(config.expanded_external_labels(&env), expected, "{file}");
        }
        if expected["check"] == "every scrape_interval >= scrape_timeout" {
            assert!(config.jobs.iter().all(|job| job.scrape_interval >= job.scrape_timeout));
        }
        assert!(expected["loads"].as_bool().unwrap());
    }
}

/// Compares every value that is expected; a key this does not know is a failure of the test itself.
fn check_job(job: &ScrapeConfig, expected: &serde_json::Map<String, Value>, dir: &Path, file: &str) {
    for (key, value) in expected {
        let seen = match key.as_str() {
            "job_name" => job.job_name.as_str().into(),
            "scrape_interval" => job.scrape_interval.to_string().into(),
            "scrape_timeout" => job.scrape_timeout.to_string().into(),
            "scrape_protocols" => job.scrape_protocols.clone().into(),
            "honor_timestamps" => job.honor_timestamps.into(),
            "metrics_path" => job.metrics_path.clone().into(),
            "scheme" => job.scheme.clone().into(),
            "enable_compression" => job.enable_compression.into(),
            "metric_name_validation_scheme" => serde_json::to_value(job.name_validation).unwrap(),
            "metric_name_escaping_scheme" => job.metric_name_escaping_scheme.clone().into(),
            "scrape_native_histograms" => job.scrape_native_histograms.into(),
            "always_scrape_classic_histograms" => job.always_scrape_classic_histograms.into(),
            "convert_classic_histograms_to_nhcb" => job.convert_classic_histograms_to_nhcb.into(),
            "extra_scrape_metrics" => job.extra_scrape_metrics.into(),
            "follow_redirects" => job.http_client.follow_redirects.into(),
            "enable_http2" => job.http_client.enable_http2.into(),
            "static_targets" => static_targets(job).into(),
            "tls_config" => {
                let tls = &job.http_client.tls;
                let cert = tls.cert.as_ref().map(|source| relative(source, dir));
                let key = tls.key.as_ref().map(|source| relative(source, dir));
                serde_json::json!({"cert_file": cert, "key_file": key})
            }
            "vultr_sd_configs" => {
                assert!(
                    matches!(&job.discovery[..], [SdConfig::Other(other)] if other.kind == *key),
                    "{:?}",
                    job.discovery
                );
                continue;
            }
            unknown => panic!("{file}: {unknown} is expected, but not compared"),
        };
        assert_eq!(&seen, value, "{file}: {key} of {}", job.job_name);
    }
}

fn static_targets(job: &ScrapeConfig) -> Vec<String> {
    let groups = job.discovery.iter().filter_map(|sd| match sd {
        SdConfig::Static(group) => Some(group.targets.clone()),
        SdConfig::File(_)
        | SdConfig::Http(_)
        | SdConfig::Dns(_)
        | SdConfig::Consul(_)
        | SdConfig::Kubernetes(_)
        | SdConfig::Other(_) => None,
    });
    groups.flatten().collect()
}

fn relative<T>(source: &Source<T>, dir: &Path) -> PathBuf {
    match source {
        Source::File(path) => path.strip_prefix(dir).unwrap().to_owned(),
        Source::Inline(_) => panic!("not a file"),
    }
}

#[test]
fn inline_cases_load_too() {
    let Some(data) = conformance::read("config_good_expected.json") else { return };
    for case in data["inline"]["extra_scrape_metrics"].as_array().unwrap() {
        let config = load(text(case, "config_yaml")).unwrap();
        assert_eq!(config.jobs[0].extra_scrape_metrics, case["expected_effective"], "{case}");
    }
    assert!(load("").unwrap().jobs.is_empty());
    assert!(load("global:\n").unwrap().jobs.is_empty());
}

#[test]
fn no_case_is_left_out_twice_or_for_nothing() {
    let Some(data) = conformance::read("config_bad.json") else { return };
    let files: BTreeSet<&str> = data["cases"].as_array().unwrap().iter().map(|case| text(case, "file")).collect();
    for name in LEFT_TO_PROMETHEUS.iter().flat_map(|(_, names)| names.iter()) {
        assert!(files.iter().any(|file| file.starts_with(name)), "{name} leaves out nothing");
    }
}
