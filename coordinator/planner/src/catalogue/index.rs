//! Index: where every id is in the catalogue.

use hashbrown::{HashTable, hash_table::Entry as Slot};
use narthex_common::{fingerprint::Fingerprint, target::TargetId};

use super::{TargetIx, entry::Entry};

/// Ids are hashes, sorted by their first bits onto so many shelves. A world lists its targets in the order of ids: what
/// comes in that order fills shelf after shelf, each of which fits into a processor's cache, also of a million targets.
const SHELVES: usize = 1 << SHELF_BITS;
const SHELF_BITS: u32 = 10;

/// Where every id is.
#[derive(Debug)]
pub(super) struct Index(Vec<HashTable<TargetIx>>);

impl Default for Index {
    fn default() -> Self {
        Self(vec![HashTable::new(); SHELVES])
    }
}

impl Index {
    /// The place of an id.
    pub(super) fn find(&self, id: TargetId, entries: &[Entry]) -> Option<TargetIx> {
        self.0[shelf_of(id)].find(hash_of(id), |target| entries[target.place()].id == id).copied()
    }

    /// The place of an id; one that is unknown gets `new`.
    pub(super) fn find_or_insert(&mut self, id: TargetId, new: TargetIx, entries: &[Entry]) -> TargetIx {
        let is_it = |target: &TargetIx| entries[target.place()].id == id;
        match self.0[shelf_of(id)].entry(hash_of(id), is_it, |target| hash_of(entries[target.place()].id)) {
            Slot::Occupied(known) => *known.get(),
            Slot::Vacant(vacant) => *vacant.insert(new).get(),
        }
    }

    /// Forgets an id.
    pub(super) fn remove(&mut self, id: TargetId, entries: &[Entry]) {
        let is_it = |target: &TargetIx| entries[target.place()].id == id;
        if let Ok(found) = self.0[shelf_of(id)].find_entry(hash_of(id), is_it) {
            found.remove();
        }
    }
}

fn shelf_of(TargetId(Fingerprint(id)): TargetId) -> usize {
    usize::try_from(id >> (u64::BITS - SHELF_BITS)).unwrap_or_default()
}

/// Spreads ids that are not hashes, too: those of hand-made worlds.
const fn hash_of(TargetId(Fingerprint(id)): TargetId) -> u64 {
    id.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
