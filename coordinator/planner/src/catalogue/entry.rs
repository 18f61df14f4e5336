//! One target, as the catalogue knows it: who lists it, who holds it, and what it weighs.

use narthex_common::config::PromDuration;
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

/// No target is planned with more than a million million series, or eight million million samples a second: sums over
/// all targets stay exact, whatever a broken sidecar says.
const MOST: Cost = Cost { series: Series(1 << 40), work: SampleRate(1 << 43) };

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
    pub(super) interval: PromDuration,
    /// What probes know of it, if discovery lists it.
    pub(super) listed: Option<KnownLoad>,
    /// Who holds it, by replica and shard.
    pub(super) holders: SmallVec<[Holder; 1]>,
    pub(super) load: Load,
    pub(super) basis: Basis,
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
    /// Whether `load` was measured there, not planned.
    pub(super) measured: bool,
    pub(super) load: Option<Load>,
}

impl Entry {
    /// What it costs.
    pub(super) fn cost(&self) -> Cost {
        let Cost { series, work } = Cost::of(self.load, self.interval.to_std());
        Cost { series: series.max(SERIES_OF_ANY_TARGET).min(MOST.series), work: work.min(MOST.work) }
    }

    /// The load that shards and probes know: of several shards the larger figures, of those that answer rather than
    /// those that do not.
    pub(super) fn known_load(&self) -> Option<(Load, Basis)> {
        let largest = |measured: bool, answers: Option<bool>| {
            self.holders
                .iter()
                .filter(|holder| holder.measured == measured && answers.is_none_or(|answers| holder.answers == answers))
                .filter_map(|holder| holder.load)
                .reduce(|a, b| Load { exposed: a.exposed.max(b.exposed), kept: a.kept.max(b.kept) })
        };
        let probed = || match self.listed {
            Some(KnownLoad::Measured(load)) => Some(load),
            Some(KnownLoad::Unknown | KnownLoad::ProbeFailed { .. }) | None => None,
        };
        let measured = largest(true, Some(true)).or_else(|| largest(true, Some(false))).or_else(probed);
        measured.map(|load| (load, Basis::Measured)).or_else(|| largest(false, None).map(|load| (load, Basis::Planned)))
    }

    pub(super) fn is_in_use(&self) -> bool {
        self.listed.is_some() || !self.holders.is_empty()
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
