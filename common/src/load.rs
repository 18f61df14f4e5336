//! What a target costs, and what a shard may carry.

use std::{fmt, iter::Sum, ops::AddAssign};

use serde::{Deserialize, Serialize};

/// A number of series.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(pub u64);

impl Series {
    /// No series at all.
    pub const ZERO: Self = Self(0);

    /// The sum, or the largest number there is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away, at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl AddAssign for Series {
    fn add_assign(&mut self, other: Self) {
        *self = self.plus(other);
    }
}

impl Sum for Series {
    fn sum<I: Iterator<Item = Self>>(series: I) -> Self {
        series.fold(Self::ZERO, Self::plus)
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Series({})", self.0)
    }
}

/// What one scrape of a target brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Load {
    /// Series before metric relabeling: the work of a scrape.
    pub exposed: Series,
    /// Series after metric relabeling: the memory they hold.
    pub kept: Series,
}

impl Load {
    /// No load at all.
    pub const ZERO: Self = Self { exposed: Series::ZERO, kept: Series::ZERO };

    /// Both figures added up.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { exposed: self.exposed.plus(other.exposed), kept: self.kept.plus(other.kept) }
    }

    /// What is left of both figures, each at least nothing.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self { exposed: self.exposed.minus(other.exposed), kept: self.kept.minus(other.kept) }
    }

    /// Whether neither figure is above the other's.
    #[must_use]
    pub fn fits(self, room: Self) -> bool {
        self.exposed <= room.exposed && self.kept <= room.kept
    }
}

impl Sum for Load {
    fn sum<I: Iterator<Item = Self>>(loads: I) -> Self {
        loads.fold(Self::ZERO, Self::plus)
    }
}
