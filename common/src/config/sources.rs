//! The files that a config was read from, as they were: to be kept, or sent elsewhere, and read there as if they still
//! lay where they came from.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Files;

/// The files of one config. Their text may hold secrets.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigSources {
    /// The main file.
    #[serde(default)]
    pub path: PathBuf,
    files: BTreeMap<PathBuf, String>,
    patterns: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// Files that are read and remembered.
pub(super) struct Recording<'a> {
    source: &'a dyn Files,
    recorded: RefCell<ConfigSources>,
}

impl ConfigSources {
    /// A config that is one text.
    #[must_use]
    pub fn of_text(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let path = path.into();
        Self { files: BTreeMap::from([(path.clone(), text.into())]), path, patterns: BTreeMap::new() }
    }

    /// Whether the main file names other files by this pattern.
    #[must_use]
    pub fn has_pattern(&self, pattern: &Path) -> bool {
        self.patterns.contains_key(pattern)
    }
}

/// Says which files there are, not what is in them.
impl fmt::Debug for ConfigSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, files, patterns: _ } = self;
        f.debug_struct("ConfigSources").field("path", path).field("files", &files.keys()).finish_non_exhaustive()
    }
}

impl Files for ConfigSources {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.patterns.get(pattern).cloned().unwrap_or_default())
    }
}

impl<'a> Recording<'a> {
    pub(super) fn of(path: &Path, source: &'a dyn Files) -> Self {
        Self { source, recorded: RefCell::new(ConfigSources { path: path.to_owned(), ..ConfigSources::default() }) }
    }

    pub(super) fn finish(self) -> ConfigSources {
        self.recorded.into_inner()
    }
}

impl Files for Recording<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        let text = self.source.read(path)?;
        self.recorded.borrow_mut().files.insert(path.to_owned(), text.clone());
        Ok(text)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let found = self.source.glob(pattern)?;
        self.recorded.borrow_mut().patterns.insert(pattern.to_owned(), found.clone());
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, semantics::PrometheusVersion};

    /// A disk with two files.
    struct Two;

    impl Files for Two {
        fn read(&self, path: &Path) -> io::Result<String> {
            match path.to_str() {
                Some("/etc/p.yml") => Ok("scrape_config_files: [more/*.yml]\nscrape_configs: [{job_name: a}]".into()),
                Some("/etc/more/b.yml") => Ok("scrape_configs: [{job_name: b, bearer_token: hunter2}]".into()),
                Some(_) | None => Err(io::ErrorKind::NotFound.into()),
            }
        }

        fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
            Ok(vec!["/etc/more/b.yml".into()])
        }
    }

    #[test]
    fn a_config_is_the_same_read_from_its_sources_elsewhere() {
        let there = Config::load(Path::new("/etc/p.yml"), &Two, PrometheusVersion::V3_5).unwrap();
        let text = serde_json::to_string(&there.sources).unwrap();
        let sources: ConfigSources = serde_json::from_str(&text).unwrap();
        let here = Config::of_sources(&sources, PrometheusVersion::V3_5).unwrap();
        assert_eq!((here.fingerprint(), here.jobs.len()), (there.fingerprint(), 2));
        assert_eq!(here.sources, there.sources);
        assert!(!format!("{here:?} {:?}", here.sources).contains("hunter2"));
    }
}
