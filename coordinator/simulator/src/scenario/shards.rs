//! Shards: how many, how large, how fast they start, what kills them.

use narthex_common::config::PromDuration;
use narthex_planner::world::OwnBudget;
use serde::Deserialize;

use super::ScenarioError;

/// The shards of a scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShardSettings {
    /// How many each replica has at the start.
    pub count: u32,
    /// How many replicas there are.
    pub replicas: u32,
    /// Whether the planner may change their number.
    pub scalable: bool,
    /// What each may carry, by ordinal, and then from the start again; empty is what the policy says.
    pub budgets: Vec<OwnBudget>,
    /// How long a new shard takes until it answers.
    pub start_time: PromDuration,
    /// How long a shard takes that is restarted, or that comes back from the dead: its log is replayed.
    pub restart_time: PromDuration,
    /// A shard is killed when the series that it scrapes exceed so many times its budget; none is never.
    pub dies_above: Option<f64>,
    /// How long a shard stays away that was killed so; none is for ever.
    pub returns_after: Option<PromDuration>,
}

impl Default for ShardSettings {
    fn default() -> Self {
        Self {
            count: 0,
            replicas: 1,
            scalable: true,
            budgets: Vec::new(),
            start_time: PromDuration::from_secs(30),
            restart_time: PromDuration::from_secs(60),
            dies_above: None,
            returns_after: None,
        }
    }
}

impl ShardSettings {
    pub(crate) fn check(&self) -> Result<(), ScenarioError> {
        if self.replicas == 0 {
            return Err(ScenarioError::field("shards.replicas", "there must be at least one"));
        }
        if self.dies_above.is_some_and(|times| times.is_nan() || times <= 0.0) {
            return Err(ScenarioError::field("shards.dies_above", "it must be above 0"));
        }
        Ok(())
    }

    pub(crate) fn budget_of(&self, ordinal: u32) -> OwnBudget {
        let budgets = self.budgets.len().max(1);
        self.budgets.get(ordinal as usize % budgets).copied().unwrap_or_default()
    }
}
