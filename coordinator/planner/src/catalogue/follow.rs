//! How the catalogue follows the world: what differs is looked at, all else is left alone.

use imbl::ordmap::DiffItem;
use narthex_common::{assignment::TargetState, config::PromDuration, job::JobName, load::Load, target::TargetId};
use smallvec::SmallVec;

use super::{
    Book, Catalogue, ShardSums, TargetIx,
    entry::{Basis, Entry, Holder, Knows, Listing, Weight},
    worklist::Worklist,
};
use crate::{
    cost::Cost,
    world::{HeldTarget, KnownLoad, ReplicaView, Seen, ShardView, TargetMap, World},
};

impl Catalogue {
    /// Catalogues the next world.
    pub(crate) fn follow(&mut self, world: &World) {
        if !self.has_the_shards_of(world) {
            *self = Self { books: world.replicas.iter().map(Book::of).collect(), ..Self::default() };
        }
        let seen = std::mem::take(&mut self.seen);
        if seen.jobs != world.jobs {
            self.jobs.discover(&world.jobs);
        }
        self.grow(world.targets.len());
        for item in seen.targets.diff(&world.targets) {
            match item {
                DiffItem::Add(&id, view) => self.list(id, &view.job, view.interval, view.probed),
                DiffItem::Update { new: (&id, view), .. } => self.list(id, &view.job, view.interval, view.probed),
                DiffItem::Remove(&id, _) => self.unlist(id),
            }
        }
        for (replica, view) in world.replicas.iter().enumerate() {
            for (shard, (ordinal, view)) in view.shards.iter().enumerate() {
                let before = seen.replicas.get(replica).and_then(|replica| replica.shards.get(ordinal));
                self.follow_shard(replica, shard, before, view);
            }
        }
        self.seen = world.clone();
        self.refresh_estimates();
        self.look_through_worklists();
    }

    /// Whether the replicas and their shards are those that are catalogued. Shards may have come or gone at the end:
    /// then this has been noted.
    fn has_the_shards_of(&mut self, world: &World) -> bool {
        let same = self.books.len() == world.replicas.len()
            && self.books.iter().zip(&world.replicas).all(|(book, view)| {
                let ordinals = view.shards.keys();
                book.replica == view.id
                    && book.shards.iter().zip(ordinals).all(|(sums, ordinal)| sums.ordinal == *ordinal)
            });
        if same {
            for (replica, view) in world.replicas.iter().enumerate() {
                self.let_go_of_shards(replica, view.shards.len());
                let shards = &mut self.books[replica].shards;
                let new = view.shards.keys().skip(shards.len()).map(|ordinal| ShardSums::empty(*ordinal));
                shards.extend(new);
            }
        }
        same
    }

    /// Forgets the shards above a number.
    fn let_go_of_shards(&mut self, replica: usize, left: usize) {
        let gone: Vec<TargetId> = self.seen.replicas.get(replica).map_or_else(Vec::new, |view| {
            let nothing = TargetMap::new();
            let shards = view.shards.values().skip(left);
            shards.flat_map(|shard| targets_of(shard, &nothing).keys().copied().collect::<Vec<_>>()).collect()
        });
        for id in gone {
            let Some(target) = self.place_of(id) else { continue };
            let is_gone = |holder: &Holder| usize::from(holder.replica) == replica && holder.shard as usize >= left;
            self.update(target, |entry| entry.holders.retain(|holder| !is_gone(holder)));
            self.add_to_homeless(target);
            self.drop_unless_used(target);
        }
        self.books[replica].shards.truncate(left);
    }

    fn grow(&mut self, targets: usize) {
        let more = targets.saturating_sub(self.entries.len());
        if more > self.entries.len() {
            self.entries.reserve_exact(more);
        }
    }

    fn list(&mut self, id: TargetId, job: &JobName, interval: PromDuration, probed: KnownLoad) {
        let target = self.place_or_new(id, job, interval);
        let was_listed = self.entries[target.place()].is_listed();
        self.update(target, |entry| {
            entry.listing = probed.into();
            entry.interval = millis(interval);
        });
        if !was_listed {
            self.add_to_homeless(target);
        }
    }

    fn unlist(&mut self, id: TargetId) {
        let Some(target) = self.place_of(id) else { return };
        self.update(target, |entry| entry.listing = Listing::Unlisted);
        self.unlisted.add(target);
        self.drop_unless_used(target);
    }

    fn follow_shard(&mut self, replica: usize, shard: usize, before: Option<&ShardView>, now: &ShardView) {
        let nothing = TargetMap::new();
        let held_before = before.map_or(&nothing, |view| targets_of(view, &nothing));
        let held_now = targets_of(now, &nothing);
        let answers = matches!(now.report, Seen::Fresh(_));
        let sums = &mut self.books[replica].shards[shard];
        if sums.answers != answers {
            sums.answers = answers;
            // Whoever knows better has changed, for all of its targets.
            for (&id, held) in held_now.iter().filter(|(id, held)| held_before.get(*id) == Some(*held)) {
                self.hold(replica, shard, id, held, answers);
            }
        }
        for item in held_before.diff(held_now) {
            match item {
                DiffItem::Add(&id, held) | DiffItem::Update { new: (&id, held), .. } => {
                    self.hold(replica, shard, id, held, answers);
                }
                DiffItem::Remove(&id, _) => self.release(replica, shard, id),
            }
        }
    }

    fn hold(&mut self, replica: usize, shard: usize, id: TargetId, held: &HeldTarget, answers: bool) {
        let target = self.place_or_new(id, &held.job, held.interval);
        let holder = Holder {
            replica: narrow(replica),
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            state: held.state,
            scrapes: u8::try_from(held.scrapes).unwrap_or(u8::MAX),
            answers,
            knows: match (held.load, held.planned) {
                (Some(load), _) => Knows::Measured(load.into()),
                (None, Some(planned)) => Knows::Planned(planned.into()),
                (None, None) => Knows::Nothing,
            },
        };
        let before = self.position_of_holder(target, replica, shard);
        self.update(target, |entry| match before {
            Some(position) => entry.holders[position] = holder,
            None => {
                // In order, so that nobody can tell who came first.
                let after = |other: &Holder| (other.replica, other.shard) > (holder.replica, holder.shard);
                let position = entry.holders.iter().position(after).unwrap_or(entry.holders.len());
                entry.holders.insert(position, holder);
            }
        });
        let entry = &self.entries[target.place()];
        if entry.is_unsettled_in(holder.replica) {
            self.books[replica].unsettled.add(target);
        }
        if !entry.is_listed() {
            self.unlisted.add(target);
        }
        if is_apart(entry, &self.books) {
            self.apart.add(target);
        }
    }

    fn release(&mut self, replica: usize, shard: usize, id: TargetId) {
        let Some(target) = self.place_of(id) else { return };
        let Some(position) = self.position_of_holder(target, replica, shard) else { return };
        self.update(target, |entry| {
            entry.holders.remove(position);
        });
        let entry = &self.entries[target.place()];
        if entry.is_unsettled_in(narrow(replica)) {
            self.books[replica].unsettled.add(target);
        }
        self.add_to_homeless(target);
        self.drop_unless_used(target);
    }

    fn add_to_homeless(&mut self, target: TargetIx) {
        let entry = &self.entries[target.place()];
        if entry.is_listed() {
            for (replica, book) in self.books.iter_mut().enumerate() {
                if !entry.is_held_in(narrow(replica)) {
                    book.homeless.add(target);
                }
            }
        }
    }

    fn position_of_holder(&self, target: TargetIx, replica: usize, shard: usize) -> Option<usize> {
        let is_it = |holder: &Holder| usize::from(holder.replica) == replica && holder.shard as usize == shard;
        self.entries[target.place()].holders.iter().position(is_it)
    }

    /// Changes a target, and everything that is added up from it.
    fn update(&mut self, target: TargetIx, change: impl FnOnce(&mut Entry)) {
        self.add_up(target, Cost::minus, |targets| targets - 1);
        let entry = &mut self.entries[target.place()];
        let (weight, basis) = (entry.weight, entry.basis);
        change(entry);
        match entry.known_weight() {
            Some(known) => {
                (entry.weight, entry.basis) = known;
                self.jobs.remove_unknown(entry.job, target);
            }
            None => {
                let estimate = self.jobs.add_unknown(entry.job, target);
                (entry.weight, entry.basis) = planned_by(estimate);
            }
        }
        let before = Some(weight).filter(|_| basis == Basis::Measured);
        let after = Some(entry.weight).filter(|_| entry.basis == Basis::Measured);
        if before != after {
            before.into_iter().for_each(|weight| self.jobs.remove(entry.job, weight.into()));
            after.into_iter().for_each(|weight| self.jobs.add(entry.job, weight.into()));
        }
        self.add_up(target, Cost::plus, |targets| targets + 1);
        self.add_to_larger(target);
    }

    fn add_to_larger(&mut self, target: TargetIx) {
        if is_larger(&self.entries[target.place()], self.large) {
            self.larger.add(target);
        }
    }

    /// Lists the targets that cost more than something. Asked about the same as before it costs what is on the list.
    pub(crate) fn look_for_larger_than(&mut self, large: Cost) {
        if self.large != Some(large) {
            self.large = Some(large);
            for place in 0..u32::try_from(self.entries.len()).unwrap_or(u32::MAX) {
                self.add_to_larger(TargetIx(place));
            }
        }
        let Self { entries, larger, .. } = self;
        larger.retain(|target| is_larger(&entries[target.place()], Some(large)));
    }

    fn add_up(&mut self, target: TargetIx, cost: fn(Cost, Cost) -> Cost, count: fn(usize) -> usize) {
        let entry = &self.entries[target.place()];
        if entry.holders.is_empty() {
            return;
        }
        let of_target = entry.cost();
        for holder in &entry.holders {
            let sums = &mut self.books[usize::from(holder.replica)].shards[holder.shard as usize];
            let sum = match holder.state {
                TargetState::Normal => &mut sums.staying,
                TargetState::InTransfer => &mut sums.leaving,
            };
            *sum = cost(*sum, of_target);
            sums.targets = count(sums.targets);
        }
    }

    fn place_or_new(&mut self, id: TargetId, job: &JobName, interval: PromDuration) -> TargetIx {
        let Self { entries, free, index, jobs, .. } = self;
        let end = TargetIx(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let new = free.last().copied().unwrap_or(end);
        let target = index.find_or_insert(id, new, entries);
        if target != new {
            return target;
        }
        let entry = Entry {
            id,
            job: jobs.place_of(job),
            interval: millis(interval),
            listing: Listing::Unlisted,
            holders: SmallVec::new(),
            weight: Weight::default(),
            basis: Basis::Nothing,
        };
        if target == end {
            entries.push(entry);
        } else {
            free.pop();
            entries[target.place()] = entry;
        }
        target
    }

    fn drop_unless_used(&mut self, target: TargetIx) {
        let entry = &self.entries[target.place()];
        if entry.is_in_use() {
            return;
        }
        if entry.basis == Basis::Measured {
            self.jobs.remove(entry.job, entry.weight.into());
        }
        self.jobs.remove_unknown(entry.job, target);
        self.index.remove(entry.id, &self.entries);
        self.entries[target.place()].basis = Basis::Nothing;
        self.free.push(target);
    }

    fn refresh_estimates(&mut self) {
        for (target, estimate) in self.jobs.estimate() {
            self.add_up(target, Cost::minus, |targets| targets - 1);
            let entry = &mut self.entries[target.place()];
            (entry.weight, entry.basis) = planned_by(estimate);
            self.add_up(target, Cost::plus, |targets| targets + 1);
            self.add_to_larger(target);
        }
    }

    /// Drops from the list of targets that are apart those that have come together. It costs what is on the list, which
    /// is nearly everything while replicas are planned each by itself.
    pub(crate) fn look_through_apart(&mut self) {
        let Self { entries, books, apart, .. } = self;
        apart.retain(|target| is_apart(&entries[target.place()], books));
    }

    fn look_through_worklists(&mut self) {
        let entries = &self.entries;
        self.unlisted.retain(|target| {
            let entry = &entries[target.place()];
            !entry.is_listed() && entry.is_in_use()
        });
        for (replica, book) in self.books.iter_mut().enumerate() {
            let replica = narrow(replica);
            book.homeless.retain(|target| {
                let entry = &entries[target.place()];
                entry.is_listed() && !entry.is_held_in(replica)
            });
            book.unsettled.retain(|target| entries[target.place()].is_unsettled_in(replica));
        }
    }
}

fn is_larger(entry: &Entry, large: Option<Cost>) -> bool {
    large.is_some_and(|large| entry.is_in_use() && !entry.cost().fits(large))
}

/// Whether the shards that own a target have different ordinals.
fn is_apart(entry: &Entry, books: &[Book]) -> bool {
    let owners = entry.holders.iter().filter(|holder| holder.state == TargetState::Normal);
    let mut ordinals = owners.map(|owner| books[usize::from(owner.replica)].shards[owner.shard as usize].ordinal);
    ordinals.next().is_some_and(|first| ordinals.any(|other| other != first))
}

impl Book {
    fn of(view: &ReplicaView) -> Self {
        Self {
            replica: view.id.clone(),
            shards: view.shards.keys().map(|ordinal| ShardSums::empty(*ordinal)).collect(),
            homeless: Worklist::default(),
            unsettled: Worklist::default(),
        }
    }
}

impl ShardSums {
    const fn empty(ordinal: narthex_common::shard::Ordinal) -> Self {
        Self { ordinal, answers: false, staying: Cost::ZERO, leaving: Cost::ZERO, targets: 0 }
    }
}

/// The targets that a shard said it holds, now or last.
fn targets_of<'w>(shard: &'w ShardView, nothing: &'w TargetMap<HeldTarget>) -> &'w TargetMap<HeldTarget> {
    shard.report.last().map_or(nothing, |report| &report.targets)
}

fn planned_by(estimate: Option<Load>) -> (Weight, Basis) {
    estimate.map_or((Weight::default(), Basis::Nothing), |load| (load.into(), Basis::Estimated))
}

fn millis(interval: PromDuration) -> u32 {
    u32::try_from(interval.0).unwrap_or(u32::MAX)
}

fn narrow(replica: usize) -> u16 {
    u16::try_from(replica).unwrap_or(u16::MAX)
}
