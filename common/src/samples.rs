//! How the series of jobs are spread over metrics: what a sidecar says of its shard, and the coordinator of all shards.
//! The shape is Kvass', with what Kvass has not: how many targets were counted, and what is not listed.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::{
    job::{JobName, job_pattern},
    load::{Load, Series},
};

/// The metrics of a job that are listed when no limit is given.
pub const DEFAULT_LIMIT: usize = 1_000;
/// The most metrics of a job that are listed.
pub const MOST: usize = 10_000;

/// Every job that was counted.
pub type Samples = BTreeMap<JobName, JobSamples>;

/// How the series of one job are spread over metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobSamples {
    /// Series after metric relabeling.
    pub scraped_total: Series,
    /// Series before it.
    pub total: Series,
    /// The targets that were counted.
    pub targets: u64,
    /// The metrics that are listed.
    pub metrics_total: BTreeMap<Arc<str>, MetricSamples>,
    /// All other metrics together.
    pub other: MetricSamples,
}

/// The series of one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MetricSamples {
    /// Before metric relabeling.
    pub total: Series,
    /// After it.
    pub scraped: Series,
}

impl MetricSamples {
    fn add(&mut self, more: Self) {
        self.total += more.total;
        self.scraped += more.scraped;
    }
}

impl From<Load> for MetricSamples {
    fn from(Load { exposed, kept }: Load) -> Self {
        Self { total: exposed, scraped: kept }
    }
}

impl JobSamples {
    /// Adds what other targets of the job have.
    pub fn add(&mut self, more: Self) {
        self.scraped_total += more.scraped_total;
        self.total += more.total;
        self.targets += more.targets;
        for (metric, samples) in more.metrics_total {
            self.metrics_total.entry(metric).or_default().add(samples);
        }
        self.other.add(more.other);
    }

    /// Lists only so many metrics, those with the most series before metric relabeling.
    pub fn list_largest(&mut self, limit: usize) {
        if self.metrics_total.len() <= limit {
            return;
        }
        let mut by_size: Vec<_> = std::mem::take(&mut self.metrics_total).into_iter().collect();
        by_size.sort_by_key(|(_, samples)| Reverse(*samples));
        for (_, samples) in by_size.drain(limit..) {
            self.other.add(samples);
        }
        self.metrics_total = by_size.into_iter().collect();
    }
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub struct SamplesQuery {
    /// Jobs that match one of these; all unless there are any.
    pub jobs: Vec<Regex>,
    /// How many metrics of each job are listed.
    pub limit: usize,
}

impl SamplesQuery {
    /// Reads the query of a URL: `job` (a regular expression, repeatable), `with_metrics_detail=true`, `limit=N`. Without
    /// the last two no metrics are listed.
    ///
    /// # Errors
    /// When a parameter makes no sense.
    pub fn parse(query: &str) -> Result<Self, String> {
        let (mut jobs, mut limit, mut detail) = (Vec::new(), None, false);
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "job" if value.is_empty() => {}
                "job" => jobs.push(job_pattern(&value, jobs.len())?),
                "with_metrics_detail" => {
                    detail = match &*value {
                        "true" => true,
                        "false" | "" => false,
                        _ => return Err(format!("with_metrics_detail is {value:?}; it may be \"true\" or \"false\"")),
                    }
                }
                "limit" => match value.parse() {
                    Ok(n @ 0..=MOST) => limit = Some(n),
                    Ok(_) | Err(_) => return Err(format!("limit is {value:?}; it may be 0 to {MOST}")),
                },
                _ => {}
            }
        }
        Ok(Self { jobs, limit: limit.unwrap_or(if detail { DEFAULT_LIMIT } else { 0 }) })
    }

    /// The parameters of a URL that ask for the same.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&'static str, String)> {
        let jobs = self.jobs.iter().map(|job| ("job", job.as_str().to_owned()));
        jobs.chain([("limit", self.limit.to_string())]).collect()
    }

    /// Whether a job is asked for.
    #[must_use]
    pub fn asks_for(&self, job: &JobName) -> bool {
        self.jobs.is_empty() || self.jobs.iter().any(|asked| asked.is_match(job.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(metrics: &[(&str, u64)]) -> JobSamples {
        let mut job = JobSamples { targets: 1, ..JobSamples::default() };
        for (metric, series) in metrics {
            let one = MetricSamples { total: Series(*series), scraped: Series(series / 2) };
            job.total += one.total;
            job.scraped_total += one.scraped;
            job.metrics_total.insert((*metric).into(), one);
        }
        job
    }

    #[test]
    fn the_largest_metrics_are_listed_and_the_rest_is_not_lost() {
        let mut job = samples(&[("a", 10), ("b", 20)]);
        job.add(samples(&[("a", 14), ("c", 2), ("d", 4)]));
        job.list_largest(2);
        let listed: Vec<_> = job.metrics_total.iter().map(|(name, one)| (&**name, one.total.0)).collect();
        assert_eq!(listed, [("a", 24), ("b", 20)]);
        assert_eq!((job.other.total, job.other.scraped), (Series(6), Series(3)));
        assert_eq!((job.total, job.scraped_total, job.targets), (Series(50), Series(25), 2));
    }

    #[test]
    fn an_answer_has_the_field_names_of_kvass() {
        let job = serde_json::to_value(samples(&[("a", 10)])).unwrap();
        let expected = serde_json::json!({
            "scrapedTotal": 5, "total": 10, "targets": 1,
            "metricsTotal": {"a": {"total": 10, "scraped": 5}}, "other": {"total": 0, "scraped": 0}
        });
        assert_eq!(job, expected);
    }

    #[test]
    fn a_query_is_read_and_handed_on() {
        let parsed = |query: &str| SamplesQuery::parse(query).unwrap();
        assert_eq!(
            (parsed("").limit, parsed("with_metrics_detail=true").limit, parsed("limit=7").limit),
            (0, 1_000, 7)
        );
        let query = parsed("job=node.*&job=app&limit=3");
        assert_eq!(query.parameters(), [("job", "node.*".into()), ("job", "app".into()), ("limit", "3".to_owned())]);
        assert!(query.asks_for(&"node-exporter".into()) && !query.asks_for(&"mysql".into()));
        for bad in ["limit=-1", "limit=10001", "job=(", "with_metrics_detail=maybe"] {
            SamplesQuery::parse(bad).unwrap_err();
        }
    }
}
