//! A fixed list of shards in a file, `--shard.type=static`.

use std::path::PathBuf;

use futures_util::future::BoxFuture;
use narthex_common::shard::ReplicaId;

use super::{Provider, Replica};

/// The shards that a file lists.
#[derive(Debug)]
pub struct StaticProvider(());

impl StaticProvider {
    /// Reads the list.
    ///
    /// # Errors
    /// When the file cannot be read or is no list of shards.
    pub fn open(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let _ = path.into();
        todo!()
    }
}

impl Provider for StaticProvider {
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>> {
        todo!()
    }

    fn scale<'a>(&'a self, _: &'a ReplicaId, _: u32) -> BoxFuture<'a, anyhow::Result<()>> {
        todo!()
    }
}
