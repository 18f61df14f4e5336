//! The user's config: read from its file, remembered as it last worked, so that a sidecar that is restarted over a
//! broken file goes on with what ran before.

mod recorded;

use std::path::PathBuf;

use narthex_common::{
    config::{Config, ConfigError},
    semantics::PrometheusVersion,
};
use narthex_runtime::files::{Disk, write_atomic};

use self::recorded::{Recorded, Recording};

/// Where the user's config comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    /// The user's file, absolute.
    pub file: PathBuf,
    /// Where the last good copy is kept.
    pub last_good: PathBuf,
}

/// A config together with all files it was read from.
#[derive(Clone, Debug)]
pub struct LoadedConfig {
    /// The config.
    pub config: Config,
    files: Recorded,
}

/// The config to start with.
#[derive(Clone, Debug)]
pub struct StartConfig {
    /// The newest that works.
    pub loaded: LoadedConfig,
    /// Why it is not the one in the file.
    pub error: Option<ConfigError>,
}

impl ConfigSource {
    /// Reads the config from its file.
    ///
    /// # Errors
    /// When Prometheus or Narthex would refuse it.
    pub fn load(&self, version: PrometheusVersion) -> Result<LoadedConfig, ConfigError> {
        let recording = Recording::of(&Disk);
        let config = Config::load(&self.file, &recording, version)?;
        Ok(LoadedConfig { config, files: recording.finish() })
    }

    /// Reads the config from its file, or takes the last good copy when the file is broken.
    ///
    /// # Errors
    /// What is wrong with the file, when there is no last good copy of it either.
    pub fn load_or_last_good(&self, version: PrometheusVersion) -> Result<StartConfig, ConfigError> {
        match self.load(version) {
            Ok(loaded) => Ok(StartConfig { loaded, error: None }),
            Err(error) => match self.recall(version) {
                Some(loaded) => Ok(StartConfig { loaded, error: Some(error) }),
                None => Err(error),
            },
        }
    }

    /// Keeps a config that works for the next start.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember(&self, loaded: &LoadedConfig) -> std::io::Result<()> {
        let kept = Recorded::read_from(&self.last_good).ok();
        if kept.as_ref() == Some(&loaded.files) {
            return Ok(());
        }
        write_atomic(&self.last_good, &loaded.files.to_json()?, None)
    }

    /// The last good copy. It is read as if it still lay where it came from, so that relative paths in it mean what
    /// they meant.
    fn recall(&self, version: PrometheusVersion) -> Option<LoadedConfig> {
        let files = match Recorded::read_from(&self.last_good) {
            Ok(files) => files,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::error!(path = %self.last_good.display(), %error, "the last good config cannot be read");
                return None;
            }
        };
        match Config::load(&self.file, &files, version) {
            Ok(config) => Some(LoadedConfig { config, files }),
            Err(error) => {
                tracing::error!(path = %self.last_good.display(), %error, "the last good config is of no use");
                None
            }
        }
    }
}
