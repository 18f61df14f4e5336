//! Previews: the plan for another policy, number of shards or config, applied to nothing.

mod config;
mod request;
mod rest;
mod shards;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use narthex_common::{config::Config, job::JobName};
use narthex_planner::{Planner, policy::Settings};
use serde::{Deserialize, Serialize};

pub(super) use request::PreviewRequest;

use super::{
    Snapshot,
    plan::{PlanQuery, PlanView, Planned, Targets, Totals, plan_view},
};
use crate::discover::Discovered;

/// How long a preview goes on planning round after round.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds out what a config would lead to.
pub trait TryConfig: Send + Sync {
    /// What discovery would know with this text as its config, read as if it stood in the running config's file. Nothing
    /// changes by it.
    ///
    /// # Errors
    /// When the config would be refused.
    fn try_config(&self, running: Arc<Config>, text: String) -> BoxFuture<'_, anyhow::Result<Discovered>>;
}

/// What would be planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviewView {
    /// The plan of the next round.
    #[serde(flatten)]
    pub plan: PlanView,
    /// The policy it keeps.
    pub policy: Settings,
    /// Jobs whose targets are not known, because what discovers them does not run yet. Nothing is planned for them.
    pub not_discovered: Vec<JobName>,
    /// What comes of it in the end, when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<Rest>,
}

/// What comes of planning again and again, each time as if the plan before had been carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rest {
    /// The rounds in which something was planned.
    pub rounds: u32,
    /// Whether nothing was left to plan after them.
    pub at_rest: bool,
    /// The changes of all rounds together; all other figures are those of the last one.
    pub totals: Totals,
}

/// Plans as asked, from what a round saw. `discovered` is what another config leads to, when one was given.
///
/// # Errors
/// When the request cannot be met: a policy that contradicts itself, a replica that there is not.
pub(super) fn preview(
    snapshot: &Snapshot,
    request: &PreviewRequest,
    discovered: Option<&Discovered>,
    query: &PlanQuery,
) -> Result<PreviewView, String> {
    let (running, mut world) = match discovered {
        Some(new) => (
            snapshot.rules.policy(new.config.scrape_interval),
            config::with_config(&snapshot.world, &snapshot.discovered, new),
        ),
        None => (snapshot.policy.clone(), snapshot.world.clone()),
    };
    let policy = request.policy(&running)?;
    request.set_shards(&mut world)?;
    let began = Instant::now();
    let mut planner = Planner::default();
    let plan = planner.plan(&world, &policy);
    let planning = began.elapsed();
    let found = discovered.unwrap_or(&snapshot.discovered);
    let targets = Targets { world: &world, discovered: found, observed: &snapshot.observed };
    let planned = Planned { targets, plan: &plan, errors: &[], round: planning, planning };
    let view = plan_view(&planned, query);
    let rest = (request.rounds > 1).then(|| {
        let all = rest::Rounds { at_most: request.rounds, until: began + PATIENCE };
        all.run(&mut planner, world.clone(), &policy, plan.clone())
    });
    let unknown = found.jobs.iter().filter(|(_, job)| !job.discovered);
    Ok(PreviewView {
        plan: view,
        policy: Settings::from(policy),
        not_discovered: unknown.map(|(job, _)| job.clone()).collect(),
        rest,
    })
}
