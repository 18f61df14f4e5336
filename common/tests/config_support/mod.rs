//! What the tests of the config share: files in memory and on disk, and where the conformance data lies.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it, and nobody else does")]

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use narthex_common::{config::Files, semantics::PrometheusVersion};

/// The version that the conformance data is of.
pub const fn prometheus_3() -> PrometheusVersion {
    PrometheusVersion { major: 3, minor: 14 }
}

/// Files that exist in memory only.
pub struct Memory(BTreeMap<PathBuf, String>);

impl Memory {
    pub fn of<P: Into<PathBuf>, T: Into<String>>(files: impl IntoIterator<Item = (P, T)>) -> Self {
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
pub struct OnDisk;

impl Files for OnDisk {
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

/// Where the conformance data lies, when it is there.
pub fn conformance_dir() -> Option<PathBuf> {
    let beside_the_repository = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance");
    let dir = std::env::var_os("NARTHEX_CONFORMANCE").map_or_else(|| beside_the_repository.into(), PathBuf::from);
    dir.is_dir().then_some(dir)
}

/// One file of the conformance data, when it is there; otherwise a note.
pub fn conformance_json(file: &str) -> Option<serde_json::Value> {
    let Some(dir) = conformance_dir() else {
        println!("skipped: no conformance data here ({file})");
        return None;
    };
    Some(serde_json::from_str(&std::fs::read_to_string(dir.join(file)).unwrap()).unwrap())
}
