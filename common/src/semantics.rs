//! Which Prometheus to be faithful to: what changed between versions, as switches.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Prometheus version, as far as its meaning of a config goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PrometheusVersion {
    /// The first number.
    pub major: u16,
    /// The second number.
    pub minor: u16,
}

impl PrometheusVersion {
    /// Debian bookworm's.
    pub const V2_42: Self = Self { major: 2, minor: 42 };
    /// The long-term release that Narthex assumes until it knows better.
    pub const V3_5: Self = Self { major: 3, minor: 5 };

    /// The newest version whose relabeling Narthex knows.
    pub const NEWEST_KNOWN: Self = Self { major: 3, minor: 14 };

    /// From 2.x to 3.0 default ports went, `__param_` labels began to win over `params`, `.` began to match a
    /// newline in relabeling, and label names may be any UTF-8.
    #[must_use]
    pub const fn is_3_or_later(self) -> bool {
        self.major >= 3
    }

    /// Whether `dns_sd_configs` may ask for `NS` records (2.49).
    #[must_use]
    pub const fn looks_up_name_servers(self) -> bool {
        self.major > 2 || self.major == 2 && self.minor >= 49
    }

    /// Whether targets get `:80` or `:443` appended (2.x).
    #[must_use]
    pub const fn appends_default_port(self) -> bool {
        !self.is_3_or_later()
    }

    /// Whether a target's own `__param_` label wins over the job's `params` (3.0).
    #[must_use]
    pub const fn param_labels_win(self) -> bool {
        self.is_3_or_later()
    }

    /// Whether `.` matches a newline in a relabeling regex (3.0).
    #[must_use]
    pub const fn dot_matches_newline(self) -> bool {
        self.is_3_or_later()
    }

    /// Whether the `target_label` of `lowercase`, `uppercase`, `keepequal` and `dropequal` may look like a template
    /// (2.x; it is taken literally), and `replace` by nothing removes a label of the template's own name instead of the
    /// one the template makes. Seen in 2.42 and no more in 3.5; the change is taken to have come with 3.0.
    #[must_use]
    pub const fn confuses_templates_and_targets(self) -> bool {
        !self.is_3_or_later()
    }

    /// Whether targets carry `__convert_classic_histograms_to_nhcb__` and its like (3.13).
    #[must_use]
    pub const fn has_histogram_labels(self) -> bool {
        self.major > 3 || self.major == 3 && self.minor >= 13
    }

    /// Which label names are valid when the config does not say.
    #[must_use]
    pub const fn default_name_validation(self) -> NameValidation {
        if self.is_3_or_later() { NameValidation::Utf8 } else { NameValidation::Legacy }
    }
}

/// Which metric and label names are valid: `metric_name_validation_scheme`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameValidation {
    /// Letters, digits and underscores, not starting with a digit.
    Legacy,
    /// Any UTF-8 that is not empty.
    Utf8,
}

impl fmt::Display for PrometheusVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A text that is not a Prometheus version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Prometheus version such as 2.42 or 3.5.3")]
pub struct NotAVersion(String);

impl FromStr for PrometheusVersion {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self { major, minor }),
            (None, _) | (_, None) => Err(NotAVersion(text.chars().take(40).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_prometheus_prints_it() {
        assert_eq!("2.42.0+ds".parse(), Ok(PrometheusVersion::V2_42));
        assert_eq!("v3.5.3".parse(), Ok(PrometheusVersion::V3_5));
        assert!("three".parse::<PrometheusVersion>().is_err());
    }
}
