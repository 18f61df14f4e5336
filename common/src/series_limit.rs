//! How many series a target may expose before it is cut off: one limit for all targets, and others for those of some
//! jobs. Written as two flags, which the sidecar and the coordinator both have.

use std::{collections::BTreeMap, fmt, str::FromStr};

use crate::{job::JobName, load::Series};

/// The flag that says what holds for all jobs.
pub const FLAG: &str = "--target.max-series";
/// The flag that says what holds for one job.
pub const FLAG_OF_JOB: &str = "--target.max-series-of-job";

/// What the two flags say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesLimits {
    of_all: Option<Series>,
    /// Jobs for which something else holds; none is no limit.
    of_job: BTreeMap<JobName, Option<Series>>,
}

/// The most series that a target may expose, before metric relabeling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesLimit {
    /// So many are allowed.
    pub series: Series,
    /// The flag that says so.
    flag: &'static str,
}

/// What the flag for one job says: `JOB=N`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobLimit {
    /// The job.
    pub job: JobName,
    /// The most series each of its targets may expose; 0 is no limit.
    pub series: Series,
}

/// The flag for one job names a job twice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job {0:?} has two limits (flag {FLAG_OF_JOB})")]
pub struct TwoLimits(JobName);

impl SeriesLimits {
    /// The limits of a command line: for all jobs (0 is none), and for some.
    ///
    /// # Errors
    /// When a job is named twice.
    pub fn new(of_all: Series, of_jobs: &[JobLimit]) -> Result<Self, TwoLimits> {
        let mut of_job = BTreeMap::new();
        for JobLimit { job, series } in of_jobs {
            if of_job.insert(job.clone(), above_zero(*series)).is_some() {
                return Err(TwoLimits(job.clone()));
            }
        }
        Ok(Self { of_all: above_zero(of_all), of_job })
    }

    /// What holds for each target of a job; none is no limit.
    #[must_use]
    pub fn of(&self, job: &JobName) -> Option<SeriesLimit> {
        match self.of_job.get(job) {
            Some(own) => own.map(|series| SeriesLimit { series, flag: FLAG_OF_JOB }),
            None => self.of_all.map(|series| SeriesLimit { series, flag: FLAG }),
        }
    }

    /// The jobs that are named.
    pub fn jobs(&self) -> impl Iterator<Item = &JobName> {
        self.of_job.keys()
    }

    /// The flags that say the same, as arguments.
    #[must_use]
    pub fn as_arguments(&self) -> Vec<String> {
        let number = |series: Option<Series>| series.unwrap_or(Series::ZERO);
        let of_all = self.of_all.map(|series| format!("{FLAG}={series}"));
        let of_job = self.of_job.iter().map(|(job, own)| format!("{FLAG_OF_JOB}={job}={}", number(*own)));
        of_all.into_iter().chain(of_job).collect()
    }
}

fn above_zero(series: Series) -> Option<Series> {
    (series > Series::ZERO).then_some(series)
}

/// Why a target is cut off, for whoever looks at its last error.
impl fmt::Display for SeriesLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target exposes more than {} series ({}); cut off", self.series, self.flag)
    }
}

impl FromStr for JobLimit {
    type Err = String;

    /// A job's name may hold `=`, a number does not: the last one is the border.
    fn from_str(text: &str) -> Result<Self, String> {
        let (job, series) = text.rsplit_once('=').ok_or("expected JOB=N, such as node=20000")?;
        let series = series.parse().map_err(|_| format!("{series:?} is not a number of series"))?;
        Ok(Self { job: job.into(), series: Series(series) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(of_all: u64, of_jobs: &[&str]) -> Result<SeriesLimits, TwoLimits> {
        let of_jobs: Vec<JobLimit> = of_jobs.iter().map(|text| text.parse().unwrap()).collect();
        SeriesLimits::new(Series(of_all), &of_jobs)
    }

    fn reason(limits: &SeriesLimits, job: &str) -> Option<String> {
        limits.of(&job.into()).map(|limit| limit.to_string())
    }

    #[test]
    fn a_job_has_its_own_limit_or_none_or_that_of_all() {
        let limits = limits(5_000, &["node=200", "a=b=0"]).unwrap();
        let words = |text: &str| Some(format!("target exposes more than {text}; cut off"));
        assert_eq!(reason(&limits, "node"), words("200 series (--target.max-series-of-job)"));
        assert_eq!(reason(&limits, "a=b"), None);
        assert_eq!(reason(&limits, "other"), words("5000 series (--target.max-series)"));
        assert_eq!(reason(&SeriesLimits::default(), "other"), None);
    }

    #[test]
    fn what_is_handed_on_means_the_same() {
        let given = limits(5_000, &["node=200", "a=b=0"]).unwrap();
        let handed_on = given.as_arguments();
        assert_eq!(
            handed_on,
            ["--target.max-series=5000", "--target.max-series-of-job=a=b=0", "--target.max-series-of-job=node=200"]
        );
        assert!(SeriesLimits::default().as_arguments().is_empty());
    }

    #[test]
    fn a_limit_that_makes_no_sense_is_refused() {
        assert_eq!("node".parse::<JobLimit>(), Err("expected JOB=N, such as node=20000".to_owned()));
        assert_eq!("node=many".parse::<JobLimit>(), Err("\"many\" is not a number of series".to_owned()));
        let error = limits(0, &["node=1", "node=2"]).unwrap_err();
        assert_eq!(error.to_string(), "job \"node\" has two limits (flag --target.max-series-of-job)");
    }
}
