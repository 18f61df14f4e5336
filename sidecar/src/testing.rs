//! What several tests of this crate need: files that are only in memory, assignments in few words.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use narthex_common::{
    assignment::{AssignedTarget, Assignment, Revision, TargetState},
    config::{Config, Files},
    labels::Labels,
    semantics::PrometheusVersion,
    target::Target,
};

use crate::job_ids::JobIds;

/// Files in memory.
pub(crate) struct Memory(pub(crate) BTreeMap<PathBuf, String>);

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let (start, end) = pattern.to_str().and_then(|p| p.split_once('*')).unwrap_or((pattern.to_str().unwrap(), ""));
        let fits = |path: &&PathBuf| path.to_str().is_some_and(|p| p.starts_with(start) && p.ends_with(end));
        Ok(self.0.keys().filter(fits).cloned().collect())
    }
}

/// A config at `/etc/prometheus/prometheus.yml`, with further files.
pub(crate) fn config(text: &str, others: &[(&str, &str)]) -> Config {
    let path = PathBuf::from("/etc/prometheus/prometheus.yml");
    let mut files: BTreeMap<_, _> = others.iter().map(|(path, text)| (PathBuf::from(path), (*text).into())).collect();
    files.insert(path.clone(), text.to_owned());
    Config::load(&path, &Memory(files), PrometheusVersion::V3_5).unwrap()
}

pub(crate) fn ids(config: &Config) -> JobIds {
    JobIds::of(config)
}

/// A target of a job with the labels every target has, and more.
pub(crate) fn target(job: &str, url: &str, more: &[(&str, &str)]) -> AssignedTarget {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = format!("/{}", path.split('?').next().unwrap());
    let labels = [
        ("__address__", address),
        ("__metrics_path__", &path),
        ("__scheme__", scheme),
        ("__scrape_interval__", "15s"),
        ("__scrape_timeout__", "10s"),
        ("instance", address),
        ("job", job),
    ];
    let labels: Labels = labels.iter().chain(more).copied().collect();
    let target = Target::new(job.into(), labels, url.into());
    AssignedTarget { target, state: TargetState::Normal, since: None, load: None }
}

pub(crate) fn assignment(config: &Config, targets: impl IntoIterator<Item = AssignedTarget>) -> Assignment {
    Assignment {
        revision: Revision(1),
        config: config.fingerprint(),
        targets: targets.into_iter().map(|t| (t.target.id, t)).collect(),
        ..Assignment::default()
    }
}
