//! `check targets` against what Prometheus itself says: our own cases, and those of the OpenTelemetry target allocator.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "tests say what they skipped")]

mod golden;
mod oracle;
mod promtool;
mod server;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use narthex_common::{config::Config, semantics::PrometheusVersion};
use narthex_coordinator::check::targets::{TargetsReport, discover};
use narthex_runtime::files::Disk;

use self::golden::{Golden, goldens_of, without_duplicates};

async fn report(path: &Path, version: PrometheusVersion) -> TargetsReport {
    let config = Config::load(path, &Disk, version).unwrap_or_else(|error| panic!("{error}"));
    discover(config, version, Duration::from_secs(5)).await
}

/// The folders of the target allocator's cases, where they are at hand.
fn allocator_cases() -> Vec<PathBuf> {
    let folder = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
    let Ok(cases) = fs::read_dir(Path::new(&folder).join("otel_allocator_goldens")) else {
        println!("skipped: no conformance data");
        return Vec::new();
    };
    let cases: Vec<_> = cases.map(|case| case.unwrap().path()).filter(|path| path.is_dir()).collect();
    assert!(!cases.is_empty());
    cases
}

#[tokio::test]
async fn the_target_allocators_cases_come_out_as_promtool_says() {
    let mut seen = 0;
    for case in allocator_cases() {
        let report = report(&case.join("prometheus.yaml"), PrometheusVersion::V3_5).await;
        let golden = fs::read_to_string(case.join("golden.json")).unwrap();
        let golden: Vec<Golden> = serde_json::from_str(&golden).unwrap();
        assert_eq!(goldens_of(&report), without_duplicates(golden), "{}", case.display());
        assert_eq!(report.errors, [], "{}", case.display());
        seen += 1;
    }
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
