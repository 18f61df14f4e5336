//! Groups of targets: how many, how heavy, and how they change by themselves.

use narthex_common::{config::PromDuration, job::JobName};
use serde::Deserialize;

use super::ScenarioError;

/// The targets of one job.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetGroup {
    /// The job's name.
    pub job: JobName,
    /// How many there are at the start.
    pub count: u32,
    /// How often each is scraped.
    #[serde(default = "fifteen_seconds")]
    pub scrape_interval: PromDuration,
    /// How many series of each are kept.
    pub load: Distribution,
    /// The share of the exposed series that metric relabeling drops, from 0 to below 1.
    #[serde(default)]
    pub dropped: f64,
    /// How much the loads grow within an hour: 0.1 is a tenth.
    #[serde(default)]
    pub growth_per_hour: f64,
    /// How far loads stray from round to round, in percent, up and down.
    #[serde(default)]
    pub jitter_percent: f64,
    /// Whether all of the group stray together, and not each by itself.
    #[serde(default)]
    pub jitter_together: bool,
    /// How many targets are replaced by new ones in each round: pods that come and go. Below 1 it is a chance.
    #[serde(default)]
    pub churn_per_round: f64,
    /// The share of targets that are down when they appear, from 0 to 1.
    #[serde(default)]
    pub down: f64,
}

/// How many series the targets of a group have.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// All the same.
    Constant(u64),
    /// Any number between two with the same chance.
    Uniform {
        /// The least.
        from: u64,
        /// The most.
        to: u64,
    },
    /// Many light ones and few that are very heavy, as fleets are.
    LogNormal {
        /// Half of all targets are lighter.
        median: f64,
        /// How wide: at 1.5 one in a hundred has more than 32 times the median.
        sigma: f64,
    },
    /// One after the other, and then from the start again.
    List(Vec<u64>),
}

impl TargetGroup {
    pub(crate) fn check(&self, field: &str, others: &[JobName]) -> Result<(), ScenarioError> {
        let wrong = |name: &str, problem: &str| Err(ScenarioError::field(format!("{field}.{name}"), problem));
        if others.contains(&self.job) {
            return wrong("job", &format!("there are two jobs {}", self.job));
        }
        if self.scrape_interval.is_zero() {
            return wrong("scrape_interval", "it must be above 0");
        }
        if !(0.0..1.0).contains(&self.dropped) {
            return wrong("dropped", "it must be a share from 0 to below 1");
        }
        if !(0.0..=1.0).contains(&self.down) {
            return wrong("down", "it must be a share from 0 to 1");
        }
        if !(0.0..100.0).contains(&self.jitter_percent) {
            return wrong("jitter_percent", "it must be from 0 to below 100");
        }
        if !(self.churn_per_round >= 0.0 && self.churn_per_round.is_finite()) {
            return wrong("churn_per_round", "it must be 0 or more");
        }
        if !(self.growth_per_hour > -1.0 && self.growth_per_hour.is_finite()) {
            return wrong("growth_per_hour", "it must be above -1");
        }
        match &self.load {
            Distribution::Constant(_) => Ok(()),
            Distribution::Uniform { from, to } if from <= to => Ok(()),
            Distribution::Uniform { .. } => wrong("load.uniform", "from is above to"),
            Distribution::LogNormal { median, sigma } if *median > 0.0 && (0.0..=5.0).contains(sigma) => Ok(()),
            Distribution::LogNormal { .. } => {
                wrong("load.log_normal", "median must be above 0 and sigma between 0 and 5")
            }
            Distribution::List(loads) if loads.is_empty() => wrong("load.list", "it is empty"),
            Distribution::List(_) => Ok(()),
        }
    }
}

const fn fifteen_seconds() -> PromDuration {
    PromDuration::from_secs(15)
}
