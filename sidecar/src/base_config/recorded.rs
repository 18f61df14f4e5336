//! Files as they were when a config was read from them.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use narthex_common::config::Files;
use serde::{Deserialize, Serialize};

/// What was read, to be read again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Recorded {
    files: BTreeMap<PathBuf, String>,
    patterns: BTreeMap<PathBuf, Vec<PathBuf>>,
}

/// Files that are read and remembered.
pub(super) struct Recording<'a> {
    source: &'a dyn Files,
    recorded: RefCell<Recorded>,
}

impl<'a> Recording<'a> {
    pub(super) fn of(source: &'a dyn Files) -> Self {
        Self { source, recorded: RefCell::default() }
    }

    pub(super) fn finish(self) -> Recorded {
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

impl Files for Recorded {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.patterns.get(pattern).cloned().unwrap_or_default())
    }
}

impl Recorded {
    pub(super) fn read_from(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::from)
    }

    pub(super) fn to_json(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(io::Error::from)
    }
}
