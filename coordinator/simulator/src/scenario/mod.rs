//! Scenario: what a simulation is told. It is read from YAML; fields that nobody knows are errors.

mod event;
mod expect;
mod shards;
mod targets;

use narthex_common::config::PromDuration;
use narthex_planner::{
    Policy,
    policy::{PolicyError, Settings},
};
use serde::Deserialize;

pub use event::{Event, Happening};
pub use expect::{Bound, Expect};
pub use shards::ShardSettings;
pub use targets::{Distribution, TargetGroup};

/// What a simulation is told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in a sentence.
    #[serde(default)]
    pub about: String,
    /// Where chance is drawn from.
    #[serde(default)]
    pub seed: u64,
    /// From one round to the next.
    #[serde(default = "ten_seconds")]
    pub interval: PromDuration,
    /// How many rounds.
    pub rounds: u32,
    /// How many rounds a probe takes.
    #[serde(default = "one")]
    pub probe_rounds: u32,
    /// The planner's policy.
    #[serde(default)]
    pub policy: Settings,
    /// The shards.
    pub shards: ShardSettings,
    /// The targets.
    #[serde(default)]
    pub targets: Vec<TargetGroup>,
    /// What happens.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What must have come out at the end.
    #[serde(default)]
    pub expect: Expect,
}

/// Why a scenario cannot be played. It names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// Its policy cannot be kept.
    #[error("policy: {0}")]
    Policy(PolicyError),
    /// A field holds something that makes no sense.
    #[error("{field}: {problem}")]
    Field {
        /// Which field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
}

impl ScenarioError {
    pub(crate) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }
}

impl Scenario {
    /// Whether it can be played; the policy it is played with.
    ///
    /// # Errors
    /// When a field holds something that makes no sense.
    pub fn check(&self) -> Result<Policy, ScenarioError> {
        if self.interval.is_zero() {
            return Err(ScenarioError::field("interval", "it must be above 0"));
        }
        self.shards.check()?;
        let mut jobs = Vec::new();
        for (place, group) in self.targets.iter().enumerate() {
            group.check(&format!("targets[{place}]"), &jobs)?;
            jobs.push(group.job.clone());
        }
        for event in &self.events {
            if let Happening::JobComes(group) = &event.what {
                jobs.push(group.job.clone());
            }
        }
        for (place, event) in self.events.iter().enumerate() {
            event.check(&format!("events[{place}]"), &jobs, &self.shards)?;
        }
        Policy::new(self.policy.clone()).map_err(ScenarioError::Policy)
    }
}

const fn ten_seconds() -> PromDuration {
    PromDuration::from_secs(10)
}

const fn one() -> u32 {
    1
}
