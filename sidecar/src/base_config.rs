//! The user's config: read from a file or given by the coordinator, and remembered as it last worked, so that a sidecar
//! that is restarted over a broken file goes on with what ran before.

use std::path::{Path, PathBuf};

use narthex_common::{
    config::{Config, ConfigError, ConfigSources},
    report::ConfigFrom,
    semantics::PrometheusVersion,
};
use narthex_runtime::files::{Disk, write_atomic};

/// Where the user's config comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The user's file, absolute; none when the coordinator gives the config.
    pub file: Option<PathBuf>,
    /// Where the last good copy is kept.
    pub last_good: PathBuf,
}

/// The config to start with.
#[derive(Clone, Debug)]
pub struct StartConfig {
    /// The newest that works.
    pub config: Config,
    /// Why it is not the one in the file.
    pub error: Option<ConfigError>,
}

impl ConfigSource {
    /// Where the config comes from, in a report's words.
    #[must_use]
    pub const fn origin(&self) -> ConfigFrom {
        match self.file {
            Some(_) => ConfigFrom::File,
            None => ConfigFrom::Coordinator,
        }
    }

    /// Reads the config: from its file, or what the coordinator gave last. Before it has given any there is no job.
    ///
    /// # Errors
    /// When Prometheus or Narthex would refuse it.
    pub fn load(&self, version: PrometheusVersion) -> Result<Config, ConfigError> {
        match &self.file {
            Some(file) => Config::load(file, &Disk, version),
            None => match self.last_good(version) {
                Some(config) => Ok(config),
                None => Config::of_sources(&ConfigSources::of_text("/prometheus.yml", ""), version),
            },
        }
    }

    /// Reads the config, or takes the last good copy when it is broken.
    ///
    /// # Errors
    /// What is wrong with it, when there is no last good copy either.
    pub fn load_or_last_good(&self, version: PrometheusVersion) -> Result<StartConfig, ConfigError> {
        match self.load(version) {
            Ok(config) => Ok(StartConfig { config, error: None }),
            Err(error) => match self.last_good(version) {
                Some(config) => Ok(StartConfig { config, error: Some(error) }),
                None => Err(error),
            },
        }
    }

    /// Keeps a config that works for the next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, config: &Config) -> std::io::Result<()> {
        if self.kept().is_ok_and(|kept| kept == *config.sources) {
            return Ok(());
        }
        write_atomic(&self.last_good, &serde_json::to_vec_pretty(&*config.sources)?, None)
    }

    /// Whether there is a last good copy.
    #[must_use]
    pub fn has_last_good(&self) -> bool {
        self.last_good.exists()
    }

    /// The last good copy, if there is one that can still be used. It is read as if it still lay where it came from, so
    /// that relative paths in it mean what they meant.
    #[must_use]
    pub fn last_good(&self, version: PrometheusVersion) -> Option<Config> {
        let shown = self.last_good.display();
        let sources = match self.kept() {
            Ok(sources) => sources,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(path = %shown, %error, "the last good config cannot be read");
                return None;
            }
        };
        let path: &Path = self.file.as_deref().unwrap_or(&sources.path);
        Config::load(path, &sources, version)
            .inspect_err(|error| tracing::error!(path = %shown, %error, "the last good config is of no use"))
            .ok()
    }

    fn kept(&self) -> std::io::Result<ConfigSources> {
        serde_json::from_slice(&std::fs::read(&self.last_good)?).map_err(std::io::Error::from)
    }
}
