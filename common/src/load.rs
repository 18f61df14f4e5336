//! What a target costs, and what a shard may carry.

use std::{fmt, iter::Sum, ops::AddAssign, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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

/// Samples a second, in whole samples per thousand seconds: a target of five series that is scraped every five minutes
/// counts, and sums are exact. Written as samples a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SampleRate(pub u64);

impl SampleRate {
    /// No samples at all.
    pub const ZERO: Self = Self(0);

    /// So many samples every second.
    #[must_use]
    pub const fn per_second(samples: u64) -> Self {
        Self(samples.saturating_mul(1000))
    }

    /// What scraping so many series once in every `interval` makes. An interval of zero counts as a millisecond, the
    /// shortest there is.
    #[must_use]
    pub fn of(series: Series, interval: Duration) -> Self {
        let millis = interval.as_millis().max(1);
        match series.0.checked_mul(1_000_000) {
            Some(scaled) => Self(u64::try_from(millis).map_or(0, |millis| scaled / millis)),
            // Exact for any number, and slower.
            None => Self(u64::try_from(u128::from(series.0) * 1_000_000 / millis).unwrap_or(u64::MAX)),
        }
    }

    /// The sum, or the largest rate there is.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other` away, at least nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// Samples a second, with as many decimals as there are.
impl fmt::Display for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, thousandths) = (self.0 / 1000, self.0 % 1000);
        if thousandths == 0 {
            return write!(f, "{whole}");
        }
        let text = format!("{whole}.{thousandths:03}");
        f.write_str(text.trim_end_matches('0'))
    }
}

impl fmt::Debug for SampleRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SampleRate({self}/s)")
    }
}

impl Serialize for SampleRate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) {
            return serializer.serialize_u64(self.0 / 1000);
        }
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53, which is 9 million million samples a second")]
        serializer.serialize_f64(self.0 as f64 / 1000.0)
    }
}

impl<'de> Deserialize<'de> for SampleRate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let samples = f64::deserialize(deserializer)?;
        if !(0.0..1e15).contains(&samples) {
            return Err(de::Error::custom(format!("{samples} is not a number of samples a second")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is within 0 and 10^18")]
        Ok(Self((samples * 1000.0).round() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_slow_targets_and_is_written_in_samples_a_second() {
        let slow = SampleRate::of(Series(5), Duration::from_secs(300));
        assert_eq!((slow.0, slow.to_string()), (16, "0.016".to_owned()));
        let fast = SampleRate::of(Series(10_045), Duration::from_secs(10));
        assert_eq!(fast.to_string(), "1004.5");
        assert_eq!(SampleRate::of(Series(u64::MAX), Duration::ZERO), SampleRate(u64::MAX));
        for rate in [slow, fast, SampleRate::per_second(7), SampleRate::ZERO] {
            let json = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<SampleRate>(&json).unwrap(), rate, "{json}");
        }
        assert_eq!(serde_json::to_string(&SampleRate::per_second(7)).unwrap(), "7");
        serde_json::from_str::<SampleRate>("-1").unwrap_err();
    }
}
