//! Jobs that Narthex leaves to the Prometheus of each shard to relabel: said to the user, wherever a config is looked at.

use narthex_common::{
    config::{Config, ConfigError, ScrapeConfig},
    relabel::RelabeledBy,
};

/// The jobs of a config that the shards relabel, with file, line and why.
pub fn relabeled_by_shards(config: &Config) -> impl Iterator<Item = ConfigError> {
    config.jobs.iter().filter_map(remark)
}

fn remark(job: &ScrapeConfig) -> Option<ConfigError> {
    let RelabeledBy::Shards { line, why } = &job.relabeled_by else { return None };
    Some(ConfigError {
        path: job.path.clone(),
        line: Some(*line),
        job: Some(job.job_name.to_string()),
        message: format!(
            "{why}; the shards relabel this job's targets, Narthex knows only the labels they were discovered with"
        ),
    })
}
