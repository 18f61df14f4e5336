//! What one sidecar says its shard does.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    assignment::{Revision, TargetState},
    fingerprint::Fingerprint,
    load::{Load, Series},
    semantics::PrometheusVersion,
    target::TargetId,
    time::{Timestamp, seconds},
};

/// How a target's last scrape went, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Not scraped yet.
    #[default]
    Unknown,
    /// Scraped.
    Up,
    /// Not to be scraped.
    Down,
}

impl Health {
    /// The word Prometheus' API uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The state of one sidecar's knowledge, handed out with a report; ask for what is newer than it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// What one shard does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Where this report stands; ask with it for the changes since.
    pub cursor: Cursor,
    /// Whether `targets` is everything (or only what changed since the cursor asked with).
    pub complete: bool,
    /// The assignment the shard runs.
    pub revision: Revision,
    /// The config the shard runs.
    pub config: Fingerprint,
    /// Where the shard's config comes from.
    #[serde(default)]
    pub config_from: ConfigFrom,
    /// Why the newest config is not the one that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_error: Option<String>,
    /// Since when the shard has had no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,
    /// The Prometheus next door.
    pub prometheus: PrometheusReport,
    /// That it scrapes other targets than those assigned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_mismatch: Option<TargetMismatch>,
    /// The targets, those that changed or all of them, sorted by id. A target that left is not listed: it is gone
    /// when `revision` says so.
    pub targets: Vec<TargetReport>,
}

/// Where a shard's config comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConfigFrom {
    /// A file of its own.
    #[default]
    File,
    /// The coordinator.
    Coordinator,
}

/// What the Prometheus next door says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusReport {
    /// Where it is reached, as the sidecar knows it.
    pub url: String,
    /// Whether it answers `/-/ready`, and says that it is.
    pub ready: bool,
    /// Since when it has not answered at all, by the sidecar's clock; none while it does. One that replays its log
    /// answers that it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<Timestamp>,
    /// Its version, once asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<PrometheusVersion>,
    /// The series it holds in memory, once asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_series: Option<Series>,
}

/// A Prometheus scrapes other targets than those assigned, and not only until it has read the newest assignment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetMismatch {
    /// How many it should scrape and does not.
    pub missing: usize,
    /// How many it scrapes and should not.
    pub unexpected: usize,
    /// A few of them, for people.
    pub examples: Vec<String>,
}

impl fmt::Display for TargetMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = |count| if count == 1 { "target" } else { "targets" };
        let (missing, unexpected) = (self.missing, self.unexpected);
        f.write_str("its Prometheus ")?;
        if missing > 0 {
            write!(f, "does not scrape {missing} {} that it should", targets(missing))?;
        }
        if missing > 0 && unexpected > 0 {
            f.write_str(" and ")?;
        }
        if unexpected > 0 {
            write!(f, "scrapes {unexpected} {} that it should not", targets(unexpected))?;
        }
        if self.examples.is_empty() { Ok(()) } else { write!(f, " ({})", self.examples.join("; ")) }
    }
}

/// What a shard knows of one target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetReport {
    /// Which target.
    pub id: TargetId,
    /// Whether it is here to stay.
    pub state: TargetState,
    /// How its last scrape went.
    pub health: Health,
    /// Why its last scrape failed; empty when it did not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_error: String,
    /// When its last scrape began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scrape: Option<Timestamp>,
    /// How long its last scrape took.
    #[serde(with = "seconds")]
    pub last_scrape_duration: Duration,
    /// What its last good scrape brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Scrapes that succeeded or failed since it was assigned here, counted up to [`SCRAPES_COUNTED`]: enough to
    /// settle a move, and a target that runs along does not change its report at every scrape. A target that is
    /// [`dropped`](Self::dropped) has them all: nothing more will come of it.
    pub scrapes: u32,
    /// Whether the shard's Prometheus, which relabels it, does not scrape it: its rules drop it, or they make of it what
    /// they make of another one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dropped: bool,
}

/// Scrapes are counted this far. Three settle a move: two prove that the target is scraped there, one may fail by
/// chance.
pub const SCRAPES_COUNTED: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_says_what_differs_and_where() {
        let said = |missing, unexpected, examples: &[&str]| {
            let examples = examples.iter().map(|&example| example.into()).collect();
            TargetMismatch { missing, unexpected, examples }.to_string()
        };
        assert_eq!(
            said(2, 1, &["node a:1 is missing", "node b:1 is missing"]),
            "its Prometheus does not scrape 2 targets that it should and scrapes 1 target that it should not (node a:1 is \
             missing; node b:1 is missing)"
        );
        assert_eq!(said(0, 2, &[]), "its Prometheus scrapes 2 targets that it should not");
        assert_eq!(said(1, 0, &[]), "its Prometheus does not scrape 1 target that it should");
    }
}
