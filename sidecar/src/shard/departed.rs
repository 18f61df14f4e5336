//! Targets that were taken away a moment ago: Prometheus scrapes them until it has read its files again, and those
//! scrapes must not fail.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use narthex_common::{
    assignment::{AssignedTarget, Assignment},
    target::TargetId,
    time::Timestamp,
};

/// How long they are still proxied. Prometheus takes up a changed target file within some five seconds, several times
/// that when it is busy.
const KEPT: Duration = Duration::from_secs(60);

/// Targets that were taken away, and until when they are proxied.
#[derive(Debug, Default)]
pub(super) struct Departed(BTreeMap<TargetId, (AssignedTarget, Timestamp)>);

impl Departed {
    /// Notes what leaves when one assignment follows another.
    pub(super) fn note(&mut self, before: &Assignment, after: &Assignment, now: Timestamp) {
        self.forget_ended(now);
        for (id, assigned) in &before.targets {
            if !after.targets.contains_key(id) {
                self.0.insert(*id, (assigned.clone(), now.after(KEPT)));
            }
        }
        self.0.retain(|id, _| !after.targets.contains_key(id));
    }

    /// Adds targets that are gone now.
    pub(super) fn add(&mut self, gone: impl IntoIterator<Item = AssignedTarget>, now: Timestamp) {
        self.0.extend(gone.into_iter().map(|assigned| (assigned.target.id, (assigned, now.after(KEPT)))));
    }

    pub(super) fn forget_ended(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, end)| *end > now);
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.0.values().map(|(_, end)| *end).min()
    }

    /// An assignment with the departed beside it.
    pub(super) fn beside<'a>(&self, assignment: &'a Assignment) -> Cow<'a, Assignment> {
        if self.0.is_empty() {
            return Cow::Borrowed(assignment);
        }
        let mut both = assignment.clone();
        both.targets.extend(self.0.iter().map(|(id, (assigned, _))| (*id, assigned.clone())));
        Cow::Owned(both)
    }
}
