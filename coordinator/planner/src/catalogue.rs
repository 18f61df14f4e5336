//! The catalogue: every target a plan is about, whether it is to be scraped, and the load it is planned with.
//!
//! The load is what a shard measured that scrapes the target; else what a probe measured; else, of a target that cannot
//! be scraped, the median of its job, because it will be back.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use narthex_common::{
    config::PromDuration,
    fingerprint::Fingerprint,
    job::JobName,
    load::{Load, Series},
    target::TargetId,
};

use crate::cost::Cost;
use crate::world::{KnownLoad, Seen, World};

/// Prometheus writes five series of its own about every target, also of one that is down: `up`,
/// `scrape_duration_seconds`, `scrape_samples_scraped`, `scrape_samples_post_metric_relabeling` and
/// `scrape_series_added`. No target is planned with less, so that a job that is down does not weigh nothing.
const SERIES_OF_ANY_TARGET: Series = Series(5);

/// All targets, listed or held, sorted by id.
pub(crate) struct Catalogue {
    entries: Vec<Entry>,
    index: Index,
}

/// Where to look for an id. Ids are hashes and so spread evenly: sorted into as many buckets as there are, by their
/// first bits, there is about one in each, and a million are looked up without searching among a million each time.
struct Index {
    shift: u32,
    /// The place where each bucket begins, and the end.
    buckets: Vec<usize>,
}

impl Index {
    fn of(entries: &[Entry]) -> Self {
        let bits = entries.len().max(2).ilog2();
        let shift = u64::BITS - bits;
        let mut buckets = Vec::with_capacity((1 << bits) + 1);
        for (place, entry) in entries.iter().enumerate() {
            while buckets.len() <= bucket_of(entry.id, shift) {
                buckets.push(place);
            }
        }
        buckets.resize((1 << bits) + 1, entries.len());
        Self { shift, buckets }
    }

    /// The places where an id may be.
    fn places(&self, id: TargetId) -> Range<usize> {
        let bucket = bucket_of(id, self.shift);
        self.buckets[bucket]..self.buckets[bucket + 1]
    }
}

fn bucket_of(TargetId(Fingerprint(id)): TargetId, shift: u32) -> usize {
    usize::try_from(id >> shift).unwrap_or(usize::MAX)
}

/// A target's place in the catalogue. The order of places is that of ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TargetIx(pub(crate) usize);

/// One target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) id: TargetId,
    pub(crate) standing: Standing,
    /// What it is planned with.
    pub(crate) load: Load,
    /// What that costs.
    pub(crate) cost: Cost,
    /// Whether nothing is known of its load yet, so that it waits for its probe unless a shard holds it.
    pub(crate) load_unknown: bool,
}

/// What is to become of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Discovery lists it.
    Listed,
    /// Its job's discovery has not answered yet: it stays where it is.
    Kept,
    /// Discovery no longer lists it, or its job is gone.
    Gone,
}

/// A target on some shard.
struct Held<'w> {
    id: TargetId,
    job: &'w JobName,
    interval: PromDuration,
    load: Option<Load>,
    fresh: bool,
}

/// A target whose load is still to be settled on.
struct Candidate<'w> {
    id: TargetId,
    job: &'w JobName,
    interval: PromDuration,
    standing: Standing,
    load: Option<Load>,
    load_unknown: bool,
}

impl Catalogue {
    pub(crate) fn of(world: &World) -> Self {
        let candidates = candidates(world);
        let estimates = median_of_jobs_with_unmeasured_targets(&candidates);
        let entries: Vec<Entry> = candidates
            .into_iter()
            .map(|c| {
                let load = c.load.or_else(|| estimates.get(c.job).copied()).unwrap_or(Load::ZERO);
                let load = Load { kept: load.kept.max(SERIES_OF_ANY_TARGET), ..load };
                Entry {
                    id: c.id,
                    standing: c.standing,
                    load,
                    cost: Cost::of(load, c.interval.to_std()),
                    load_unknown: c.load_unknown,
                }
            })
            .collect();
        Self { index: Index::of(&entries), entries }
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// A target's place. Every listed and every held target has one.
    pub(crate) fn place_of(&self, id: TargetId) -> Option<TargetIx> {
        let places = self.index.places(id);
        let within = self.entries[places.clone()].binary_search_by_key(&id, |entry| entry.id).ok()?;
        Some(TargetIx(places.start + within))
    }

    pub(crate) fn get(&self, target: TargetIx) -> &Entry {
        &self.entries[target.0]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (TargetIx, &Entry)> {
        self.entries.iter().enumerate().map(|(place, entry)| (TargetIx(place), entry))
    }
}

/// Merges what is listed with what is held; both are sorted by id.
fn candidates(world: &World) -> Vec<Candidate<'_>> {
    let held = held_targets(world);
    let mut held = held.chunk_by(|a, b| a.id == b.id).peekable();
    let mut candidates = Vec::with_capacity(world.targets.len());
    for (&id, view) in world.targets.iter() {
        while let Some(unlisted) = held.next_if(|holders| holders[0].id < id) {
            candidates.push(unlisted_candidate(world, unlisted));
        }
        let measured = held.next_if(|holders| holders[0].id == id).and_then(measured);
        let (load, load_unknown) = match (measured, view.probed) {
            (Some(load), _) | (None, KnownLoad::Measured(load)) => (Some(load), false),
            (None, KnownLoad::ProbeFailed { .. }) => (None, false),
            (None, KnownLoad::Unknown) => (None, true),
        };
        let interval = view.interval;
        candidates.push(Candidate { id, job: &view.job, interval, standing: Standing::Listed, load, load_unknown });
    }
    candidates.extend(held.map(|unlisted| unlisted_candidate(world, unlisted)));
    candidates
}

fn unlisted_candidate<'w>(world: &World, holders: &[Held<'w>]) -> Candidate<'w> {
    let Held { id, job, interval, .. } = holders[0];
    let standing = match world.jobs.get(job) {
        Some(view) if !view.discovered => Standing::Kept,
        Some(_) | None => Standing::Gone,
    };
    Candidate { id, job, interval, standing, load: measured(holders), load_unknown: true }
}

fn held_targets(world: &World) -> Vec<Held<'_>> {
    let mut held = Vec::new();
    for shard in world.replicas.iter().flat_map(|replica| replica.shards.values()) {
        let (report, fresh) = match &shard.report {
            Seen::Never => continue,
            Seen::Stale { last, .. } => (last, false),
            Seen::Fresh(report) => (report, true),
        };
        held.extend(report.targets.iter().map(|(&id, t)| Held {
            id,
            job: &t.job,
            interval: t.interval,
            load: t.load.or(t.planned),
            fresh,
        }));
    }
    held.sort_by_key(|h| h.id);
    held
}

/// What shards measured of one target: the larger figures, when several scrape it; shards that answer know better.
fn measured(holders: &[Held<'_>]) -> Option<Load> {
    let largest = |fresh: bool| {
        holders
            .iter()
            .filter(|h| h.fresh == fresh)
            .filter_map(|h| h.load)
            .reduce(|a, b| Load { exposed: a.exposed.max(b.exposed), kept: a.kept.max(b.kept) })
    };
    largest(true).or_else(|| largest(false))
}

/// The median measured load of every job that has targets nobody measured.
fn median_of_jobs_with_unmeasured_targets<'w>(candidates: &[Candidate<'w>]) -> BTreeMap<&'w JobName, Load> {
    let asked: BTreeSet<&JobName> = candidates.iter().filter(|c| c.load.is_none()).map(|c| c.job).collect();
    if asked.is_empty() {
        return BTreeMap::new();
    }
    let mut measured: BTreeMap<&JobName, Vec<Load>> = BTreeMap::new();
    for candidate in candidates.iter().filter(|c| asked.contains(c.job)) {
        measured.entry(candidate.job).or_default().extend(candidate.load);
    }
    measured
        .into_iter()
        .filter_map(|(job, mut loads)| {
            loads.sort_unstable_by_key(|load| (load.kept, load.exposed));
            Some((job, *loads.get(loads.len().saturating_sub(1) / 2)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_entry_is_found_at_its_place_and_nothing_else_is(
            ids in prop::collection::btree_set(prop_oneof![0..20u64, any::<u64>()], 0..40),
            other in prop_oneof![0..20u64, any::<u64>()],
        ) {
            let entry = |id: &u64| Entry {
                id: TargetId(Fingerprint(*id)),
                standing: Standing::Listed,
                load: Load::ZERO,
                cost: Cost::ZERO,
                load_unknown: false,
            };
            let entries: Vec<Entry> = ids.iter().map(entry).collect();
            let catalogue = Catalogue { index: Index::of(&entries), entries };
            for (place, entry) in catalogue.iter() {
                prop_assert_eq!(catalogue.place_of(entry.id), Some(place));
            }
            prop_assert_eq!(catalogue.place_of(TargetId(Fingerprint(other))).is_some(), ids.contains(&other));
        }
    }
}
