//! All shards of this machine: which there are to be, on disk, and what is done about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use narthex_common::shard::{Ordinal, ReplicaId};
use narthex_runtime::clock;
use tracing::info;

use super::{
    LocalSettings,
    data_dir::{DataDir, ShardFile},
    launch::Launch,
    ports::Ports,
    shard::{Shard, id},
};
use crate::provider::Replica;

/// The one replica of a machine.
const REPLICA: &str = "local";

/// The shards.
#[derive(Debug)]
pub(super) struct Shards {
    dir: DataDir,
    launch: Launch,
    ports: RangeInclusive<u16>,
    wanted: u32,
    shards: BTreeMap<Ordinal, Shard>,
    /// Whether all are to end and none is to be started again.
    closing: bool,
}

impl Shards {
    pub(super) fn open(settings: &LocalSettings) -> anyhow::Result<Self> {
        let dir = DataDir::open(&settings.data_dir)?;
        let token_file = settings.require_token.then(|| dir.token_file()).transpose()?;
        let launch = Launch::new(settings, token_file)?;
        let shards: BTreeMap<Ordinal, Shard> =
            dir.shards()?.into_iter().map(|(ordinal, (folder, file))| (ordinal, Shard::new(folder, file))).collect();
        // Shards that nobody counted stay: better one too many than data put aside by mistake.
        let there = shards.iter().filter(|(_, shard)| !shard.is_leaving()).map(|(ordinal, _)| ordinal.0 + 1).max();
        let wanted = dir.wanted()?.unwrap_or(there.unwrap_or(0));
        info!(data_dir = %dir.path().display(), shards = shards.len(), wanted, "local shards");
        Ok(Self { dir, launch, ports: settings.ports.clone(), wanted, shards, closing: false })
    }

    /// Where the token is that the sidecars ask for, if they do.
    pub(super) fn token_file(&self) -> Option<&std::path::Path> {
        self.launch.token_file()
    }

    /// The replica as it is now: shards without holes, those that leave excluded.
    pub(super) fn replica(&self) -> anyhow::Result<Replica> {
        let shards = (0..)
            .map(Ordinal)
            .map_while(|ordinal| self.shards.get_key_value(&ordinal))
            .take_while(|(_, shard)| !shard.is_leaving())
            .map(|(ordinal, shard)| shard.address(*ordinal))
            .collect::<anyhow::Result<_>>()?;
        Ok(Replica { id: ReplicaId(REPLICA.to_owned()), scalable: true, wanted_shards: self.wanted, shards })
    }

    /// Asks for a number of shards, which is remembered before anything is done about it.
    pub(super) fn scale(&mut self, replica: &ReplicaId, wanted: u32, now: Instant) -> anyhow::Result<()> {
        ensure!(replica.0 == REPLICA, "there is no replica {replica} on this machine, only {REPLICA}");
        ensure!(!self.closing, "the shards are ending");
        self.want(wanted)?;
        self.reconcile(now)
    }

    /// Takes the next step towards what is wanted: ends shards that are too many, creates those that are missing, keeps
    /// the others running. A shard that cannot be helped stops no other.
    pub(super) fn reconcile(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.closing {
            return Ok(());
        }
        let left = self.end_superfluous(now);
        let created = self.create_missing();
        for (ordinal, shard) in self.shards.iter_mut().filter(|(_, shard)| !shard.is_leaving()) {
            shard.keep_running(*ordinal, &self.launch, now);
        }
        left.and(created)
    }

    /// Ends every shard, and starts none again; whether all have ended.
    pub(super) fn close(&mut self, now: Instant) -> bool {
        self.closing = true;
        // Every one is asked before any is waited for.
        let ended: Vec<bool> = self.shards.iter_mut().map(|(ordinal, shard)| shard.end(*ordinal, now)).collect();
        ended.into_iter().all(|ended| ended)
    }

    fn want(&mut self, wanted: u32) -> anyhow::Result<()> {
        if wanted != self.wanted {
            self.dir.set_wanted(wanted).context("remember the number of shards")?;
            self.wanted = wanted;
        }
        Ok(())
    }

    fn end_superfluous(&mut self, now: Instant) -> anyhow::Result<()> {
        for (ordinal, shard) in self.shards.range_mut(Ordinal(self.wanted)..).filter(|(_, s)| !s.is_leaving()) {
            shard.leave().with_context(|| format!("end {}", id(*ordinal)))?;
        }
        let leaving = self.shards.iter_mut().filter(|(_, shard)| shard.is_leaving());
        let ended: Vec<Ordinal> =
            leaving.filter_map(|(ordinal, shard)| shard.end(*ordinal, now).then_some(*ordinal)).collect();
        for ordinal in ended {
            if let Some(shard) = self.shards.get(&ordinal) {
                shard.put_aside(ordinal, clock::now())?;
                self.shards.remove(&ordinal);
            }
        }
        Ok(())
    }

    /// Creates the shards that are missing. When one cannot be, fewer are wanted: who asked for them hears of it, and
    /// may ask again.
    fn create_missing(&mut self) -> anyhow::Result<()> {
        for ordinal in (0..self.wanted).map(Ordinal) {
            match self.shards.get(&ordinal) {
                // What had this ordinal before has not ended yet.
                Some(shard) if shard.is_leaving() => return Ok(()),
                Some(_) => {}
                None => {
                    if let Err(error) = self.create(ordinal) {
                        let highest = self.shards.iter().rfind(|(_, shard)| !shard.is_leaving());
                        self.want(highest.map_or(0, |(ordinal, _)| ordinal.0 + 1))?;
                        return Err(error).with_context(|| format!("create {}", id(ordinal)));
                    }
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, ordinal: Ordinal) -> anyhow::Result<()> {
        let own: BTreeSet<u16> =
            self.shards.values().flat_map(|shard| shard.ports().all()).map(|(port, _)| port).collect();
        let file = ShardFile { ports: Ports::choose(&self.ports, &own)?, created: clock::now(), leaving: false };
        let folder = self.dir.folder(ordinal);
        folder.write(&file)?;
        info!(shard = %id(ordinal), folder = %folder.path().display(), "created");
        self.shards.insert(ordinal, Shard::new(folder, file));
        Ok(())
    }
}
