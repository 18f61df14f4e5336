//! A generation of leaving pools, and the targets that go through it.

use std::{collections::BTreeMap, fmt, time::Duration};

use narthex_common::{
    assignment::{AssignedTarget, TargetState},
    config::PromDuration,
    job::JobName,
    target::TargetId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Update;

/// How long Prometheus may take to read a target file that changed: some five seconds, several times that when it is
/// busy.
const READING: Duration = Duration::from_secs(30);

/// How long a target that was handed over is waited for at least, however often it is scraped.
const SHORTEST_PATIENCE: Duration = Duration::from_secs(120);

/// The number of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GenerationId(pub u32);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a target stands: in the file of its job, in that of its generation, or in both for a moment, because between
/// leaving one and entering the other no scrape must be missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In its job's own file alone.
    Job,
    /// In both, to be in the pool alone.
    Entering {
        /// Since when.
        since: Timestamp,
    },
    /// In its generation's file alone.
    Pool,
    /// In both, to be in the job's own file alone: it stays on this shard after all.
    Returning {
        /// Since when.
        since: Timestamp,
    },
}

/// A target on its way out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaver {
    /// What is scraped.
    pub assigned: AssignedTarget,
    /// Where it stands.
    pub place: Place,
    /// When the coordinator took it away because another shard has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over: Option<Timestamp>,
}

impl Leaver {
    /// A target that is still in its job's own file.
    pub(super) const fn new(assigned: AssignedTarget, handed_over: Option<Timestamp>) -> Self {
        Self { assigned, place: Place::Job, handed_over }
    }

    /// How often it is scraped.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.assigned.target.interval().unwrap_or(PromDuration::from_secs(60)).to_std()
    }

    /// Whether its generation's file has it.
    #[must_use]
    pub const fn is_in_pool(&self) -> bool {
        match self.place {
            Place::Job => false,
            Place::Entering { .. } | Place::Pool | Place::Returning { .. } => true,
        }
    }

    /// When it is no longer waited for.
    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        let patience = SHORTEST_PATIENCE.max(self.interval() * 10);
        self.handed_over.is_some_and(|at| now.since(at) >= patience)
    }

    /// When a loop that is told now to stop has written its stale markers: it waits for two ticks and a tenth.
    fn markers_written(&self, now: Timestamp) -> Timestamp {
        now.after(READING + self.interval() * 22 / 10)
    }

    /// Follows an update; whether it is still on its way.
    pub(super) fn follow(&mut self, id: TargetId, update: &Update<'_>) -> bool {
        match update.after.targets.get(&id) {
            Some(assigned) => {
                self.assigned = assigned.clone();
                self.handed_over = None;
                match assigned.state {
                    TargetState::InTransfer => self.turn_to_the_pool(update.now),
                    TargetState::Normal => return self.turn_back(update.now),
                }
            }
            // It had been handed over before, and nobody minds it any more.
            None if !update.before.targets.contains_key(&id) => {}
            None if update.handed_over.contains(&id) => {
                self.handed_over = Some(update.now);
                self.turn_to_the_pool(update.now);
            }
            None => return false,
        }
        true
    }

    const fn turn_to_the_pool(&mut self, now: Timestamp) {
        if let Place::Returning { .. } = self.place {
            self.place = Place::Entering { since: now };
        }
    }

    const fn turn_back(&mut self, now: Timestamp) -> bool {
        match self.place {
            Place::Job => false,
            Place::Entering { .. } | Place::Pool => {
                self.place = Place::Returning { since: now };
                true
            }
            Place::Returning { .. } => true,
        }
    }
}

/// Leaving pools that come and go together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Generation {
    /// Since when targets join it.
    pub(super) opened: Timestamp,
    /// The jobs that have a pool in it, and whether Prometheus has that pool.
    pub(super) pools: BTreeMap<JobName, bool>,
    pub(super) leavers: BTreeMap<TargetId, Leaver>,
    /// Until when a loop of its may have stale markers to write that are due: of a target that is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) quiet_until: Option<Timestamp>,
    /// Since when its file is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) emptied: Option<Timestamp>,
}

impl Generation {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { opened: now, pools: BTreeMap::new(), leavers: BTreeMap::new(), quiet_until: None, emptied: None }
    }

    /// Since when its file is empty and its loops end.
    #[must_use]
    pub const fn emptied(&self) -> Option<Timestamp> {
        self.emptied
    }

    /// The jobs that have a pool in it.
    pub fn jobs(&self) -> impl Iterator<Item = &JobName> {
        self.pools.keys()
    }

    /// What its file holds.
    pub fn in_pool(&self) -> impl Iterator<Item = &Leaver> {
        let is_emptied = self.emptied.is_some();
        self.leavers.values().filter(move |leaver| !is_emptied && leaver.is_in_pool())
    }

    /// How long after their end the first of its loops writes stale markers, if its pool is still there.
    #[must_use]
    pub fn time_to_close(&self) -> Duration {
        let shortest = self.leavers.values().map(Leaver::interval).min();
        shortest.unwrap_or(Duration::from_secs(60)) * 11 / 10
    }

    pub(super) fn away(&self) -> Vec<TargetId> {
        let is_emptied = self.emptied.is_some();
        let is_away = |leaver: &Leaver| is_emptied || leaver.place == Place::Pool;
        self.leavers.iter().filter(|(_, leaver)| is_away(leaver)).map(|(id, _)| *id).collect()
    }

    pub(super) fn follow(&mut self, update: &Update<'_>) {
        let (is_emptied, quiet_until) = (self.emptied.is_some(), &mut self.quiet_until);
        self.leavers.retain(|id, leaver| {
            // One that comes back after its loop in the pool has ended begins anew.
            let stays = leaver.follow(*id, update) && !(is_emptied && update.after.targets.contains_key(id));
            if !stays && leaver.is_in_pool() {
                *quiet_until = (*quiet_until).max(Some(leaver.markers_written(update.now)));
            }
            stays
        });
    }
}
