//! Fingerprints: 64-bit hashes that are the same in every process and after every restart.

use std::{fmt, hash::Hasher as _, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use twox_hash::XxHash64;

/// The hash of a config or of a target's identity. Written as 16 hexadecimal digits, because JSON numbers lose
/// precision above 2^53.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(pub u64);

/// Feeds strings into a [`Fingerprint`] so that no two sequences of strings run together.
#[derive(Default)]
pub struct Fingerprinter(XxHash64);

impl Fingerprinter {
    /// Adds one string, with its length, so that `("ab", "c")` and `("a", "bc")` differ.
    pub fn add(&mut self, part: &str) -> &mut Self {
        self.0.write(&(part.len() as u64).to_le_bytes());
        self.0.write(part.as_bytes());
        self
    }

    /// The fingerprint of everything added so far.
    #[must_use]
    pub fn finish(&self) -> Fingerprint {
        Fingerprint(self.0.finish())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a fingerprint of 16 hexadecimal digits")]
pub struct NotAFingerprint(String);

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || NotAFingerprint(text.chars().take(40).collect());
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| bad())
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_do_not_run_together() {
        let of = |parts: &[&str]| {
            let mut f = Fingerprinter::default();
            for part in parts {
                f.add(part);
            }
            f.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a", ""]), of(&["a"]));
    }

    #[test]
    fn a_fingerprint_survives_json() {
        let all = Fingerprint(u64::MAX - 1);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, "\"fffffffffffffffe\"");
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), all);
        assert!(serde_json::from_str::<Fingerprint>("\"12\"").is_err());
    }
}
