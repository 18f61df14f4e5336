//! `check targets`: what a config's discovery finds now, before and after relabeling.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use narthex_common::{config::Config, job::JobName, labels::Labels, target::Target};
use narthex_runtime::files::Disk;
use serde::{Deserialize, Serialize};

use super::{Verdict, table};
use crate::{
    args::{CheckTargetsArgs, Output},
    discover::{Discovered, DiscoverySettings, discover_once, relabeled_by_shards, unsupported},
    sharding_rules::ShardingRules,
};

/// What discovery found, in Prometheus' words where its API has some. Everything is sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetsReport {
    /// The targets that would be scraped.
    pub active_targets: Vec<ActiveTarget>,
    /// What relabeling dropped.
    pub dropped_targets: Vec<DroppedTarget>,
    /// Label sets that make no target, and discoveries that did not answer.
    pub errors: Vec<Problem>,
    /// Jobs that the shards relabel, and why: their targets have no final labels and no URL here, and may be dropped yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relabeled_by_shards: Vec<Remark>,
}

/// A target that would be scraped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// Its job.
    pub scrape_pool: JobName,
    /// Its labels before relabeling.
    pub discovered_labels: Labels,
    /// Its labels as its series carry them.
    pub labels: Labels,
    /// Its other labels, which start with `__`.
    pub internal_labels: Labels,
    /// Where it is scraped.
    pub scrape_url: String,
}

/// A label set that relabeling dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// Its job.
    pub scrape_pool: JobName,
    /// Its labels before relabeling.
    pub discovered_labels: Labels,
}

/// Something of a job that makes no target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// The job.
    pub scrape_pool: JobName,
    /// What is wrong.
    pub error: String,
}

/// What is to be known of a job.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Remark {
    /// The job.
    pub scrape_pool: JobName,
    /// Why it is so.
    pub reason: String,
}

/// Runs the command.
pub(super) async fn check(args: &CheckTargetsArgs) -> Verdict {
    let mut config = match Config::load(&args.file, &Disk, args.prometheus_version) {
        Ok(config) => config,
        Err(error) => return Verdict::refused(vec![error.to_string()]),
    };
    if args.ignore_sharding_rules {
        config = ShardingRules::Ignored.treat(config);
    }
    if let Some(wanted) = &args.job {
        config.jobs.retain(|job| job.job_name.as_str() == wanted);
        if config.jobs.is_empty() {
            return Verdict::refused(vec![format!("{}: there is no job {wanted:?}", args.file.display())]);
        }
    }
    let report = discover(config, args.discovery.settings(args.prometheus_version), args.timeout).await;
    let output = match args.output {
        Output::Table => Ok(table::write(&report)),
        Output::Json => serde_json::to_string_pretty(&report).map(|json| json + "\n"),
    };
    match output {
        Ok(output) => Verdict { output, complaints: Vec::new(), success: true },
        Err(error) => Verdict::refused(vec![format!("write the targets as JSON: {error}")]),
    }
}

/// Discovers the targets of a config once, waiting for each discovery for at most `timeout`.
pub async fn discover(config: Config, settings: impl Into<DiscoverySettings>, timeout: Duration) -> TargetsReport {
    let config = Arc::new(config);
    let refused = unsupported(&config).into_iter().filter_map(|refusal| {
        let scrape_pool = JobName::from(refusal.job.as_deref()?);
        Some(Problem { scrape_pool, error: refusal.to_string() })
    });
    let discovered = discover_once(Arc::clone(&config), settings.into(), timeout).await;
    let mut report = TargetsReport::of(&discovered);
    report.errors.extend(refused);
    report.errors.sort_unstable();
    report
}

/// The labels after relabeling, as far as they are known.
fn final_labels(target: &Target) -> Labels {
    if target.is_relabeled_by_shard() { Labels::default() } else { target.labels.clone() }
}

impl TargetsReport {
    /// The report of a snapshot.
    #[must_use]
    pub fn of(discovered: &Discovered) -> Self {
        let remarks = relabeled_by_shards(&discovered.config).filter_map(|remark| {
            Some(Remark { scrape_pool: remark.job.as_deref()?.into(), reason: remark.to_string() })
        });
        let mut report = Self { relabeled_by_shards: remarks.collect(), ..Self::default() };
        for (job, targets) in &discovered.jobs {
            let active = targets.active.values().map(|active| ActiveTarget {
                scrape_pool: job.clone(),
                discovered_labels: active.discovered_labels.clone(),
                labels: final_labels(&active.target).visible().collect(),
                internal_labels: final_labels(&active.target).internal().collect(),
                scrape_url: active.target.url.clone(),
            });
            report.active_targets.extend(active);
            let dropped = targets.dropped.iter();
            report.dropped_targets.extend(
                dropped.map(|labels| DroppedTarget { scrape_pool: job.clone(), discovered_labels: labels.clone() }),
            );
            let problems = targets.errors.iter().chain(&targets.failures);
            report.errors.extend(problems.map(|error| Problem { scrape_pool: job.clone(), error: error.clone() }));
        }
        report.active_targets.sort_unstable();
        report.dropped_targets.sort_unstable();
        report.errors.sort_unstable();
        report
    }

    /// How many targets are active, dropped and wrong, by job.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<&JobName, [usize; 3]> {
        let mut counts: BTreeMap<&JobName, [usize; 3]> = BTreeMap::new();
        self.active_targets.iter().for_each(|target| counts.entry(&target.scrape_pool).or_default()[0] += 1);
        self.dropped_targets.iter().for_each(|target| counts.entry(&target.scrape_pool).or_default()[1] += 1);
        self.errors.iter().for_each(|problem| counts.entry(&problem.scrape_pool).or_default()[2] += 1);
        counts
    }
}
