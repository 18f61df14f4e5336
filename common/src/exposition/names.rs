//! How the samples of one body are spread over metrics.

use std::collections::BTreeMap;

use compact_str::CompactString;

use crate::load::{Load, Series};

/// The most metrics of one body that are told apart, so that a body of nothing but names costs no more memory.
const MOST_NAMES: usize = 10_000;

/// The most bytes of a metric's name. What is longer is not told apart.
const LONGEST_NAME: usize = 256;

/// The samples of one body by the name of their metric, as it is exposed: those of a histogram under the names that its
/// series have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricCounts {
    /// The metrics that are told apart.
    pub by_name: BTreeMap<CompactString, Load>,
    /// All other samples.
    pub other: Load,
}

/// Counts while samples come by, mostly many of one metric in a row.
#[derive(Debug, Default)]
pub(super) struct NameCounter {
    done: MetricCounts,
    name: CompactString,
    count: Load,
}

impl NameCounter {
    /// Whether a line of text is plainly a sample of the same metric as the one before: most are, and a look at their
    /// first bytes is enough.
    pub(super) fn goes_on_in(&self, line: &[u8]) -> bool {
        let rest = line.strip_prefix(self.name.as_bytes());
        !self.name.is_empty() && rest.is_some_and(|rest| matches!(rest.first(), Some(b'{' | b' ' | b'\t')))
    }

    /// One more sample of the same metric.
    pub(super) fn count_on(&mut self, kept: bool) {
        self.count.exposed += Series(1);
        self.count.kept += Series(u64::from(kept));
    }

    /// One sample of a metric; an empty name is that of none.
    pub(super) fn count(&mut self, name: &str, kept: bool) {
        if self.name != name {
            self.put_down();
            let name = if name.len() > LONGEST_NAME { "" } else { name };
            self.name.clear();
            self.name.push_str(name);
        }
        self.count_on(kept);
    }

    pub(super) fn finish(mut self) -> MetricCounts {
        self.put_down();
        self.done
    }

    fn put_down(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count == Load::ZERO {
            return;
        }
        let known = self.done.by_name.len();
        let sum = if self.name.is_empty() {
            &mut self.done.other
        } else if let Some(sum) = self.done.by_name.get_mut(&self.name) {
            sum
        } else if known < MOST_NAMES {
            self.done.by_name.entry(self.name.clone()).or_default()
        } else {
            &mut self.done.other
        };
        *sum = sum.plus(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_too_many_or_too_long_are_counted_together() {
        let mut names = NameCounter::default();
        for _ in 0..2 {
            (0..MOST_NAMES + 5).for_each(|i| names.count(&format!("metric_{i}"), i % 2 == 0));
        }
        names.count(&"x".repeat(LONGEST_NAME + 1), true);
        names.count(&"x".repeat(LONGEST_NAME + 1), true);
        let counts = names.finish();
        assert_eq!(counts.by_name.len(), MOST_NAMES);
        assert_eq!(counts.by_name["metric_4"], Load { exposed: Series(2), kept: Series(2) });
        assert_eq!(counts.other, Load { exposed: Series(12), kept: Series(8) });
    }
}
