//! Flags of targets: what one of them may expose.

use clap::Args;
use narthex_common::{
    load::Series,
    series_limit::{JobLimit, SeriesLimits, TwoLimits},
};

/// What one target may expose.
#[derive(Debug, Args)]
#[command(next_help_heading = "Targets that explode")]
pub struct TargetArgs {
    /// The most series one target may expose, that is, before metric_relabel_configs; 0 is no limit. No target is planned
    /// with more.
    ///
    /// It is the sidecars that cut off a target that exposes more: local shards get this flag, sidecars of a static list
    /// need the same. A target that is cut off stays on its shard, and its last error says why.
    #[arg(long = "target.max-series", default_value_t = 0, value_name = "N")]
    pub max_target_series: u64,
    /// The same for each target of one job, instead of --target.max-series; 0 is no limit. May be repeated.
    #[arg(long = "target.max-series-of-job", value_name = "JOB=N")]
    pub max_target_series_of_job: Vec<JobLimit>,
}

impl TargetArgs {
    /// The limits.
    ///
    /// # Errors
    /// When a job has two.
    pub fn limits(&self) -> Result<SeriesLimits, TwoLimits> {
        SeriesLimits::new(Series(self.max_target_series), &self.max_target_series_of_job)
    }
}
