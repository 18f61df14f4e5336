//! The catalogue: every target a plan is about, who holds it, and the load it is planned with.
//!
//! It follows the world from round to round: what did not change costs nothing. It never depends on how it came to know
//! something, only on what the world is now, so that a catalogue that followed a thousand worlds plans like a new one.
//!
//! The load of a target is what a shard measured that scrapes it; else what a probe measured; else what it was planned
//! with before; else the median of its job, or of all targets, also of one that is down, because it will be back.

mod entry;
mod estimate;
mod follow;
mod index;
mod jobs;
mod worklist;

use narthex_common::{
    load::Load,
    shard::{Ordinal, ReplicaId},
    target::TargetId,
};

pub(crate) use self::entry::{Basis, Listing, Standing};
use self::{
    entry::{Entry, Holder},
    index::Index,
    jobs::Jobs,
    worklist::Worklist,
};
use crate::{cost::Cost, world::World};

/// All targets, listed or held.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// The world that is catalogued.
    seen: World,
    entries: Vec<Entry>,
    /// Places whose targets are gone.
    free: Vec<TargetIx>,
    index: Index,
    jobs: Jobs,
    /// Targets that are held and not listed.
    unlisted: Worklist,
    /// Targets whose owners have different ordinals. It is looked through only where that matters.
    apart: Worklist,
    /// Targets that cost more than `large`.
    larger: Worklist,
    /// What a target must cost more than to be among the larger ones; none of them while nobody has asked.
    large: Option<Cost>,
    books: Vec<Book>,
}

/// A target's place in the catalogue, which tells nothing about its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetIx(u32);

impl TargetIx {
    pub(crate) const fn place(self) -> usize {
        self.0 as usize
    }
}

/// What is known of one replica.
#[derive(Debug)]
struct Book {
    replica: ReplicaId,
    shards: Vec<ShardSums>,
    /// Targets that are listed and that no shard of it holds.
    homeless: Worklist,
    /// Targets that are on the move, or held more than once.
    unsettled: Worklist,
}

/// What a shard holds, added up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShardSums {
    ordinal: Ordinal,
    /// Whether it answered.
    answers: bool,
    /// The cost of what it owns.
    pub(crate) staying: Cost,
    /// The cost of what others take over from it.
    pub(crate) leaving: Cost,
    /// How many targets it holds.
    pub(crate) targets: usize,
}

/// A shard that holds a target, by its position in the replica, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeldBy {
    pub(crate) shard: usize,
    pub(crate) state: narthex_common::assignment::TargetState,
    /// How often it was scraped there; nothing is known to have been scraped by a shard that is silent.
    pub(crate) scrapes: u32,
}

impl Catalogue {
    /// How many places there are.
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// A target's place. Every listed and every held target has one.
    pub(crate) fn place_of(&self, id: TargetId) -> Option<TargetIx> {
        self.index.find(id, &self.entries)
    }

    pub(crate) fn id(&self, target: TargetIx) -> TargetId {
        self.entry(target).id
    }

    pub(crate) fn cost(&self, target: TargetIx) -> Cost {
        self.entry(target).cost()
    }

    pub(crate) fn load(&self, target: TargetIx) -> Load {
        self.entry(target).weight.into()
    }

    pub(crate) fn basis(&self, target: TargetIx) -> Basis {
        self.entry(target).basis
    }

    /// Whether discovery lists a target, and what probes know of it.
    pub(crate) fn listing(&self, target: TargetIx) -> Listing {
        self.entry(target).listing
    }

    pub(crate) fn standing(&self, target: TargetIx) -> Standing {
        let entry = self.entry(target);
        if entry.is_listed() {
            Standing::Listed
        } else if self.jobs.is_undiscovered(entry.job) {
            Standing::Kept
        } else {
            Standing::Gone
        }
    }

    /// The shards of a replica, in the order of ordinals.
    pub(crate) fn shards(&self, replica: usize) -> &[ShardSums] {
        &self.books[replica].shards
    }

    /// The ordinal of a replica's shard.
    pub(crate) fn ordinal(&self, replica: usize, shard: usize) -> Ordinal {
        self.books[replica].shards[shard].ordinal
    }

    /// The shards of a replica that hold a target.
    pub(crate) fn holders(&self, replica: usize, target: TargetIx) -> impl Iterator<Item = HeldBy> {
        let of_replica = move |holder: &&Holder| usize::from(holder.replica) == replica;
        self.entry(target).holders.iter().filter(of_replica).map(|holder| HeldBy {
            shard: holder.shard as usize,
            state: holder.state,
            scrapes: if holder.answers { u32::from(holder.scrapes) } else { 0 },
        })
    }

    /// The targets that are listed and that no shard of a replica holds, in no order.
    pub(crate) fn homeless(&self, replica: usize) -> &[TargetIx] {
        self.books[replica].homeless.members()
    }

    /// The targets that are on the move in a replica, or held more than once, in no order.
    pub(crate) fn unsettled(&self, replica: usize) -> &[TargetIx] {
        self.books[replica].unsettled.members()
    }

    /// The targets that are held somewhere and not listed, in no order.
    pub(crate) fn unlisted(&self) -> &[TargetIx] {
        self.unlisted.members()
    }

    /// The targets that shards of different ordinals own, most of them in different replicas, in no order. Some may have
    /// come together since the list was last looked through.
    pub(crate) fn apart(&self) -> &[TargetIx] {
        self.apart.members()
    }

    /// The targets that cost more than was last asked about, in no order.
    pub(crate) fn larger(&self) -> &[TargetIx] {
        self.larger.members()
    }

    fn entry(&self, target: TargetIx) -> &Entry {
        &self.entries[target.place()]
    }
}
