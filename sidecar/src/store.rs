//! The store: the directory that holds everything a sidecar keeps over a restart.
//!
//! | file | what |
//! | --- | --- |
//! | `assignment.json` | the assignment in force, since when there has been no target, what is on its way out |
//! | `last-good-config.json` | the user's config files as they last worked |
//! | `prometheus.yml` | the generated config (elsewhere with `--config.output-file`) |
//! | `targets/` | the target files that Prometheus watches |
//! | `staging/` | files on their way into `targets/`, on the same filesystem |
//! | `proxy-token` | what Prometheus shows the proxy |
//! | `prometheus.pid`, `prometheus.log`, `data/` | of the Prometheus that the sidecar runs |
//! | `lock` | held by the one sidecar that works here |
//! | `replace.sock` | where that one is asked to make room for another |

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use narthex_common::config::http_client::Secret;
use narthex_runtime::files::write_atomic;
use rustix::fs::{FlockOperation, flock};

use crate::prometheus::PrometheusKind;

/// The directory, and the lock that makes it this process' own.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    lock: File,
}

/// A store as it is found.
#[derive(Debug)]
pub enum Found {
    /// Nobody works in it; now it is this process' own.
    Free(Store),
    /// Another sidecar works in it.
    Taken(TakenStore),
}

/// A store that another sidecar works in.
#[derive(Debug)]
pub struct TakenStore {
    root: PathBuf,
}

impl Store {
    /// Opens the store, creating what is missing.
    ///
    /// # Errors
    /// When it cannot be created or written, or its path has a character that would be a wildcard in the generated
    /// config.
    pub fn open(root: &Path) -> anyhow::Result<Found> {
        let root = std::path::absolute(root).with_context(|| format!("find the store {}", root.display()))?;
        let shown = root.display();
        if root.to_str().is_none_or(|path| path.contains(['*', '?', '[', '\\']) || path.contains(char::is_control)) {
            bail!("store {shown}: Prometheus would read *, ?, [ and \\ in this path as wildcards (flag --store.path)");
        }
        for directory in [root.clone(), root.join("targets"), root.join("staging")] {
            create_directory(&directory)
                .with_context(|| format!("create {} (flag --store.path)", directory.display()))?;
        }
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(root.join("lock"))
            .with_context(|| format!("write to the store {shown} (flag --store.path)"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Found::Free(Self::locked(root, lock)?)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(Found::Taken(TakenStore { root })),
            Err(error) => Err(error).with_context(|| format!("lock the store {shown}")),
        }
    }

    fn locked(root: PathBuf, lock: File) -> anyhow::Result<Self> {
        let store = Self { root, lock };
        store.clear_staging().with_context(|| format!("clear {}", store.staging().display()))?;
        Ok(store)
    }

    /// What makes the store this process' own; whoever has it, too, has the store when this process ends.
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The assignment in force.
    #[must_use]
    pub fn assignment(&self) -> PathBuf {
        self.root.join("assignment.json")
    }

    /// The user's config as it last worked.
    #[must_use]
    pub fn last_good_config(&self) -> PathBuf {
        self.root.join("last-good-config.json")
    }

    /// The generated config, unless it is to lie elsewhere.
    #[must_use]
    pub fn generated_config(&self) -> PathBuf {
        self.root.join("prometheus.yml")
    }

    /// The target files.
    #[must_use]
    pub fn targets(&self) -> PathBuf {
        self.root.join("targets")
    }

    /// Files on their way into [`targets`](Self::targets).
    #[must_use]
    pub fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    /// Which process the Prometheus is that the sidecar runs.
    #[must_use]
    pub fn prometheus_pid(&self) -> PathBuf {
        self.root.join("prometheus.pid")
    }

    /// What the Prometheus that the sidecar runs says.
    #[must_use]
    pub fn prometheus_log(&self) -> PathBuf {
        self.root.join("prometheus.log")
    }

    /// The data of the Prometheus that the sidecar runs: apart for every kind, whose logs look alike and are not.
    #[must_use]
    pub fn prometheus_data(&self, kind: PrometheusKind) -> PathBuf {
        self.root.join(match kind {
            PrometheusKind::Server => "data",
            PrometheusKind::Agent => "data-agent",
            PrometheusKind::Vmagent => "data-vmagent",
        })
    }

    /// What Prometheus shows the proxy: made once, then always the same, so that the generated config stays the same.
    ///
    /// # Errors
    /// When it can be neither read nor written.
    pub fn proxy_token(&self) -> anyhow::Result<Secret> {
        let path = self.root.join("proxy-token");
        match fs::read_to_string(&path) {
            Ok(token) if is_token(token.trim()) => return Ok(Secret::new(token.trim())),
            Ok(_damaged) => tracing::warn!(path = %path.display(), "damaged proxy token; making a new one"),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        }
        let token = format!("{:032x}", rand::random::<u128>());
        write_atomic(&path, token.as_bytes(), None).context("keep the proxy token")?;
        Ok(Secret::new(token))
    }

    /// What a killed process left in the staging directory is of no use to anyone.
    fn clear_staging(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.staging())? {
            fs::remove_file(entry?.path())?;
        }
        Ok(())
    }
}

impl TakenStore {
    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The store with the lock of the sidecar that worked in it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn with(self, lock: OwnedFd) -> anyhow::Result<Store> {
        Store::locked(self.root, lock.into())
    }
}

impl Found {
    /// The store, if nobody works in it.
    ///
    /// # Errors
    /// When somebody does.
    pub fn free(self) -> anyhow::Result<Store> {
        match self {
            Self::Free(store) => Ok(store),
            Self::Taken(taken) => bail!(
                "another narthex-sidecar works in the store {} (flag --store.path); --replace takes its place",
                taken.root.display()
            ),
        }
    }
}

/// A directory for its owner only: the generated config may hold secrets.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn is_token(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_token_is_the_same_after_a_restart_and_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let token = || Store::open(directory.path()).unwrap().free().unwrap().proxy_token().unwrap();
        let (first, second) = (token(), token());
        assert_eq!(first, second);
        assert!(is_token(first.expose()));
        let mode = fs::metadata(directory.path().join("proxy-token")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn two_sidecars_do_not_work_in_one_store() {
        let directory = tempfile::tempdir().unwrap();
        let _first = Store::open(directory.path()).unwrap().free().unwrap();
        let refused = Store::open(directory.path()).unwrap().free().unwrap_err().to_string();
        assert!(refused.starts_with("another narthex-sidecar works in the store"), "{refused}");
        assert!(refused.ends_with("--replace takes its place"), "{refused}");
    }

    #[test]
    fn a_store_stays_locked_while_anyone_has_its_lock() {
        let directory = tempfile::tempdir().unwrap();
        let first = Store::open(directory.path()).unwrap().free().unwrap();
        let Found::Taken(taken) = Store::open(directory.path()).unwrap() else { panic!("open to two") };
        let second = taken.with(first.lock().try_clone_to_owned().unwrap()).unwrap();
        drop(first);
        assert!(Store::open(directory.path()).unwrap().free().is_err());
        drop(second);
        Store::open(directory.path()).unwrap().free().unwrap();
    }

    #[test]
    fn a_path_that_prometheus_would_read_as_a_pattern_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let refused = Store::open(&directory.path().join("shard[1]")).unwrap_err().to_string();
        assert!(refused.contains("wildcards (flag --store.path)"), "{refused}");
    }

    #[test]
    fn a_store_that_cannot_be_written_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = format!("{:#}", Store::open(&file.join("store")).unwrap_err());
        assert!(refused.contains("file/store (flag --store.path)"), "{refused}");
    }
}
