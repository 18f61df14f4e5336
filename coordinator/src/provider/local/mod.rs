//! Shards as processes of this machine, `--shard.type=local`.

use std::{ops::RangeInclusive, path::PathBuf};

use futures_util::future::BoxFuture;
use narthex_common::shard::ReplicaId;

use super::{Provider, Replica};

/// What shards on this machine are started with.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Where they keep their configs and data: `--shard.local.data-dir`.
    pub data_dir: PathBuf,
    /// The ports they may use, three each: `--shard.local.ports`.
    pub ports: RangeInclusive<u16>,
    /// The user's config: `--config.file`.
    pub config_file: PathBuf,
    /// The Prometheus they run, a path or a name on PATH: `--shard.local.prometheus`.
    pub prometheus: PathBuf,
    /// The sidecar they run; found beside this binary or on PATH when none: `--shard.local.sidecar`.
    pub sidecar: Option<PathBuf>,
    /// What their Prometheus gets besides: `--shard.local.prometheus-arg`.
    pub prometheus_args: Vec<String>,
    /// What their sidecars log: `--log.level`.
    pub log_level: String,
}

/// Starts and stops sidecars, each with its Prometheus, on this machine.
#[derive(Debug)]
pub struct LocalProvider(());

impl LocalProvider {
    /// Takes the data directory over, with the shards that run there.
    ///
    /// # Errors
    /// When the directory cannot be written, another coordinator has it, or a binary is missing.
    pub fn open(settings: LocalSettings) -> anyhow::Result<Self> {
        let _ = settings;
        todo!()
    }

    /// Ends every shard: each sidecar is asked to, and ends its Prometheus; what does not end in time is killed.
    ///
    /// # Errors
    /// When a shard could not be ended.
    pub async fn shutdown_all(&self) -> anyhow::Result<()> {
        todo!()
    }
}

impl Provider for LocalProvider {
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>> {
        todo!()
    }

    fn scale<'a>(&'a self, _: &'a ReplicaId, _: u32) -> BoxFuture<'a, anyhow::Result<()>> {
        todo!()
    }
}
