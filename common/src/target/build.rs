//! From what discovery found to targets, exactly as Prometheus does it (`scrape/target.go`, `PopulateLabels`).

use super::Target;
use crate::{
    config::ScrapeConfig,
    labels::Labels,
    relabel::{BadRule, Rules},
    semantics::PrometheusVersion,
};

/// What became of one label set that discovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// A target.
    Active {
        /// The labels before relabeling.
        discovered: Labels,
        /// The target.
        target: Target,
    },
    /// Dropped by relabeling.
    Dropped {
        /// The labels before relabeling.
        discovered: Labels,
    },
    /// Not a target that Prometheus would scrape.
    Failed {
        /// The labels before relabeling.
        discovered: Labels,
        /// Why, in Prometheus' words.
        error: String,
    },
}

/// Builds the targets of one job. Compile it once, use it for every label set.
#[derive(Clone, Debug)]
pub struct TargetBuilder(());

impl TargetBuilder {
    /// The builder of a job.
    ///
    /// # Errors
    /// When a relabeling rule cannot be compiled.
    pub fn new(job: &ScrapeConfig, version: PrometheusVersion) -> Result<Self, BadRule> {
        let _ = (job, version);
        todo!()
    }

    /// Builds one target from its own and its group's labels.
    #[must_use]
    pub fn build(&self, target: &Labels, group: &Labels) -> Built {
        let _ = (target, group);
        todo!()
    }
}
