//! The plan as `/api/v1/plan` shows it: what changes and why, for people and programs. Names are written as the planner
//! writes them.

mod build;
mod query;
mod targets;
mod totals;

use narthex_common::{
    fingerprint::Fingerprint,
    job::JobName,
    load::Load,
    shard::ReplicaId,
    target::{Target, TargetId},
};
use narthex_planner::{
    memory::Suspicion,
    reason::{Change, Unplaced},
};
use serde::{Deserialize, Serialize};

pub(super) use build::{Planned, plan_view};
pub(super) use query::PlanQuery;
pub(super) use targets::Targets;
pub(super) use totals::Totals;

/// One round's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanView {
    /// When the round began: RFC 3339, as all times here.
    pub at: String,
    /// How long the round took.
    pub round_seconds: f64,
    /// How long the planner took.
    pub planning_seconds: f64,
    /// The config it was planned for.
    pub config: Fingerprint,
    /// What the round could not do.
    pub errors: Vec<String>,
    /// All replicas together.
    pub totals: Totals,
    /// Each replica.
    pub replicas: Vec<ReplicaPlanView>,
}

/// One replica's plan. Every list holds what was asked for, up to the limit; `matching` tells how much that
/// would be without the limit, `totals` how much there is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaPlanView {
    /// Which replica.
    pub id: ReplicaId,
    /// What there is.
    pub totals: Totals,
    /// What matches the query.
    pub matching: Matching,
    /// What differs from what was seen, and why.
    pub changes: Vec<ChangeView>,
    /// The targets that no shard takes, and why.
    pub unplaced: Vec<UnplacedView>,
    /// The targets that are larger than a shard may fill.
    pub oversized: Vec<OversizedView>,
    /// The targets that may have killed a shard.
    pub suspects: Vec<SuspectView>,
}

/// How much matches a query, listed or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Matching {
    /// Changes.
    pub changes: u64,
    /// Unplaced targets.
    pub unplaced: u64,
    /// Oversized targets.
    pub oversized: u64,
    /// Suspects.
    pub suspects: u64,
}

/// What people know a target by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetName {
    /// Its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobName>,
    /// Its label `instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where it is scraped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One change: as the planner has it, and for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeView {
    /// What changes: `change` says what kind of change it is, `why` its reason, shards are ordinals.
    #[serde(flatten)]
    pub change: Change,
    /// Which target it is about.
    #[serde(flatten)]
    pub name: TargetName,
    /// The name of the shard that has, or had, the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_shard: Option<String>,
    /// The name of the shard that gets it, or gets it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_shard: Option<String>,
    /// What happens and why, in words.
    pub text: String,
}

/// One target without a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnplacedView {
    /// Which target.
    pub target: TargetId,
    /// Which one it is.
    #[serde(flatten)]
    pub name: TargetName,
    /// Why.
    pub why: Unplaced,
    /// Why, in words.
    pub text: String,
}

/// One target that is larger than a shard may fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OversizedView {
    /// Which target.
    pub target: TargetId,
    /// Which one it is.
    #[serde(flatten)]
    pub name: TargetName,
    /// What it weighs, by its last scrape or probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// The shards that have it, or get it.
    pub shards: Vec<String>,
    /// What that means, in words.
    pub text: String,
}

/// One target that may have killed a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuspectView {
    /// Which target.
    pub target: TargetId,
    /// Which one it is.
    #[serde(flatten)]
    pub name: TargetName,
    /// Since when it is suspected.
    pub since: String,
    /// Why.
    pub why: Suspicion,
    /// The shards that have it, or get it.
    pub shards: Vec<String>,
    /// Why, in words.
    pub text: String,
}

impl From<&Target> for TargetName {
    fn from(target: &Target) -> Self {
        Self {
            job: Some(target.job.clone()),
            instance: target.labels.get("instance").map(str::to_owned),
            url: Some(target.url.clone()),
        }
    }
}
