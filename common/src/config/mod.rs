//! The user's `prometheus.yml`: a tree of its own text, and the typed view the coordinator needs of it.

mod byte_size;
pub mod duration;
mod external_labels;
mod fields;
mod global;
mod go_url;
pub mod http_client;
mod http_client_file;
mod load;
mod other_sections;
mod paths;
mod resolve;
pub mod scrape;
mod shown;
mod sources;
mod values_fingerprint;
pub mod web;
pub mod yaml;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use duration::PromDuration;
pub use http_client::HttpClientConfig;
pub use scrape::{ScrapeConfig, SdConfig};
pub use sources::ConfigSources;
pub use web::WebConfig;

use crate::{fingerprint::Fingerprint, job::JobName, semantics::PrometheusVersion};

/// Reads the files a config names. The real one reads the disk; tests have their own.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read(&self, path: &Path) -> std::io::Result<String>;
    /// The paths that match a pattern, sorted, as Go's `filepath.Glob` finds them.
    ///
    /// # Errors
    /// When the pattern is malformed.
    fn glob(&self, pattern: &Path) -> std::io::Result<Vec<PathBuf>>;
}

/// A whole config: main file and `scrape_config_files`.
#[derive(Clone)]
pub struct Config {
    /// The main file.
    pub path: PathBuf,
    /// All files as they were read.
    pub sources: Arc<ConfigSources>,
    /// The main file's tree.
    pub root: yaml::Node,
    /// The jobs: the main file's, then those of `scrape_config_files`, in order.
    pub jobs: Vec<ScrapeConfig>,
    /// `global.external_labels` as written, before expansion.
    pub external_labels: BTreeMap<String, String>,
    /// `global.scrape_interval`, or its default.
    pub scrape_interval: PromDuration,
}

/// Says which config it is, not what is in it: its text may hold secrets.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, jobs, .. } = self;
        f.debug_struct("Config").field("path", path).field("jobs", jobs).finish_non_exhaustive()
    }
}

/// Why a config was refused: where and what.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The file.
    pub path: PathBuf,
    /// The line, counted from 1, when there is one.
    pub line: Option<usize>,
    /// The job, when it is in one.
    pub job: Option<String>,
    /// What is wrong, in Prometheus' words where it has some.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(job) = &self.job {
            write!(f, ": job {job:?}")?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Config {
    /// Reads and validates a config as the given version of Prometheus would.
    ///
    /// `path` should be absolute; then every path in the result is.
    ///
    /// # Errors
    /// When a file cannot be read or Prometheus would refuse it.
    pub fn load(path: &Path, files: &dyn Files, version: PrometheusVersion) -> Result<Self, ConfigError> {
        load::load(path, files, version)
    }

    /// Reads a config from the files of an earlier one, as [`load`](Self::load) does.
    ///
    /// # Errors
    /// When Prometheus would refuse it.
    pub fn of_sources(sources: &ConfigSources, version: PrometheusVersion) -> Result<Self, ConfigError> {
        Self::load(&sources.path, sources, version)
    }

    /// The job of a name.
    #[must_use]
    pub fn job(&self, name: &JobName) -> Option<&ScrapeConfig> {
        self.jobs.iter().find(|job| job.job_name == *name)
    }

    /// The hash of what coordinator and sidecars must agree on: every value of the config, without
    /// `global.external_labels`, which differ from shard to shard. Comments and layout do not count, nor does the
    /// directory the config lies in.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        values_fingerprint::fingerprint(self)
    }

    /// The whole config as one tree that means the same wherever it lies: the jobs of `scrape_config_files` moved in,
    /// relative paths made absolute, all else as the user wrote it.
    #[must_use]
    pub fn resolved(&self) -> yaml::Node {
        resolve::resolved(self)
    }

    /// The main file as it may be shown to whoever asks: with its secrets hidden, also in blocks of kinds that are not
    /// known here; in doubt a value is hidden.
    #[must_use]
    pub fn shown(&self) -> yaml::Node {
        shown::shown(&self.root)
    }

    /// `global.external_labels`, with `$VAR` and `${VAR}` replaced as Go's `os.Expand` does.
    #[must_use]
    pub fn expanded_external_labels(&self, env: &dyn Fn(&str) -> Option<String>) -> BTreeMap<String, String> {
        self.external_labels.iter().map(|(name, value)| (name.clone(), external_labels::expand(value, env))).collect()
    }
}
