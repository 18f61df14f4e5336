//! Cost: what a target takes of a shard, in the two things that a shard runs out of.

use std::{iter::Sum, time::Duration};

use narthex_common::load::{Load, SampleRate, Series};
use serde::{Deserialize, Serialize};

/// What something takes of a shard, or what a shard has to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Cost {
    /// Kept series: memory.
    pub series: Series,
    /// Exposed samples a second: work.
    pub work: SampleRate,
}

impl Cost {
    /// Nothing.
    pub const ZERO: Self = Self { series: Series::ZERO, work: SampleRate::ZERO };

    /// What a target of that load costs when it is scraped that often.
    #[must_use]
    pub fn of(load: Load, interval: Duration) -> Self {
        Self { series: load.kept, work: SampleRate::of(load.exposed, interval) }
    }

    /// Both figures added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { series: self.series.plus(other.series), work: self.work.plus(other.work) }
    }

    /// What is left of both figures, each at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { series: self.series.minus(other.series), work: self.work.minus(other.work) }
    }

    /// Whether neither figure is above the other's.
    #[must_use]
    pub fn fits(self, room: Self) -> bool {
        self.series <= room.series && self.work <= room.work
    }

    /// The larger of each figure.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { series: self.series.max(other.series), work: self.work.max(other.work) }
    }

    /// The smaller of each figure.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Self { series: self.series.min(other.series), work: self.work.min(other.work) }
    }

    /// So many hundredths of it.
    #[must_use]
    pub fn percent(self, percent: u64) -> Self {
        // A budget without limit stays without limit.
        let of = |figure: u64| {
            if figure == u64::MAX {
                return figure;
            }
            u64::try_from(u128::from(figure) * u128::from(percent) / 100).unwrap_or(u64::MAX)
        };
        Self { series: Series(of(self.series.0)), work: SampleRate(of(self.work.0)) }
    }

    /// How large it is against a budget, by whichever figure is larger, in billionths.
    #[must_use]
    pub fn share_of(self, budget: Self) -> u64 {
        share(self.series.0, budget.series.0).max(share(self.work.0, budget.work.0))
    }

    /// How much of a budget it leaves, as room of the budget, of whichever figure is scarcer, in billionths.
    #[must_use]
    pub(crate) fn scarcer_share_of(self, budget: Self) -> u64 {
        share(self.series.0, budget.series.0).min(share(self.work.0, budget.work.0))
    }
}

impl Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::ZERO, Self::plus)
    }
}

fn share(part: u64, whole: u64) -> u64 {
    let whole = whole.max(1);
    match part.checked_mul(1_000_000_000) {
        Some(billionths) => billionths / whole,
        // Exact for any number, and slower.
        None => u64::try_from(u128::from(part) * 1_000_000_000 / u128::from(whole)).unwrap_or(u64::MAX),
    }
}
