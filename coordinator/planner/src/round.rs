//! A round, saved: what the planner was asked and what it answered. Planned again, the answer must be the same.

use serde::{Deserialize, Serialize};

use crate::{Plan, Policy, World};

/// One round. `GET /debug/round` of the coordinator returns it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// The rules that were to be kept.
    pub policy: Policy,
    /// What was known.
    pub world: World,
    /// What was decided.
    pub plan: Plan,
}

impl Round {
    /// Whether the same question has the same answer today.
    #[must_use]
    pub fn replays(&self) -> bool {
        crate::plan(&self.world, &self.policy) == self.plan
    }
}
