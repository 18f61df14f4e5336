//! What the user wants of a plan: settings that were checked.

use std::{ops::Deref, time::Duration};

use narthex_common::{
    load::{SampleRate, Series},
    shard::Ordinal,
};
use serde::{Deserialize, Serialize};

use crate::{
    cost::Cost,
    world::{OwnBudget, ShardView, World},
};

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
    /// Exposed samples a second one shard may scrape: its work. None is no limit.
    pub max_samples_per_second: Option<SampleRate>,
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
    /// to hold it keeps for longer: see `failover_after`. In seconds, when written.
    #[serde(with = "narthex_common::time::seconds")]
    pub max_silence: Duration,
    /// How long a move may take. Then it is given up, and its source keeps the target. In seconds, when written.
    #[serde(with = "narthex_common::time::seconds")]
    pub max_move_time: Duration,
    /// How long a target that moved stays where it is: relief takes it only when others are not enough, drain and
    /// rebalancing never. In seconds, when written.
    #[serde(with = "narthex_common::time::seconds")]
    pub min_stay: Duration,
    /// How long a target waits for its probe. Then it is placed by an estimate, as soon as there is any. In seconds,
    /// when written.
    #[serde(with = "narthex_common::time::seconds")]
    pub max_probe_wait: Duration,
    /// Whether shards over their budget give targets away.
    pub relief: bool,
    /// Whether shards within their budgets are evened out. Not together with `max_idle_time`, which packs them.
    pub rebalance: bool,
    /// The spread that starts rebalancing: how much more of its budget the fullest shard uses than the mean, in
    /// hundredths of the mean. It ends at half of it.
    pub rebalance_threshold: u32,
    /// After how long a silent shard is lost, and others take its targets over; none means never. In seconds, when
    /// written.
    #[serde(with = "optional_seconds")]
    pub failover_after: Option<Duration>,
    /// Targets of lost shards that others take over in one round, at most, in each replica.
    pub max_takeovers: u32,
    /// How the replicas relate to each other.
    pub placement: Placement,
}

/// How the replicas relate to each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Each is planned by itself.
    #[default]
    Independent,
    /// A target has the same ordinal in all replicas: the first one is planned, the others follow.
    Mirrored,
}

/// Why settings cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A shard that may hold nothing.
    #[error("a shard must be allowed at least one series, max_series is 0")]
    NoSeries,
    /// A shard that may scrape nothing.
    #[error("a shard must be allowed to scrape some samples, max_samples_per_second is 0")]
    NoSamples,
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
    /// A move that is given up the moment it begins, or before its target can have been scraped three times.
    #[error("a move must be given some time, max_move_time is 0")]
    NoMoveTime,
    /// Shards are lost before they count as silent.
    #[error(
        "a shard must be silent for longer than {max_silence:?} before it is lost, failover_after is {failover_after:?}"
    )]
    FailoverTooSoon {
        /// How long a silent shard is waited for.
        max_silence: Duration,
        /// When it would be lost.
        failover_after: Duration,
    },
    /// Lost shards whose targets nobody may take over.
    #[error("at least one target a round must be taken over, max_takeovers is 0; leave failover_after out for none")]
    NoTakeovers,
    /// Rebalancing that never ends.
    #[error("rebalance_threshold must be at least 1 (percent)")]
    NoRebalanceThreshold,
    /// Shards that are evened out and packed at once.
    #[error(
        "rebalance evens shards out, and max_idle_time packs targets into the lowest so that the highest can go: leave \
         one of them out"
    )]
    RebalanceWhilePacking,
    /// Targets move between shards that are within their budgets, and not away from those that are over.
    #[error("rebalance moves targets between shards within their budgets: it needs relief, which is switched off")]
    RebalanceWithoutRelief,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_series: Series(1_000_000),
            max_samples_per_second: None,
            min_shards: 0,
            max_shards: 999_999,
            max_idle_time: None,
            // A target that moves is held twice until it settles, and each source reloads its Prometheus once. Ten a
            // round, with rounds every ten seconds, empty a shard of a few hundred targets within minutes.
            max_moves: 10,
            // A Prometheus that replays the write-ahead log of a million series is back within a minute or so; its
            // sidecar, which reports what it holds, long before.
            max_silence: Duration::from_secs(60),
            // Three scrapes at Prometheus' default interval, and as long again. Slower targets get more, see `settle`.
            max_move_time: Duration::from_secs(6 * 60),
            // Prometheus' default scrape timeout: by then a probe that began at once has ended.
            max_probe_wait: Duration::from_secs(10),
            // A target's series are in the head of the shard that it left for up to three hours, until Prometheus cuts
            // its next block; moved again before that it would cost the memory of three shards.
            min_stay: Duration::from_secs(3 * 60 * 60),
            relief: true,
            rebalance: false,
            rebalance_threshold: 20,
            // Longer than a pod takes to be evicted, rescheduled and to mount its volume again.
            failover_after: Some(Duration::from_secs(5 * 60)),
            // A shard of a thousand targets is taken over within two minutes of ten-second rounds, while every round
            // still shows how those fare that took some.
            max_takeovers: 100,
            placement: Placement::Independent,
        }
    }
}

impl Policy {
    /// Rules that can be kept.
    ///
    /// # Errors
    /// When they contradict each other, or allow nothing.
    pub fn new(settings: Settings) -> Result<Self, PolicyError> {
        if settings.max_series.0 == 0 {
            return Err(PolicyError::NoSeries);
        }
        if matches!(settings.max_samples_per_second, Some(SampleRate(0))) {
            return Err(PolicyError::NoSamples);
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
        if settings.max_move_time.is_zero() {
            return Err(PolicyError::NoMoveTime);
        }
        if let Some(failover_after) = settings.failover_after {
            if failover_after <= settings.max_silence {
                return Err(PolicyError::FailoverTooSoon { max_silence: settings.max_silence, failover_after });
            }
            if settings.max_takeovers == 0 {
                return Err(PolicyError::NoTakeovers);
            }
        }
        if settings.rebalance_threshold == 0 {
            return Err(PolicyError::NoRebalanceThreshold);
        }
        // To even out the shards in use would only take their room away from the low ones, into which new targets go.
        if settings.rebalance && settings.max_idle_time.is_some() {
            return Err(PolicyError::RebalanceWhilePacking);
        }
        if settings.rebalance && !settings.relief {
            return Err(PolicyError::RebalanceWithoutRelief);
        }
        Ok(Self(settings))
    }

    /// What a shard may carry.
    #[must_use]
    pub fn budget(&self, own: OwnBudget) -> Budget {
        let series = own.max_series.unwrap_or(self.max_series);
        let work = own.max_samples_per_second.or(self.max_samples_per_second).unwrap_or(SampleRate(u64::MAX));
        Budget::of(Cost { series, work })
    }

    /// What a shard of a world may carry: of shards that mirror each other, what the weakest of them may.
    #[must_use]
    pub fn budget_in(&self, world: &World, ordinal: Ordinal, shard: &ShardView) -> Budget {
        let own = self.budget(shard.budget);
        match self.placement {
            Placement::Independent => own,
            Placement::Mirrored => {
                let twins = world.replicas.iter().filter_map(|replica| replica.shards.get(&ordinal));
                let budgets = twins.map(|twin| self.budget(twin.budget).whole);
                Budget::of(budgets.fold(own.whole, Cost::min))
            }
        }
    }

    /// What the smallest shard that there is, or may be added, is filled to; of each figure by itself.
    #[must_use]
    pub fn smallest_fill(&self, world: &World) -> Cost {
        let shards = world.replicas.iter().flat_map(|replica| replica.shards.values());
        let own = shards.filter(|shard| !shard.budget.is_empty()).map(|shard| self.budget(shard.budget).fill());
        own.fold(self.budget(OwnBudget::default()).fill(), Cost::min)
    }

    /// What a shard may carry of which its provider says nothing, and every new one.
    #[must_use]
    pub fn usual_budget(&self) -> Budget {
        self.budget(OwnBudget::default())
    }

    /// Whether shards that became superfluous go.
    #[must_use]
    pub fn scales_in(&self) -> bool {
        self.max_idle_time.is_some()
    }
}

/// What a shard may carry, and the lines drawn below and above it. They lie apart, so that a load that moves by a tenth
/// around one of them crosses no second one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    whole: Cost,
    fill: Cost,
    relief: Cost,
    with_reserve: Cost,
}

impl Budget {
    fn of(whole: Cost) -> Self {
        let fill = Cost { work: whole.percent(90).work, ..whole };
        let relief = Cost { series: whole.percent(110).series, ..whole };
        Self { whole, fill, relief, with_reserve: fill.percent(90) }
    }

    /// All of it.
    #[must_use]
    pub const fn whole(&self) -> Cost {
        self.whole
    }

    /// What a shard is filled to, and relieved down to: the whole memory, of which relief leaves a tenth above; nine
    /// tenths of the work, above all of which relief begins.
    #[must_use]
    pub const fn fill(&self) -> Cost {
        self.fill
    }

    /// Above this a shard is relieved: a tenth more than its memory, or all of its work.
    #[must_use]
    pub const fn relief(&self) -> Cost {
        self.relief
    }

    /// What drain fills a shard to: nine tenths of what others fill it to, so that loads must grow by a tenth before
    /// what was drained comes back.
    #[must_use]
    pub const fn with_reserve(&self) -> Cost {
        self.with_reserve
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
        assert_eq!(refused(|s| s.max_samples_per_second = Some(SampleRate::ZERO)), PolicyError::NoSamples);
        assert_eq!(refused(|s| s.max_shards = 0), PolicyError::NoShards);
        assert_eq!(refused(|s| s.max_moves = 0), PolicyError::NoMoves);
        assert_eq!(refused(|s| s.max_idle_time = Some(Duration::ZERO)), PolicyError::NoIdleTime);
        let rebalance_while_packing =
            refused(|s| (s.rebalance, s.max_idle_time) = (true, Some(Duration::from_secs(60))));
        assert_eq!(rebalance_while_packing, PolicyError::RebalanceWhilePacking);
        let without_relief = refused(|s| (s.rebalance, s.relief) = (true, false));
        assert_eq!(without_relief, PolicyError::RebalanceWithoutRelief);
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
