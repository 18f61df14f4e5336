//! Coverage: who is scraped, by how many shards of a replica, and which scrapes were missed.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{config::PromDuration, target::TargetId, time::Timestamp};

/// The coverage of one replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage {
    /// How many shards scrape a target; whoever is absent is not scraped.
    scrapers: BTreeMap<TargetId, u32>,
    /// Listed targets that were scraped, and are not.
    gaps: BTreeMap<TargetId, Gap>,
    /// Listed targets that nobody has scraped yet.
    never: BTreeSet<TargetId>,
    /// How many targets two shards scrape.
    doubles: u64,
    /// What was missed since it was last asked for.
    missed: Missed,
}

/// Why a shard scrapes a target no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told so.
    LetGo,
    /// It failed.
    Failed,
}

/// Time without a scrape.
#[derive(Clone, Copy, Debug)]
struct Gap {
    last: Timestamp,
    interval: PromDuration,
    end: End,
    counted: u64,
}

/// Scrape intervals without a scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missed {
    /// All of them.
    pub(crate) all: u64,
    /// Those that arose because a shard was told to let go.
    pub(crate) torn: u64,
}

impl Gap {
    /// Counts what was missed until a moment: as many intervals as have passed, less the one that always passes from
    /// one scrape to the next.
    fn count(&mut self, until: Timestamp) -> Missed {
        let millis = u64::try_from(until.0 - self.last.0).unwrap_or(0);
        let intervals = millis.div_ceil(self.interval.0.max(1)).saturating_sub(1);
        let new = intervals.saturating_sub(self.counted);
        self.counted += new;
        Missed { all: new, torn: if self.end == End::LetGo { new } else { 0 } }
    }
}

impl Missed {
    fn add(&mut self, more: Self) {
        self.all += more.all;
        self.torn += more.torn;
    }
}

impl Coverage {
    /// Discovery lists a target.
    pub(crate) fn list(&mut self, target: TargetId) {
        if !self.scrapers.contains_key(&target) {
            self.never.insert(target);
        }
    }

    /// Discovery lists it no longer: whether it is scraped is all the same.
    pub(crate) fn unlist(&mut self, target: TargetId) {
        self.never.remove(&target);
        self.gaps.remove(&target);
    }

    /// A shard scrapes it for the first time.
    pub(crate) fn begin(&mut self, target: TargetId, at: Timestamp) {
        let scrapers = self.scrapers.entry(target).or_insert(0);
        *scrapers += 1;
        if *scrapers == 2 {
            self.doubles += 1;
        }
        if *scrapers == 1 {
            self.never.remove(&target);
            if let Some(mut gap) = self.gaps.remove(&target) {
                self.missed.add(gap.count(at));
            }
        }
    }

    /// A shard that scraped it does so no more; its last scrape was then.
    pub(crate) fn end(&mut self, target: TargetId, last: Timestamp, interval: PromDuration, listed: bool, end: End) {
        let Some(scrapers) = self.scrapers.get_mut(&target) else { return };
        *scrapers -= 1;
        if *scrapers == 1 {
            self.doubles -= 1;
        }
        if *scrapers == 0 {
            self.scrapers.remove(&target);
            if listed {
                self.gaps.insert(target, Gap { last, interval, end, counted: 0 });
            }
        }
    }

    /// What was missed up to now, since it was last asked.
    pub(crate) fn missed(&mut self, now: Timestamp) -> Missed {
        let mut missed = std::mem::take(&mut self.missed);
        for gap in self.gaps.values_mut() {
            missed.add(gap.count(now));
        }
        missed
    }

    /// How many listed targets nobody has ever scraped.
    pub(crate) fn never(&self) -> u64 {
        self.never.len() as u64
    }

    /// How many listed targets were scraped before, and are not now.
    pub(crate) fn gaps(&self) -> u64 {
        self.gaps.len() as u64
    }

    /// How many targets two shards scrape.
    pub(crate) const fn doubles(&self) -> u64 {
        self.doubles
    }
}

#[cfg(test)]
mod tests {
    use narthex_common::fingerprint::Fingerprint;

    use super::*;

    const T: TargetId = TargetId(Fingerprint(1));
    const TEN_SECONDS: PromDuration = PromDuration::from_secs(10);

    #[test]
    fn a_gap_of_one_interval_is_none_and_a_longer_one_misses_what_fell_due_within() {
        let missed = |resumed| {
            let mut coverage = Coverage::default();
            coverage.list(T);
            coverage.begin(T, Timestamp(0));
            coverage.end(T, Timestamp(20_000), TEN_SECONDS, true, End::LetGo);
            coverage.begin(T, Timestamp(resumed));
            coverage.missed(Timestamp(resumed + 1000)).torn
        };
        assert_eq!((missed(30_000), missed(30_001), missed(40_000), missed(45_000)), (0, 1, 1, 2));
    }

    #[test]
    fn a_gap_that_goes_on_is_counted_once_each_time() {
        let mut coverage = Coverage::default();
        coverage.list(T);
        assert_eq!(coverage.never(), 1);
        coverage.begin(T, Timestamp(0));
        coverage.begin(T, Timestamp(0));
        assert_eq!((coverage.never(), coverage.doubles()), (0, 1));
        coverage.end(T, Timestamp(0), TEN_SECONDS, true, End::LetGo);
        assert_eq!(coverage.doubles(), 0);
        coverage.end(T, Timestamp(0), TEN_SECONDS, true, End::Failed);
        let all: Vec<u64> = [5_000, 15_000, 25_000, 35_000].map(|at| coverage.missed(Timestamp(at)).all).into();
        assert_eq!(all, [0, 1, 1, 1]);
        coverage.unlist(T);
        assert_eq!(coverage.missed(Timestamp(99_000)), Missed::default());
    }
}
