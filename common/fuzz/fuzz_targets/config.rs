//! A user's `prometheus.yml`: reading it never panics, and what is read and written again means the same.

#![no_main]

use std::{
    io,
    path::{Path, PathBuf},
};

use libfuzzer_sys::fuzz_target;
use narthex_common::{
    config::{Config, Files},
    semantics::PrometheusVersion,
};

/// A main file, and one other for every pattern that ends in a star.
struct Two<'a> {
    main: &'a str,
    other: &'a str,
}

const MAIN: &str = "/etc/prometheus/prometheus.yml";

impl Files for Two<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        Ok(if path == Path::new(MAIN) { self.main } else { self.other }.to_owned())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let pattern = pattern.to_string_lossy();
        Ok(pattern.strip_suffix('*').map(|stem| PathBuf::from(format!("{stem}other.yml"))).into_iter().collect())
    }
}

fuzz_target!(|text: &str| {
    let (main, other) = text.split_once("\u{1}").unwrap_or((text, ""));
    for version in [PrometheusVersion::V2_42, PrometheusVersion::V3_5] {
        let config = match Config::load(Path::new(MAIN), &Two { main, other }, version) {
            Ok(config) => config,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                continue;
            }
        };
        let written = config.resolved().to_yaml();
        let mut tree = config.resolved();
        // What it names is inside it now.
        tree.retain_keys(|key| key != "scrape_config_files");
        let one_file = tree.to_yaml();
        let again = Config::load(Path::new(MAIN), &Two { main: &one_file, other: "" }, version)
            .unwrap_or_else(|error| panic!("{error}\n--- read:\n{main}\n--- written:\n{written}"));
        assert_eq!(again.jobs.len(), config.jobs.len(), "{written}");
        for (again, job) in again.jobs.iter().zip(&config.jobs) {
            assert_eq!(again.job_name, job.job_name);
            assert_eq!(again.metric_relabel_configs, job.metric_relabel_configs);
            assert_eq!(again.http_client, job.http_client);
            assert_eq!(again.params, job.params);
        }
        let mut twice = again.resolved();
        twice.retain_keys(|key| key != "scrape_config_files");
        assert_eq!(twice.to_yaml(), one_file, "what was written is written the same again");
    }
});
