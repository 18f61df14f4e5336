//! How often compressed bodies are unpacked to be counted, and what is taken for their load when they are not.
//!
//! Unpacking is most of what a compressed body costs here, and Prometheus unpacks it again. While a target sends about
//! as many bytes as before it exposes about as many series.

use clap::ValueEnum;

/// When a compressed body is unpacked to be counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CountCompressed {
    /// At every scrape.
    #[default]
    Always,
    /// When the figure is needed: at a target's first scrape, after its size has changed, every tenth time, and always
    /// where a limit depends on it.
    WhenNeeded,
}

/// Every tenth body is counted even if nothing seems to have changed.
const COUNTED_EVERY: u32 = 10;

/// By how many percent the size of a body may differ from the one that was counted last. Values that change make
/// compressed bodies differ by less.
const DIFFERS_PERCENT: u64 = 3;

/// What is remembered of a target's compressed bodies.
#[derive(Debug, Default)]
pub(super) struct CountMemory {
    /// How large the body was that was counted last.
    counted_bytes: Option<u64>,
    /// Scrapes since then.
    since: u32,
    /// Whether a body of another size has passed since.
    outdated: bool,
}

impl CountMemory {
    /// Whether the next body is to be counted.
    pub(super) fn is_due(&self) -> bool {
        self.counted_bytes.is_none() || self.outdated || self.since + 1 >= COUNTED_EVERY
    }

    /// A body of so many bytes was counted.
    pub(super) fn counted(&mut self, bytes: u64) {
        *self = Self { counted_bytes: Some(bytes), since: 0, outdated: false };
    }

    /// A body of so many bytes has passed uncounted.
    pub(super) fn skipped(&mut self, bytes: u64) {
        self.since += 1;
        let counted = self.counted_bytes.unwrap_or_default();
        self.outdated |= bytes.abs_diff(counted) > counted / 100 * DIFFERS_PERCENT;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_counted_at_first_after_its_size_has_changed_and_every_tenth_time() {
        let mut memory = CountMemory::default();
        let sizes = [10_000; 5].into_iter().chain([10_200; 3]).chain([10_400; 25]);
        let mut counted = vec![];
        for (scrape, bytes) in sizes.enumerate() {
            if memory.is_due() {
                counted.push(scrape);
                memory.counted(bytes);
            } else {
                memory.skipped(bytes);
            }
        }
        assert_eq!(counted, [0, 9, 19, 29]);
    }
}
