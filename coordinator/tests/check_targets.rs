//! `check targets` against what Prometheus itself says: our own cases, and those of the OpenTelemetry target allocator.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use narthex_common::{config::Config, labels::Labels, semantics::PrometheusVersion};
use narthex_coordinator::check::targets::{TargetsReport, discover};
use narthex_runtime::files::Disk;
use serde::Deserialize;

/// What `promtool check service-discovery` says of one label set; no labels mean that it was dropped.
#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
struct Golden {
    discovered_labels: Labels,
    labels: Labels,
}

async fn report(path: &Path, version: PrometheusVersion) -> TargetsReport {
    let config = Config::load(path, &Disk, version).unwrap_or_else(|error| panic!("{error}"));
    discover(config, version, Duration::from_secs(5)).await
}

/// A report as promtool has it. Of label sets that became one target it lists each, a report only one.
fn goldens_of(report: &TargetsReport) -> Vec<Golden> {
    let active = report.active_targets.iter().map(|target| Golden {
        discovered_labels: target.discovered_labels.clone(),
        labels: target.labels.iter().chain(target.internal_labels.iter()).collect(),
    });
    let dropped = report
        .dropped_targets
        .iter()
        .map(|target| Golden { discovered_labels: target.discovered_labels.clone(), labels: Labels::default() });
    let mut all: Vec<Golden> = active.chain(dropped).collect();
    all.sort_unstable();
    all
}

/// Keeps one of the entries that became one target, the one a report shows.
fn without_duplicates(mut goldens: Vec<Golden>) -> Vec<Golden> {
    goldens.sort_unstable();
    let mut kept: BTreeMap<Labels, Golden> = BTreeMap::new();
    let (mut dropped, active): (Vec<_>, Vec<_>) = goldens.into_iter().partition(|golden| golden.labels.is_empty());
    for golden in active {
        kept.entry(golden.labels.clone()).or_insert(golden);
    }
    dropped.extend(kept.into_values());
    dropped.sort_unstable();
    dropped
}

#[tokio::test]
async fn the_target_allocators_cases_come_out_as_promtool_says() {
    let folder = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
    let Ok(cases) = fs::read_dir(Path::new(&folder).join("otel_allocator_goldens")) else {
        println!("skipped: no conformance data");
        return;
    };
    let mut seen = 0;
    for case in cases.map(|case| case.unwrap().path()).filter(|path| path.is_dir()) {
        let report = report(&case.join("prometheus.yaml"), PrometheusVersion::V3_5).await;
        let golden = fs::read_to_string(case.join("golden.json")).unwrap();
        let golden: Vec<Golden> = serde_json::from_str(&golden).unwrap();
        assert_eq!(goldens_of(&report), without_duplicates(golden), "{}", case.display());
        assert_eq!(report.errors, [], "{}", case.display());
        seen += 1;
    }
    assert!(seen > 0);
    println!("{seen} cases");
}

/// The folders of `testdata/check`: a sentence each, with a `prometheus.yml` and, by Prometheus version, what must come
/// of it. Set `UPDATE` to write the expectations anew, and read the difference.
fn own_cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/check");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|case| case.unwrap().path()).collect();
    cases.sort();
    cases
}

#[tokio::test]
async fn every_case_comes_out_as_written_down() {
    for case in own_cases() {
        let mut found = 0;
        for (version, file) in
            [(PrometheusVersion::V3_5, "targets.json"), (PrometheusVersion::V2_42, "targets-2.42.json")]
        {
            let expected = case.join(file);
            if !expected.exists() {
                continue;
            }
            found += 1;
            let report = report(&case.join("prometheus.yml"), version).await;
            // Paths differ from machine to machine.
            let folder = case.display().to_string();
            let text = serde_json::to_string_pretty(&report).unwrap().replace(&folder, "FOLDER") + "\n";
            if std::env::var_os("UPDATE").is_some() {
                fs::write(&expected, &text).unwrap();
            }
            assert_eq!(fs::read_to_string(&expected).unwrap(), text, "{}", expected.display());
        }
        assert!(found > 0, "{} expects nothing", case.display());
    }
}
