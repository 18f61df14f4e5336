//! Targets as they really are: how heavy, whether up, and who has them on its list.

use narthex_common::{
    config::PromDuration,
    job::JobName,
    load::{Load, Series},
    target::TargetId,
    time::Timestamp,
};
use rand::rngs::StdRng;

use crate::{chance, scenario::TargetGroup};

/// Which shard: replica and ordinal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShardKey {
    pub(crate) replica: u32,
    pub(crate) ordinal: u32,
}

/// A target as it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Its group, by place.
    pub(crate) group: u32,
    /// Its series, before anything of its group is counted in.
    pub(crate) base: f64,
    pub(crate) load: Load,
    pub(crate) up: bool,
    pub(crate) born: Timestamp,
    /// The shards that have it on their list.
    pub(crate) holders: Vec<ShardKey>,
}

/// A job, and how its loads change.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) settings: TargetGroup,
    pub(crate) chance: StdRng,
    /// The targets that discovery lists.
    pub(crate) members: Vec<TargetId>,
    /// The number of the next new target.
    pub(crate) next: u32,
    /// How many times its loads everything is.
    pub(crate) factor: Ramp,
    /// Whether it is no longer in the config.
    pub(crate) gone: bool,
}

/// A factor that changes over time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ramp {
    from: f64,
    to: f64,
    begins: Timestamp,
    over: PromDuration,
}

impl Ramp {
    pub(crate) const ONE: Self = Self { from: 1.0, to: 1.0, begins: Timestamp(0), over: PromDuration(0) };

    /// From what it is now to so many times that.
    pub(crate) fn times(self, times: f64, now: Timestamp, over: PromDuration) -> Self {
        let from = self.at(now);
        Self { from, to: from * times, begins: now, over }
    }

    pub(crate) fn at(self, now: Timestamp) -> f64 {
        if self.is_over(now) {
            return self.to;
        }
        let share = now.since(self.begins).as_secs_f64() / self.over.to_std().as_secs_f64();
        self.from + (self.to - self.from) * share
    }

    pub(crate) fn is_over(self, now: Timestamp) -> bool {
        now.since(self.begins) >= self.over.to_std()
    }
}

impl Group {
    pub(crate) fn new(settings: TargetGroup, seed: u64) -> Self {
        let chance = chance::of(seed, settings.job.as_str());
        Self { settings, chance, members: Vec::new(), next: 0, factor: Ramp::ONE, gone: false }
    }

    pub(crate) fn job(&self) -> &JobName {
        &self.settings.job
    }

    /// Whether loads differ from round to round without any event.
    pub(crate) fn is_restless(&self) -> bool {
        self.settings.jitter_percent > 0.0 || self.settings.growth_per_hour != 0.0
    }

    /// What a target of so many series weighs.
    pub(crate) fn load_of(&self, series: f64) -> Load {
        let kept = series.max(0.0).round();
        let exposed = (kept / (1.0 - self.settings.dropped)).round();
        Load { exposed: Series(exposed as u64), kept: Series(kept as u64) }
    }

    /// How much its targets have grown since their birth.
    pub(crate) fn growth(&self, born: Timestamp, now: Timestamp) -> f64 {
        if self.settings.growth_per_hour == 0.0 {
            return 1.0;
        }
        (1.0 + self.settings.growth_per_hour).powf(now.since(born).as_secs_f64() / 3600.0)
    }
}
