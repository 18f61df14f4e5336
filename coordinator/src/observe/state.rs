//! What is known of one shard: what it said, with the changes of every round merged.
//!
//! A new state shares with the one before whatever did not change, so that a round costs what changed, and so that what
//! did is found by comparing the two.

use std::sync::Arc;

use imbl::ordmap::DiffItem;
use narthex_common::{
    assignment::{AssignedTarget, Assignment, AssignmentUpdate, Revision},
    fingerprint::Fingerprint,
    report::{Report, TargetReport},
    target_limit::ExceededTargetLimits,
};
use narthex_planner::world::TargetMap;

/// What a shard said, with the changes of every round merged.
#[derive(Clone, Debug)]
pub struct ShardState {
    /// Its newest report, whose `targets` are taken out into the field below.
    pub report: Report,
    /// The reports of those of its targets that it has told of.
    pub targets: TargetMap<TargetReport>,
    /// Its assignment, which is the truth of what it scrapes.
    pub assignment: Arc<ShardAssignment>,
}

/// The [`Assignment`] of a shard, of which versions share what they have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardAssignment {
    /// Its version.
    pub revision: Revision,
    /// The config it was planned for.
    pub config: Fingerprint,
    /// The targets.
    pub targets: TargetMap<AssignedTarget>,
    /// The jobs that have too many.
    pub exceeded_target_limits: ExceededTargetLimits,
}

impl ShardAssignment {
    /// The assignment that an update, which starts from this one, leads to.
    #[must_use]
    pub fn updated(&self, update: &AssignmentUpdate) -> Self {
        let mut targets = self.targets.clone();
        for id in &update.remove {
            targets.remove(id);
        }
        for assigned in &update.put {
            targets.insert(assigned.target.id, assigned.clone());
        }
        let exceeded_target_limits = update.exceeded_target_limits.clone();
        Self { revision: update.revision, config: update.config, targets, exceeded_target_limits }
    }
}

impl From<Assignment> for ShardAssignment {
    fn from(Assignment { revision, config, targets, exceeded_target_limits }: Assignment) -> Self {
        Self { revision, config, targets: targets.into_iter().collect(), exceeded_target_limits }
    }
}

impl ShardState {
    /// What is known of a shard after one more report. Of targets that are not assigned to it (any more) nothing is.
    pub(super) fn merged(before: Option<&Self>, mut report: Report, assignment: Arc<ShardAssignment>) -> Self {
        let told = std::mem::take(&mut report.targets);
        let mut targets = TargetMap::new();
        if let Some(before) = before.filter(|_| !report.complete) {
            targets.clone_from(&before.targets);
            for difference in before.assignment.targets.diff(&assignment.targets) {
                match difference {
                    DiffItem::Remove(id, _) => drop(targets.remove(id)),
                    DiffItem::Add(..) | DiffItem::Update { .. } => {}
                }
            }
        }
        for target in told {
            if assignment.targets.contains_key(&target.id) && targets.get(&target.id) != Some(&target) {
                targets.insert(target.id, target);
            }
        }
        Self { report, targets, assignment }
    }
}
