//! The scrapes that have come through leaving pools: the proxy counts them, the shard asks for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use narthex_common::target::TargetId;

use super::GenerationId;

/// How many scrapes of each target have come through the pools of a generation, without one through the job's own pool
/// since the first.
#[derive(Debug, Default)]
pub struct PoolScrapes(Mutex<BTreeMap<TargetId, (GenerationId, u32)>>);

impl PoolScrapes {
    /// A scrape has ended that came through a leaving pool, or (none) through the job's own.
    pub fn record(&self, target: TargetId, through: Option<GenerationId>) {
        let mut counts = self.lock();
        let Some(through) = through else {
            counts.remove(&target);
            return;
        };
        let (generation, count) = counts.entry(target).or_insert((through, 0));
        if *generation != through {
            (*generation, *count) = (through, 0);
        }
        *count = count.saturating_add(1);
    }

    /// The scrapes of a target through a generation.
    #[must_use]
    pub fn of(&self, target: TargetId, through: GenerationId) -> u32 {
        self.lock().get(&target).filter(|(generation, _)| *generation == through).map_or(0, |(_, count)| *count)
    }

    /// Forgets all other targets.
    pub fn retain(&self, targets: &BTreeSet<TargetId>) {
        self.lock().retain(|id, _| targets.contains(id));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TargetId, (GenerationId, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
