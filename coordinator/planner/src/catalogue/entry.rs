//! One target, as the catalogue knows it: who lists it, who holds it, and what it weighs.

use std::time::Duration;

use narthex_common::{
    assignment::TargetState,
    load::{Load, SampleRate, Series},
    target::TargetId,
};
use smallvec::SmallVec;

use crate::{cost::Cost, world::KnownLoad};

/// Prometheus writes five series of its own about every target, also of one that is down: `up`,
/// `scrape_duration_seconds`, `scrape_samples_scraped`, `scrape_samples_post_metric_relabeling` and
/// `scrape_series_added`. No target is planned with less, so that a job that is down does not weigh nothing.
const SERIES_OF_ANY_TARGET: Series = Series(5);

/// No target is planned with more work than eight thousand million samples a second: with at most four thousand million
/// series each, sums over all targets stay exact, whatever a broken sidecar says.
const MOST_WORK: SampleRate = SampleRate(1 << 43);

/// What is to become of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Discovery lists it.
    Listed,
    /// Its job's discovery has not answered yet: it stays where it is.
    Kept,
    /// Discovery no longer lists it, or its job is gone.
    Gone,
}

/// Where the load that a target is planned with comes from; the better one comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// A shard or a probe measured it.
    Measured,
    /// A shard holds it with the load it was planned with before.
    Planned,
    /// The median of its job, or of all targets.
    Estimated,
    /// Nothing is known of it, and of no other target either.
    Nothing,
}

/// A target's job, by its place among the jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JobIx(pub(super) u32);

/// One target.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: TargetId,
    pub(super) job: JobIx,
    /// How often it is scraped, in milliseconds.
    pub(super) interval: u32,
    pub(super) listing: Listing,
    /// Who holds it, by replica and shard.
    pub(super) holders: SmallVec<[Holder; 1]>,
    /// What it is planned with.
    pub(super) weight: Weight,
    pub(super) basis: Basis,
}

/// Whether discovery lists a target, and what probes know of it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listing {
    /// It does not.
    Unlisted,
    /// No probe has ended.
    NotProbed,
    /// Probes failed.
    ProbeFailed,
    /// A probe measured it.
    Probed(Weight),
}

/// A load in half the memory: there are millions of them. It holds up to four thousand million series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    exposed: u32,
    kept: u32,
}

impl Weight {
    fn larger(self, other: Self) -> Self {
        Self { exposed: self.exposed.max(other.exposed), kept: self.kept.max(other.kept) }
    }
}

impl From<Load> for Weight {
    fn from(load: Load) -> Self {
        let narrow = |series: Series| u32::try_from(series.0).unwrap_or(u32::MAX);
        Self { exposed: narrow(load.exposed), kept: narrow(load.kept) }
    }
}

impl From<Weight> for Load {
    fn from(weight: Weight) -> Self {
        Self { exposed: Series(weight.exposed.into()), kept: Series(weight.kept.into()) }
    }
}

impl From<KnownLoad> for Listing {
    fn from(probed: KnownLoad) -> Self {
        match probed {
            KnownLoad::Unknown => Self::NotProbed,
            KnownLoad::ProbeFailed { .. } => Self::ProbeFailed,
            KnownLoad::Measured(load) => Self::Probed(load.into()),
        }
    }
}

/// A shard that holds a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Holder {
    pub(super) replica: u16,
    pub(super) shard: u32,
    pub(super) state: TargetState,
    pub(super) scrapes: u8,
    /// Whether the shard answers: shards that do know better.
    pub(super) answers: bool,
    pub(super) knows: Knows,
}

/// What a shard knows of a target's load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Knows {
    Nothing,
    /// What it was assigned with.
    Planned(Weight),
    /// What it scraped.
    Measured(Weight),
}

impl Entry {
    /// What it costs.
    pub(super) fn cost(&self) -> Cost {
        let interval = Duration::from_millis(self.interval.into());
        let Cost { series, work } = Cost::of(self.weight.into(), interval);
        Cost { series: series.max(SERIES_OF_ANY_TARGET), work: work.min(MOST_WORK) }
    }

    /// The load that shards and probes know: of several shards the larger figures, of those that answer rather than
    /// those that do not.
    pub(super) fn known_weight(&self) -> Option<(Weight, Basis)> {
        let measured = |answers: bool| {
            let of_holder = |holder: &Holder| match holder.knows {
                Knows::Measured(weight) if holder.answers == answers => Some(weight),
                Knows::Measured(_) | Knows::Planned(_) | Knows::Nothing => None,
            };
            self.holders.iter().filter_map(of_holder).reduce(Weight::larger)
        };
        let planned = || {
            let of_holder = |holder: &Holder| match holder.knows {
                Knows::Planned(weight) => Some(weight),
                Knows::Measured(_) | Knows::Nothing => None,
            };
            self.holders.iter().filter_map(of_holder).reduce(Weight::larger)
        };
        let probed = match self.listing {
            Listing::Probed(weight) => Some(weight),
            Listing::Unlisted | Listing::NotProbed | Listing::ProbeFailed => None,
        };
        let measured = measured(true).or_else(|| measured(false)).or(probed);
        measured.map(|weight| (weight, Basis::Measured)).or_else(|| planned().map(|weight| (weight, Basis::Planned)))
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listing != Listing::Unlisted
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.is_listed() || !self.holders.is_empty()
    }

    pub(super) fn is_held_in(&self, replica: u16) -> bool {
        self.holders.iter().any(|holder| holder.replica == replica)
    }

    /// Whether some move of it is under way in a replica, or more than one shard there holds it.
    pub(super) fn is_unsettled_in(&self, replica: u16) -> bool {
        let mut holders = self.holders.iter().filter(|holder| holder.replica == replica);
        match (holders.next(), holders.next()) {
            (None, _) => false,
            (Some(only), None) => only.state == TargetState::InTransfer,
            (Some(_), Some(_)) => true,
        }
    }
}
