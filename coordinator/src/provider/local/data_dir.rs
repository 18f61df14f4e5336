//! The data directory: which shards there are, as it stands on disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io::{ErrorKind, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow, bail};
use narthex_common::{shard::Ordinal, time::Timestamp};
use narthex_runtime::files::write_atomic;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::ports::Ports;

/// The directory, and the lock that makes it this coordinator's own.
#[derive(Debug)]
pub(super) struct DataDir {
    root: PathBuf,
    lock: File,
}

/// A shard's folder: its sidecar's store, with what the coordinator keeps there besides.
#[derive(Clone, Debug)]
pub(super) struct ShardFolder(PathBuf);

/// `shard.json`: what is decided once, when a shard is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShardFile {
    pub(super) ports: Ports,
    pub(super) created: Timestamp,
    /// Whether the shard is to go. It is written before the shard is told, so that it never comes back with its old
    /// targets, whatever becomes of the coordinator.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaving: bool,
}

/// `replica.json`: what was asked for.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplicaFile {
    wanted_shards: u32,
}

impl DataDir {
    /// Takes the directory over, creating it when it is not there.
    pub(super) fn open(root: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(root)
            .with_context(|| format!("find {} (flag --shard.local.data-dir)", root.display()))?;
        let shown = root.display();
        fs::create_dir_all(&root)
            .with_context(|| format!("create the data directory {shown} (flag --shard.local.data-dir)"))?;
        let path = root.join("lock");
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("write into the data directory {shown} (flag --shard.local.data-dir)"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                lock.read_to_string(&mut holder).with_context(|| format!("read {}", path.display()))?;
                bail!(
                    "another coordinator (pid {}) has the data directory {shown}: it holds the lock {}; stop it or use \
                     another directory (flag --shard.local.data-dir)",
                    holder.trim(),
                    path.display()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("lock {}", path.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| lock.write_all(std::process::id().to_string().as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(Self { root, lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    /// The number of shards last asked for; none when nobody ever did.
    pub(super) fn wanted(&self) -> anyhow::Result<Option<u32>> {
        Ok(read::<ReplicaFile>(&self.replica_file())?.map(|file| file.wanted_shards))
    }

    pub(super) fn set_wanted(&self, wanted_shards: u32) -> anyhow::Result<()> {
        write(&self.replica_file(), &ReplicaFile { wanted_shards })
    }

    /// The file with the token of the sidecars' APIs, made unless it is there. Only this user can read it.
    pub(super) fn token_file(&self) -> anyhow::Result<PathBuf> {
        let path = self.root.join("api-token");
        let is_there = fs::read(&path).is_ok_and(|token| !token.is_empty());
        if !is_there {
            let token = format!("{:032x}\n", rand::random::<u128>());
            write_atomic(&path, token.as_bytes(), None).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(path)
    }

    pub(super) fn folder(&self, ordinal: Ordinal) -> ShardFolder {
        ShardFolder(self.root.join(format!("shard-{ordinal}")))
    }

    /// The shards whose creation was finished.
    pub(super) fn shards(&self) -> anyhow::Result<BTreeMap<Ordinal, (ShardFolder, ShardFile)>> {
        let listing = || format!("list the data directory {}", self.root.display());
        let mut shards = BTreeMap::new();
        for entry in fs::read_dir(&self.root).with_context(listing)? {
            let name = entry.with_context(listing)?.file_name();
            let ordinal = name.to_str().and_then(|name| name.strip_prefix("shard-")?.parse().ok()).map(Ordinal);
            let Some(ordinal) = ordinal else { continue };
            let folder = self.folder(ordinal);
            if let Some(file) = read(&folder.file())? {
                shards.insert(ordinal, (folder, file));
            }
        }
        Ok(shards)
    }

    fn replica_file(&self) -> PathBuf {
        self.root.join("replica.json")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started has it, too, until it runs its program.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(data_dir = %self.root.display(), %error, "the data directory stays locked for a moment");
        }
    }
}

impl ShardFolder {
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn file(&self) -> PathBuf {
        self.0.join("shard.json")
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.0.join("sidecar.pid")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.0.join("sidecar.log")
    }

    /// Creates or changes the shard's file.
    pub(super) fn write(&self, file: &ShardFile) -> anyhow::Result<()> {
        fs::create_dir_all(&self.0).with_context(|| format!("create {}", self.0.display()))?;
        write(&self.file(), file)
    }

    /// Renames the folder, so that the data stays and the shard does not come back; says how it is called now.
    pub(super) fn put_aside(&self, now: Timestamp) -> anyhow::Result<PathBuf> {
        let mut name = self.0.file_name().unwrap_or_default().to_owned();
        name.push(format!(".removed-{}", now.0.div_euclid(1000)));
        let aside = self.0.with_file_name(name);
        fs::rename(&self.0, &aside).with_context(|| format!("rename {} to {}", self.0.display(), aside.display()))?;
        Ok(aside)
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let shown = path.display();
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|e| anyhow!("{shown} is damaged: {e}")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("read {shown}")),
    }
}

fn write<T: Serialize>(path: &Path, contents: &T) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(contents)?;
    write_atomic(path, &json, None).with_context(|| format!("write {}", path.display()))
}
