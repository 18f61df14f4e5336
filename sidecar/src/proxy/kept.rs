//! When metric relabeling is tried on a target's samples, and what is taken for the kept ones when it is not.
//!
//! Relabeling every sample costs more than all else the proxy does, and Prometheus does it again. How many samples a
//! job keeps hardly changes while a target exposes the same number of them, so it is tried again when that number
//! changed, and now and then.

use narthex_common::load::{Load, Series};

/// Every tenth scrape is relabeled even if nothing seems to have changed: targets can swap series for others.
const TRIED_EVERY: u32 = 10;

/// What is remembered of a target's last scrapes.
#[derive(Debug, Default)]
pub(super) struct KeptMemory {
    /// What relabeling left when it was tried last.
    tried: Option<Load>,
    /// Scrapes since then.
    since: u32,
    /// Whether the target has exposed another number of samples since.
    outdated: bool,
}

impl KeptMemory {
    /// Whether the next scrape's samples are to be relabeled.
    pub(super) fn is_due(&self) -> bool {
        self.tried.is_none() || self.outdated || self.since + 1 >= TRIED_EVERY
    }

    /// A scrape brought this load, every sample relabeled.
    pub(super) fn tried(&mut self, load: Load) {
        *self = Self { tried: Some(load), since: 0, outdated: false };
    }

    /// A scrape brought this many samples, not relabeled: its load, with as large a part kept as last time.
    pub(super) fn estimate(&mut self, exposed: Series) -> Load {
        self.since += 1;
        let Some(tried) = self.tried else { return Load { exposed, kept: exposed } };
        self.outdated |= exposed != tried.exposed;
        let scaled = u128::from(tried.kept.0) * u128::from(exposed.0) / u128::from(tried.exposed.0.max(1));
        Load { exposed, kept: Series(u64::try_from(scaled).unwrap_or(u64::MAX)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(exposed: u64, kept: u64) -> Load {
        Load { exposed: Series(exposed), kept: Series(kept) }
    }

    #[test]
    fn relabeling_is_tried_at_first_after_a_change_and_every_tenth_time() {
        let mut memory = KeptMemory::default();
        let mut tried = vec![];
        for (scrape, exposed) in [(0..5, 100), (5..25, 200)].into_iter().flat_map(|(n, e)| n.map(move |n| (n, e))) {
            if memory.is_due() {
                tried.push(scrape);
                memory.tried(load(exposed, exposed / 4));
            } else {
                assert_eq!(memory.estimate(Series(exposed)), load(exposed, exposed / 4));
            }
        }
        assert_eq!(tried, [0, 6, 16]);
    }

    #[test]
    fn a_target_that_exposed_nothing_keeps_nothing() {
        let mut memory = KeptMemory::default();
        memory.tried(load(0, 0));
        assert_eq!(memory.estimate(Series(7)), load(7, 0));
        assert!(memory.is_due());
    }
}
