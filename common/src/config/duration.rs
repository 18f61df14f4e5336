//! Durations as Prometheus reads and writes them: `1m30s`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A duration in whole milliseconds; its text is canonical (`60s` is written `1m`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PromDuration(pub u64);

impl PromDuration {
    /// The same length for the standard library.
    #[must_use]
    pub const fn to_std(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// Whether it is no time at all, which in a config means "not set".
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PromDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text that is not a duration, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadDuration(pub String);

/// The units with their milliseconds, from biggest to smallest: the order they must be written in.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Prometheus counts nanoseconds in a signed 64-bit integer, so some 292 years are the most it can hold.
const MAX_MILLIS: u64 = i64::MAX as u64 / 1_000_000;

impl FromStr for PromDuration {
    type Err = BadDuration;

    /// Numbers with units, from biggest to smallest unit, each at most once; or a bare `0`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0" {
            return Ok(Self(0));
        }
        if text.is_empty() {
            return Err(BadDuration("empty duration string".into()));
        }
        let malformed = || BadDuration(format!("not a valid duration string: {text:?}"));
        let out_of_range = || BadDuration("duration out of range".into());

        let mut millis: u64 = 0;
        let mut rest = text;
        let mut smaller_units = UNITS.as_slice();
        while !rest.is_empty() {
            let (digits, after) = split_where(rest, |c| !c.is_ascii_digit());
            let (unit, after) = split_where(after, |c| c.is_ascii_digit());
            let number: u64 = digits.parse().map_err(|_| malformed())?;
            if unit.is_empty() {
                return Err(malformed());
            }
            if !UNITS.iter().any(|(name, _)| *name == unit) {
                return Err(BadDuration(format!("unknown unit {unit:?} in duration {text:?}")));
            }
            let position = smaller_units.iter().position(|(name, _)| *name == unit).ok_or_else(malformed)?;
            let part = number.checked_mul(smaller_units[position].1).ok_or_else(out_of_range)?;
            millis = millis.checked_add(part).filter(|&sum| sum <= MAX_MILLIS).ok_or_else(out_of_range)?;
            smaller_units = &smaller_units[position + 1..];
            rest = after;
        }
        Ok(Self(millis))
    }
}

/// The text before and from the first character for which `stop` holds.
fn split_where(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (unit, millis) in UNITS {
            // Years and weeks only when nothing remains: 90d is easier to read than 12w6d.
            let exact_only = matches!(unit, "y" | "w");
            if rest >= millis && (!exact_only || rest.is_multiple_of(millis)) {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("0", 0, "0s")]
    #[case("0w", 0, "0s")]
    #[case("324ms", 324, "324ms")]
    #[case("60s", 60_000, "1m")]
    #[case("90s", 90_000, "1m30s")]
    #[case("1500ms", 1500, "1s500ms")]
    #[case("4d1h", 349_200_000, "4d1h")]
    #[case("14d", 1_209_600_000, "2w")]
    #[case("3w2d1h", 1_990_800_000, "23d1h")]
    #[case("90d", 7_776_000_000, "90d")]
    #[case("10y", 315_360_000_000, "10y")]
    fn a_duration_is_read_and_written_canonically(#[case] text: &str, #[case] millis: u64, #[case] canonical: &str) {
        let duration: PromDuration = text.parse().unwrap();
        assert_eq!(duration, PromDuration(millis));
        assert_eq!(duration.to_string(), canonical);
    }

    #[rstest]
    #[case("", "empty duration string")]
    #[case("1", r#"not a valid duration string: "1""#)]
    #[case("d", r#"not a valid duration string: "d""#)]
    #[case("-1h", r#"not a valid duration string: "-1h""#)]
    #[case("1y1m1d", r#"not a valid duration string: "1y1m1d""#)]
    #[case("1m1m", r#"not a valid duration string: "1m1m""#)]
    #[case("1.5d", r#"unknown unit "." in duration "1.5d""#)]
    #[case("2notseconds", r#"unknown unit "notseconds" in duration "2notseconds""#)]
    #[case("294y", "duration out of range")]
    #[case("200y10400w", "duration out of range")]
    #[case("99999999999999999y", "duration out of range")]
    fn a_bad_duration_is_refused_in_prometheus_words(#[case] text: &str, #[case] message: &str) {
        assert_eq!(text.parse::<PromDuration>().unwrap_err().to_string(), message);
    }

    proptest! {
        #[test]
        fn the_canonical_text_means_the_same_duration(millis in 0..=MAX_MILLIS) {
            let text = PromDuration(millis).to_string();
            prop_assert_eq!(text.parse(), Ok(PromDuration(millis)), "{}", text);
        }
    }
}
