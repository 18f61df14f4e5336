//! What the user wants of a plan: settings that were checked.

use std::{ops::Deref, time::Duration};

use narthex_common::load::{Load, Series};
use serde::{Deserialize, Serialize};

/// The rules a plan keeps: [`Settings`] that can be kept. They are read through it, and never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Settings", into = "Settings")]
pub struct Policy(Settings);

/// What the user sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Kept series one shard may hold: its memory.
    pub max_series: Series,
    /// Exposed series one shard may scrape: its work. None is no limit.
    pub max_process_series: Option<Series>,
    /// The fewest shards of a replica; nothing is placed or moved before that many are there.
    pub min_shards: u32,
    /// The most shards a replica is scaled out to. Shards above it are not taken away while they have targets.
    pub max_shards: u32,
    /// How long a shard must be idle before it goes; none means that none goes, and that load is spread instead of
    /// packed into the lowest ordinals. In seconds, when written.
    #[serde(with = "optional_seconds")]
    pub max_idle_time: Option<Duration>,
    /// Moves begun in one round, at most, in each replica.
    pub max_moves: u32,
    /// How long a silent shard is waited for. For that long after the coordinator's start, a shard that was there
    /// before it may hold targets that nobody knows of, and a target that no shard is known to hold waits; for that
    /// long after its last report, a shard's free room is counted on before new shards are asked for. What it is known
    /// to hold it keeps for longer. In seconds, when written.
    #[serde(with = "narthex_common::time::seconds")]
    pub max_silence: Duration,
}

/// Why settings cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A shard that may hold nothing.
    #[error("a shard must be allowed at least one series, max_series is 0")]
    NoSeries,
    /// A shard that may scrape nothing.
    #[error("a shard must be allowed to scrape at least one series, max_process_series is 0")]
    NoProcessSeries,
    /// Replicas without shards.
    #[error("a replica must be allowed at least one shard, max_shards is 0")]
    NoShards,
    /// The minimum lies above the maximum.
    #[error("min_shards {min} is above max_shards {max}")]
    MinimumAboveMaximum {
        /// The fewest shards.
        min: u32,
        /// The most shards.
        max: u32,
    },
    /// Nothing may move, so that no shard is ever relieved or drained.
    #[error("at least one move a round must be allowed, max_moves is 0")]
    NoMoves,
    /// Shards that go the moment they are idle: a new one, before it gets its first target.
    #[error("a shard must be idle for some time before it goes, max_idle_time is 0; leave it out to keep idle shards")]
    NoIdleTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_series: Series(1_000_000),
            max_process_series: None,
            min_shards: 0,
            max_shards: 999_999,
            max_idle_time: None,
            // A target that moves is held twice until it settles, and each source reloads its Prometheus once. Ten a
            // round, with rounds every ten seconds, empty a shard of a few hundred targets within minutes.
            max_moves: 10,
            // A Prometheus that replays the write-ahead log of a million series is back within a minute or so; its
            // sidecar, which reports what it holds, long before.
            max_silence: Duration::from_secs(60),
        }
    }
}

impl Policy {
    /// Rules that can be kept.
    ///
    /// # Errors
    /// When they contradict each other, or allow nothing.
    pub const fn new(settings: Settings) -> Result<Self, PolicyError> {
        if settings.max_series.0 == 0 {
            return Err(PolicyError::NoSeries);
        }
        if matches!(settings.max_process_series, Some(Series(0))) {
            return Err(PolicyError::NoProcessSeries);
        }
        if settings.max_shards == 0 {
            return Err(PolicyError::NoShards);
        }
        if settings.min_shards > settings.max_shards {
            return Err(PolicyError::MinimumAboveMaximum { min: settings.min_shards, max: settings.max_shards });
        }
        if settings.max_moves == 0 {
            return Err(PolicyError::NoMoves);
        }
        if matches!(settings.max_idle_time, Some(Duration::ZERO)) {
            return Err(PolicyError::NoIdleTime);
        }
        Ok(Self(settings))
    }

    /// What one shard may carry.
    #[must_use]
    pub fn budget(&self) -> Load {
        Load { exposed: self.max_process_series.unwrap_or(Series(u64::MAX)), kept: self.max_series }
    }

    /// Whether shards that became superfluous go.
    #[must_use]
    pub fn scales_in(&self) -> bool {
        self.max_idle_time.is_some()
    }
}

impl Deref for Policy {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        &self.0
    }
}

impl TryFrom<Settings> for Policy {
    type Error = PolicyError;

    fn try_from(settings: Settings) -> Result<Self, PolicyError> {
        Self::new(settings)
    }
}

impl From<Policy> for Settings {
    fn from(policy: Policy) -> Self {
        policy.0
    }
}

/// Seconds, or nothing.
mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Seconds(#[serde(with = "narthex_common::time::seconds")] Duration);

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        duration.map(Seconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Seconds>::deserialize(deserializer)?.map(|Seconds(duration)| duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_cannot_be_kept_cannot_be_made() {
        let refused = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            Policy::new(settings).unwrap_err()
        };
        assert_eq!(refused(|s| s.max_series = Series::ZERO), PolicyError::NoSeries);
        assert_eq!(refused(|s| s.max_process_series = Some(Series::ZERO)), PolicyError::NoProcessSeries);
        assert_eq!(refused(|s| s.max_shards = 0), PolicyError::NoShards);
        assert_eq!(refused(|s| s.max_moves = 0), PolicyError::NoMoves);
        assert_eq!(refused(|s| s.max_idle_time = Some(Duration::ZERO)), PolicyError::NoIdleTime);
        let inverted = refused(|s| (s.min_shards, s.max_shards) = (3, 2));
        assert_eq!(inverted.to_string(), "min_shards 3 is above max_shards 2");
    }

    #[test]
    fn rules_are_checked_when_they_are_read() {
        let policy: Policy = serde_json::from_str(r#"{"max_series": 30000, "max_idle_time": 0.5}"#).unwrap();
        assert_eq!((policy.max_series, policy.max_idle_time), (Series(30_000), Some(Duration::from_millis(500))));
        let again: Policy = serde_json::from_str(&serde_json::to_string(&policy).unwrap()).unwrap();
        assert_eq!(again, policy);
        let error = serde_json::from_str::<Policy>(r#"{"max_series": 0}"#).unwrap_err();
        assert!(error.to_string().contains("at least one series"), "{error}");
    }
}
