//! Discovery: from the config's SD blocks to targets with final labels – or, where the shards relabel, with those they
//! were discovered with.
//!
//! Every distinct SD block of the config runs once, and tells its target
//! groups to the [`DiscoveryManager`], which relabels them for each job that uses the block and publishes one snapshot
//! of everything, [`Discovered`].

mod by_shards;
mod consul;
mod directories;
pub mod discoverer;
mod dns;
mod file;
pub mod group;
mod http;
pub mod kubernetes;
pub mod manager;
mod metrics;
pub mod once;
mod refreshing;
pub mod refusal;
mod relabel;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

pub use by_shards::relabeled_by_shards;
pub use file::read_target_file;
pub(crate) use http::without_password;
pub use manager::DiscoveryManager;
pub use once::discover_once;
pub use refusal::{Refusals, check, unsupported};
pub use settings::DiscoverySettings;

use narthex_common::{
    config::Config,
    job::JobName,
    labels::Labels,
    target::{Target, TargetId},
    target_limit::{ExceededTargetLimits, TargetLimitExceeded},
};

/// Everything that discovery knows, as one snapshot.
#[derive(Clone, Debug)]
pub struct Discovered {
    /// The config it was discovered with.
    pub config: Arc<Config>,
    /// Every job of the config.
    pub jobs: BTreeMap<JobName, Arc<JobTargets>>,
}

impl Discovered {
    /// The jobs that have more active targets than their `target_limit` allows.
    #[must_use]
    pub fn exceeded_target_limits(&self) -> ExceededTargetLimits {
        self.jobs.iter().filter_map(|(job, found)| Some((job.clone(), found.exceeded_target_limit?))).collect()
    }
}

/// What discovery found for one job, relabeled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobTargets {
    /// Whether every discovery of the job has answered at least once. What is listed before that is a part.
    pub discovered: bool,
    /// The targets to scrape, without duplicates.
    pub active: BTreeMap<TargetId, ActiveTarget>,
    /// Whether these are more than the job's `target_limit` allows: they are assigned, and not scraped.
    pub exceeded_target_limit: Option<TargetLimitExceeded>,
    /// The discovered labels of targets that relabeling dropped: of as many as `keep_dropped_targets` says, those of the
    /// same groups every time.
    pub dropped: Vec<Labels>,
    /// How many it dropped in all.
    pub dropped_count: usize,
    /// Why label sets made no target, in Prometheus' words, once for every such set.
    pub errors: Vec<String>,
    /// Why discoveries of the job that failed when last tried did so. What they found before is still listed.
    pub failures: Vec<String>,
}

/// A target to scrape, and the labels it was discovered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveTarget {
    /// The target.
    pub target: Arc<Target>,
    /// Its labels before relabeling, as Prometheus' API shows them.
    pub discovered_labels: Labels,
}
