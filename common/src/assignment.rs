//! What one shard is to scrape, and how that changes.
//!
//! An [`Assignment`] is desired state with a [`Revision`]: putting the same one twice does nothing. What travels is an
//! [`AssignmentUpdate`], the difference to a revision that the shard has, so that bytes grow with what changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    fingerprint::Fingerprint,
    load::Load,
    target::{Target, TargetId},
    target_limit::ExceededTargetLimits,
    time::Timestamp,
};

/// The version of an assignment. 0 is the empty assignment of a shard that never got one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The one that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Whether a target is here to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// This shard owns the target.
    Normal,
    /// Another shard takes the target over; this one scrapes it until the other has.
    InTransfer,
}

/// One target of an assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedTarget {
    /// What to scrape.
    #[serde(flatten)]
    pub target: Target,
    /// Whether it is here to stay.
    pub state: TargetState,
    /// Since when it is in that state here, by the coordinator's clock; none when an older coordinator assigned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// The load the coordinator planned with, known to the shard before its first scrape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// Everything one shard is to scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Its version.
    pub revision: Revision,
    /// The config it was planned for. A shard whose own config differs refuses it.
    pub config: Fingerprint,
    /// The targets, by identity.
    #[serde(with = "as_list")]
    pub targets: BTreeMap<TargetId, AssignedTarget>,
    /// The jobs whose targets are not to be scraped, because there are too many of them over all shards. Their targets
    /// are assigned all the same.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceeded_target_limits: ExceededTargetLimits,
}

/// The difference between two assignments.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignmentUpdate {
    /// The revision it starts from; none replaces whatever is there.
    pub base: Option<Revision>,
    /// The revision it leads to.
    pub revision: Revision,
    /// The config it was planned for.
    pub config: Fingerprint,
    /// Targets that are new or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put: Vec<AssignedTarget>,
    /// Targets that go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<TargetId>,
    /// Those of [`remove`](Self::remove) that go because another shard has them now: their leaving is to stay without a
    /// trace in the data. Of the others, Prometheus may note that they ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handed_over: Vec<TargetId>,
    /// All jobs that have too many targets now. It is whole in every update.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub exceeded_target_limits: ExceededTargetLimits,
}

/// Why an update could not be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateRefused {
    /// The shard has another revision than the update starts from.
    #[error("the update starts from revision {}, the shard has {}", base.0, have.0)]
    OtherBase {
        /// What the update starts from.
        base: Revision,
        /// What the shard has.
        have: Revision,
    },
    /// A target's id is not the fingerprint of its job, labels and URL.
    #[error("target {id} of job {job:?} does not carry its own fingerprint")]
    WrongId {
        /// The id it carries.
        id: TargetId,
        /// The job it names.
        job: String,
    },
}

impl Assignment {
    /// The update that leads from this assignment to `next`.
    #[must_use]
    pub fn update_to(&self, next: &Self) -> AssignmentUpdate {
        AssignmentUpdate {
            base: Some(self.revision),
            revision: next.revision,
            config: next.config,
            put: next
                .targets
                .iter()
                .filter(|(id, t)| self.targets.get(id) != Some(t))
                .map(|(_, t)| t.clone())
                .collect(),
            remove: self.targets.keys().filter(|id| !next.targets.contains_key(id)).copied().collect(),
            handed_over: Vec::new(),
            exceeded_target_limits: next.exceeded_target_limits.clone(),
        }
    }

    /// The assignment that `update` leads to. An update that was taken already changes nothing.
    ///
    /// # Errors
    /// When the update starts from another revision, or carries a target under a wrong id.
    pub fn updated(&self, mut update: AssignmentUpdate) -> Result<Self, UpdateRefused> {
        if self.has_taken(&update) {
            return Ok(self.clone());
        }
        for AssignedTarget { target, .. } in &update.put {
            if Target::new(target.job.clone(), target.labels.clone(), target.url.clone()).id != target.id {
                return Err(UpdateRefused::WrongId { id: target.id, job: target.job.to_string() });
            }
        }
        let mut targets = match update.base {
            None => BTreeMap::new(),
            Some(base) if base == self.revision => self.targets.clone(),
            Some(base) => return Err(UpdateRefused::OtherBase { base, have: self.revision }),
        };
        for id in &update.remove {
            targets.remove(id);
        }
        targets.extend(std::mem::take(&mut update.put).into_iter().map(|t| (t.target.id, t)));
        let AssignmentUpdate { revision, config, exceeded_target_limits, .. } = update;
        Ok(Self { revision, config, targets, exceeded_target_limits })
    }

    /// Whether `update` led here. Its revision alone does not say so: two coordinators that follow one another may both
    /// start from one revision.
    fn has_taken(&self, update: &AssignmentUpdate) -> bool {
        update.base.is_some()
            && update.revision == self.revision
            && update.config == self.config
            && update.exceeded_target_limits == self.exceeded_target_limits
            && update.put.iter().all(|put| self.targets.get(&put.target.id) == Some(put))
            && update.remove.iter().all(|id| !self.targets.contains_key(id))
    }
}

/// Targets as a list: their ids are inside them already.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{AssignedTarget, TargetId};

    pub(super) fn serialize<S: Serializer>(
        targets: &BTreeMap<TargetId, AssignedTarget>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(targets.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<TargetId, AssignedTarget>, D::Error> {
        Ok(Vec::<AssignedTarget>::deserialize(deserializer)?.into_iter().map(|t| (t.target.id, t)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target_limit::TargetLimitExceeded;

    fn assigned(instance: &str, state: TargetState) -> AssignedTarget {
        let labels = [("instance", instance)].into_iter().collect();
        let target = Target::new("job".into(), labels, format!("http://{instance}/metrics"));
        AssignedTarget { target, state, since: None, load: None }
    }

    fn assignment(revision: u64, targets: &[AssignedTarget]) -> Assignment {
        Assignment {
            revision: Revision(revision),
            config: Fingerprint(7),
            targets: targets.iter().map(|t| (t.target.id, t.clone())).collect(),
            exceeded_target_limits: ExceededTargetLimits::new(),
        }
    }

    #[test]
    fn an_update_leads_from_one_assignment_to_the_other_and_carries_only_what_changed() {
        use TargetState::{InTransfer, Normal};
        let before = assignment(4, &[assigned("a", Normal), assigned("b", Normal), assigned("c", Normal)]);
        let after = assignment(5, &[assigned("a", Normal), assigned("b", InTransfer), assigned("d", Normal)]);
        let update = before.update_to(&after);
        assert_eq!((update.put.len(), update.remove.len()), (2, 1));
        let wire: AssignmentUpdate = serde_json::from_str(&serde_json::to_string(&update).unwrap()).unwrap();
        assert_eq!(before.updated(wire.clone()).unwrap(), after);
        assert_eq!(after.updated(wire).unwrap(), after, "the same update twice does nothing");
        let json = serde_json::to_string(&after).unwrap();
        assert_eq!(serde_json::from_str::<Assignment>(&json).unwrap(), after);
    }

    #[test]
    fn an_update_of_another_revision_is_refused() {
        let shard = assignment(4, &[]);
        let update = assignment(2, &[]).update_to(&assignment(3, &[]));
        assert_eq!(
            shard.updated(update.clone()),
            Err(UpdateRefused::OtherBase { base: Revision(2), have: Revision(4) })
        );
        assert_eq!(shard.updated(AssignmentUpdate { base: None, ..update }).unwrap().revision, Revision(3));
    }

    #[test]
    fn another_update_to_the_same_revision_is_refused() {
        let start = assignment(4, &[]);
        let shard = assignment(5, &[assigned("a", TargetState::Normal)]);
        let update = start.update_to(&assignment(5, &[assigned("b", TargetState::Normal)]));
        assert_eq!(shard.updated(update), Err(UpdateRefused::OtherBase { base: Revision(4), have: Revision(5) }));
    }

    #[test]
    fn jobs_with_too_many_targets_travel_when_nothing_else_changes_and_are_whole_in_every_update() {
        let exceeded = |targets| ("job".into(), TargetLimitExceeded { targets, limit: 7 });
        let before = assignment(4, &[assigned("a", TargetState::Normal)]);
        let over = Assignment { revision: Revision(5), exceeded_target_limits: [exceeded(8)].into(), ..before.clone() };
        let more = Assignment { revision: Revision(6), exceeded_target_limits: [exceeded(9)].into(), ..before.clone() };
        let below = Assignment { revision: Revision(7), ..before.clone() };
        let mut shard = before;
        for next in [over, more, below] {
            let update = shard.update_to(&next);
            assert!(update.put.is_empty() && update.remove.is_empty());
            let wire: AssignmentUpdate = serde_json::from_str(&serde_json::to_string(&update).unwrap()).unwrap();
            shard = shard.updated(wire).unwrap();
            assert_eq!(shard, next);
            assert_eq!(serde_json::from_str::<Assignment>(&serde_json::to_string(&shard).unwrap()).unwrap(), shard);
        }
        let update = assignment(6, &[]).update_to(&Assignment { revision: Revision(7), ..shard.clone() });
        let other = AssignmentUpdate { exceeded_target_limits: [exceeded(8)].into(), ..update };
        assert!(
            shard.updated(other).is_err(),
            "the same revision that says something else of the limits is another one"
        );
    }

    #[test]
    fn what_an_older_one_wrote_knows_of_no_limits() {
        let (assignment, update) = (
            r#"{"revision":3,"config":"0000000000000007","targets":[]}"#,
            r#"{"revision":3,"config":"0000000000000007","base":null}"#,
        );
        assert!(serde_json::from_str::<Assignment>(assignment).unwrap().exceeded_target_limits.is_empty());
        assert!(serde_json::from_str::<AssignmentUpdate>(update).unwrap().exceeded_target_limits.is_empty());
    }

    #[test]
    fn a_target_under_a_wrong_id_is_refused() {
        let mut forged = assigned("a", TargetState::Normal);
        forged.target.url = "http://elsewhere/".into();
        let update = AssignmentUpdate {
            base: None,
            revision: Revision(1),
            config: Fingerprint(7),
            put: vec![forged],
            remove: vec![],
            handed_over: vec![],
            exceeded_target_limits: ExceededTargetLimits::new(),
        };
        assert!(matches!(Assignment::default().updated(update), Err(UpdateRefused::WrongId { .. })));
    }
}
