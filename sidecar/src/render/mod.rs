//! Rendering: from the user's config and an assignment to the files that the shard's Prometheus reads.
//!
//! Pure: the same input gives the same text, so that a file is written only when something changed.
//!
//! The generated config is the user's own tree with every job's discovery, relabeling, credentials and HTTP settings
//! replaced ([`job`]): targets come from files that the sidecar writes ([`targets`]), scrapes go through its proxy.

pub mod job;
pub mod layout;
pub mod relabeled_here;
pub mod targets;
mod vmagent;

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use narthex_common::{
    assignment::Assignment,
    config::{
        Config,
        http_client::Secret,
        yaml::{Kind, Node},
    },
    job::JobName,
    semantics::PrometheusVersion,
};

use self::{job::Pool, layout::Layout};
use crate::{
    args::Rules,
    job_ids::JobIds,
    leaving::{GenerationId, Leaving},
    prometheus::PrometheusKind,
};

/// What rendering needs to know beside the config and the assignment.
#[derive(Clone, Debug)]
pub struct RenderSettings {
    /// Where Prometheus reaches the proxy: `127.0.0.1:8008`.
    pub proxy_address: String,
    /// What Prometheus shows the proxy.
    pub token: Secret,
    /// Where the target files lie, absolute.
    pub target_directory: PathBuf,
    /// Over how many directories there they are spread at most.
    pub directories: NonZeroU32,
    /// What becomes of `rule_files` and `alerting`.
    pub rules: Rules,
    /// What kind of Prometheus is to read the config.
    pub kind: PrometheusKind,
    /// The version that is to read the config, once known. A field that some version lacks is written only when the
    /// version is known to have it.
    pub version: Option<PrometheusVersion>,
}

/// The leaving pools of a config: the jobs that have one, by generation.
pub type LeavingPools = BTreeMap<GenerationId, Vec<JobName>>;

/// The text of the config that the shard's Prometheus runs with, leaving pools beside the jobs they belong to.
#[must_use]
pub fn config(config: &Config, ids: &JobIds, pools: &LeavingPools, settings: &RenderSettings) -> String {
    let layout = Layout::of(ids, settings.directories);
    let mut tree = config.resolved();
    tree.retain_keys(|key| match key {
        // Their jobs are in the tree already.
        "scrape_config_files" => false,
        "rule_files" | "alerting" => settings.rules == Rules::Keep,
        section => settings.kind.takes(section),
    });
    if let Some(global) = tree.get_mut("global") {
        // The limit is meant for the job as a whole, of which this shard has a part: it is the coordinator's.
        global.retain_keys(|key| key != "target_limit");
    }
    if let Some(Node { kind: Kind::Sequence(jobs), .. }) = tree.get_mut("scrape_configs") {
        let mut leaving = leaving_pools(jobs, pools);
        jobs.iter_mut().for_each(|job| job::rewrite(job, ids, Pool::Own, layout, settings));
        for (generation, job) in &mut leaving {
            job::rewrite(job, ids, Pool::Leaving(*generation), layout, settings);
        }
        jobs.extend(leaving.into_iter().map(|(_, job)| job));
    }
    let text = match settings.kind {
        PrometheusKind::Server | PrometheusKind::Agent => tree.to_yaml(),
        PrometheusKind::Vmagent => vmagent::config(tree, config),
    };
    format!("# Written by narthex-sidecar from {}. Changes are lost.\n{text}", one_line(&config.path))
}

/// The jobs, as the user wrote them, that have a leaving pool: once for each.
fn leaving_pools(jobs: &[Node], pools: &LeavingPools) -> Vec<(GenerationId, Node)> {
    let of = |(generation, names): (&GenerationId, &Vec<JobName>)| {
        let has_one = |job: &&Node| {
            let name = job.get("job_name").and_then(Node::text);
            name.is_some_and(|name| names.iter().any(|one| one.as_str() == name))
        };
        jobs.iter().filter(has_one).map(|job| (*generation, job.clone())).collect::<Vec<_>>()
    };
    pools.iter().flat_map(of).collect()
}

/// The target files of an assignment, and of what is on its way out beside it, by their path within the target
/// directory. Every job and every generation of leaving pools has one, also without targets; targets of jobs that the
/// config does not have are left out.
#[must_use]
pub fn target_files(
    assignment: &Assignment,
    leaving: &Leaving,
    ids: &JobIds,
    layout: Layout,
    kind: PrometheusKind,
) -> BTreeMap<PathBuf, String> {
    targets::files(assignment, leaving, ids, layout, kind)
}

/// The fields of a config, by where they stand, that are not in the generated config because this kind of Prometheus
/// refuses them, though the user may count on them.
#[must_use]
pub fn left_out(config: &Config, kind: PrometheusKind) -> BTreeSet<String> {
    let tree = config.resolved();
    let mut left_out = BTreeSet::new();
    for section in ["remote_write", "remote_read"] {
        if !kind.takes(section) && tree.get(section).is_some() {
            left_out.insert(section.to_owned());
        }
    }
    if kind == PrometheusKind::Vmagent {
        left_out.extend(vmagent::left_out(&tree));
    }
    left_out
}

fn one_line(path: &Path) -> String {
    path.to_string_lossy().replace(|c: char| c.is_control(), "?")
}

#[cfg(test)]
mod tests;
