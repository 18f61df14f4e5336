//! Estimates: what a target of unknown load is planned with. The median of what its job's other targets weigh, or of all
//! targets, kept up to date as loads come and go.

use narthex_common::load::{Load, Series};

/// The distribution of many loads, each figure by itself, in steps of a thirty-second of a power of two: a median is
/// right to three percent, and small numbers are exact.
#[derive(Debug, Default)]
pub(super) struct Distribution {
    exposed: Figures,
    kept: Figures,
}

#[derive(Debug, Default)]
struct Figures {
    count: u64,
    /// How many there are in every step, as far up as there ever were any.
    steps: Vec<u32>,
}

impl Distribution {
    pub(super) fn add(&mut self, load: Load) {
        self.exposed.add(load.exposed);
        self.kept.add(load.kept);
    }

    pub(super) fn remove(&mut self, load: Load) {
        self.exposed.remove(load.exposed);
        self.kept.remove(load.kept);
    }

    /// The median of both figures; none of no loads.
    pub(super) fn median(&self) -> Option<Load> {
        Some(Load { exposed: self.exposed.median()?, kept: self.kept.median()? })
    }
}

impl Figures {
    fn add(&mut self, figure: Series) {
        let step = step_of(figure.0);
        if step >= self.steps.len() {
            self.steps.resize(step + 1, 0);
        }
        self.count += 1;
        self.steps[step] += 1;
    }

    fn remove(&mut self, figure: Series) {
        self.count -= 1;
        self.steps[step_of(figure.0)] -= 1;
    }

    fn median(&self) -> Option<Series> {
        let mut before = self.count.checked_sub(1)? / 2;
        for (step, &count) in self.steps.iter().enumerate() {
            match before.checked_sub(u64::from(count)) {
                Some(left) => before = left,
                None => return Some(Series(start_of(step))),
            }
        }
        None
    }
}

/// Bits of a figure that its step keeps below the highest one.
const BITS: u32 = 5;

fn step_of(figure: u64) -> usize {
    let exponent = figure.max(1).ilog2().saturating_sub(BITS);
    let mantissa = figure >> exponent;
    usize::try_from(u64::from(exponent << BITS) + mantissa).unwrap_or(usize::MAX)
}

/// The smallest figure of a step.
const fn start_of(step: usize) -> u64 {
    let step = step as u64;
    let exponent = (step >> BITS).saturating_sub(1);
    (step - (exponent << BITS)) << exponent
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn load(kept: u64) -> Load {
        Load { exposed: Series(kept), kept: Series(kept) }
    }

    proptest! {
        #[test]
        fn a_step_begins_at_most_three_percent_below_its_figures(figure in prop_oneof![0..2000u64, any::<u64>()]) {
            let start = start_of(step_of(figure));
            prop_assert!(start <= figure && figure - start <= figure / 32, "{figure} is in the step from {start}");
            prop_assert!(figure >= 64 || start == figure);
            prop_assert_eq!(step_of(start), step_of(figure));
        }

        #[test]
        fn the_median_is_that_of_the_loads_that_are_left(
            stay in prop::collection::vec(0..100_000u64, 0..40),
            go in prop::collection::vec(0..100_000u64, 0..40),
        ) {
            let mut distribution = Distribution::default();
            stay.iter().chain(&go).for_each(|kept| distribution.add(load(*kept)));
            go.iter().for_each(|kept| distribution.remove(load(*kept)));
            let mut sorted = stay;
            sorted.sort_unstable();
            let median = sorted.get(sorted.len().saturating_sub(1) / 2).map(|kept| load(start_of(step_of(*kept))));
            prop_assert_eq!(distribution.median(), median);
        }
    }
}
