//! What the tests of the config share: files in memory and on disk.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use narthex_common::{config::Files, semantics::PrometheusVersion};

/// The version that the conformance data is of.
pub(crate) const fn prometheus_3() -> PrometheusVersion {
    PrometheusVersion { major: 3, minor: 14 }
}

/// Files that exist in memory only.
pub(crate) struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    pub(crate) fn of<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
        Self(files.into_iter().map(|(path, text)| (path.into(), text.into())).collect())
    }
}

impl Files for Memory {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.keys().filter(|path| matches(pattern, path)).cloned().collect())
    }
}

/// Files as they are on disk.
pub(crate) struct OnDisk;

impl Files for OnDisk {
    #[expect(clippy::disallowed_methods, reason = "a test reads its data")]
    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(pattern.parent().unwrap()).into_iter().flatten() {
            found.push(entry?.path());
        }
        found.retain(|path| matches(pattern, path));
        found.sort();
        Ok(found)
    }
}

/// Whether a path matches a pattern with at most one `*`, in its last element.
fn matches(pattern: &Path, path: &Path) -> bool {
    let (pattern, path) = (pattern.to_str().unwrap(), path.to_str().unwrap());
    match pattern.split_once('*') {
        None => pattern == path,
        Some((before, after)) => (path.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)))
            .is_some_and(|between| !between.contains('/')),
    }
}
