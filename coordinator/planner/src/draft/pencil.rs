//! Pencil: who is to hold what, where that differs from who holds it now. The catalogue itself is not written to.

use smallvec::SmallVec;

use super::{Held, ShardIx};
use crate::catalogue::TargetIx;

/// A shard that holds a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) shard: ShardIx,
    pub(crate) held: Held,
}

/// The shards that hold one target.
pub(crate) type Holders = SmallVec<[Holding; 2]>;

/// Changed holders, found by target at once, and in memory only as many as there are.
pub(super) struct Pencil {
    /// For every place of the catalogue where its change is, counted from one; zero is unchanged. Zeroed memory costs
    /// nothing where nothing is written.
    position: Vec<u32>,
    changed: Vec<(TargetIx, Holders)>,
}

impl Pencil {
    pub(super) fn over(places: usize) -> Self {
        Self { position: vec![0; places], changed: Vec::new() }
    }

    /// The holders of a target, if they were changed.
    pub(super) fn holders(&self, target: TargetIx) -> Option<&Holders> {
        let position = self.position[target.place()].checked_sub(1)?;
        Some(&self.changed[position as usize].1)
    }

    pub(super) fn write(&mut self, target: TargetIx, holders: Holders) {
        if let Some(position) = self.position[target.place()].checked_sub(1) {
            self.changed[position as usize].1 = holders;
        } else {
            self.changed.push((target, holders));
            self.position[target.place()] = u32::try_from(self.changed.len()).unwrap_or(u32::MAX);
        }
    }

    pub(super) fn changed(&self) -> impl Iterator<Item = (TargetIx, &Holders)> {
        self.changed.iter().map(|(target, holders)| (*target, holders))
    }
}
