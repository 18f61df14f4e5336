//! Events: what happens to a fleet, and when.

use narthex_common::{config::PromDuration, job::JobName, time::Timestamp};
use serde::Deserialize;

use super::{ScenarioError, ShardSettings, TargetGroup};

/// Something that happens before a round looks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// Before which round; the first is 1.
    pub round: Option<u32>,
    /// Or how long after the start.
    pub at: Option<PromDuration>,
    /// Again after so many rounds.
    pub every: Option<u32>,
    /// The last round before which it happens again.
    pub until: Option<u32>,
    /// What happens.
    pub what: Happening,
}

/// What can happen.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Happening {
    /// A shard neither scrapes nor answers any more. It keeps its disk.
    ShardDies {
        /// In which replica.
        #[serde(default)]
        replica: u32,
        /// Which one.
        shard: u32,
        /// For how long; for ever unless given.
        #[serde(rename = "for")]
        lasts: Option<PromDuration>,
    },
    /// A dead shard starts again, with its disk.
    ShardReturns {
        /// In which replica.
        #[serde(default)]
        replica: u32,
        /// Which one.
        shard: u32,
    },
    /// A shard goes on scraping, and does not answer the coordinator.
    ShardIsSlow {
        /// In which replica.
        #[serde(default)]
        replica: u32,
        /// Which one.
        shard: u32,
        /// For how many rounds.
        rounds: u32,
    },
    /// A shard is started anew on an empty disk.
    ShardLosesItsDisk {
        /// In which replica.
        #[serde(default)]
        replica: u32,
        /// Which one.
        shard: u32,
    },
    /// A shard runs another config than the coordinator.
    ShardRunsAnotherConfig {
        /// In which replica.
        #[serde(default)]
        replica: u32,
        /// Which one.
        shard: u32,
        /// For how many rounds.
        rounds: u32,
    },
    /// Somebody adds shards to a replica that the planner does not scale.
    ShardsJoin {
        /// To which replica.
        #[serde(default)]
        replica: u32,
        /// How many.
        count: u32,
    },
    /// The shards of a replica are restarted one by one, from the highest to the lowest.
    RollingUpdate {
        /// Which replica.
        #[serde(default)]
        replica: u32,
        /// How long one shard is away.
        down: PromDuration,
        /// From when one is back to when the next goes.
        #[serde(default)]
        pause: PromDuration,
    },
    /// The loads of a job, or of one target of it, become so many times what they are.
    Load {
        /// Which job.
        job: JobName,
        /// Which of its targets, counted from 0; all of them unless given.
        target: Option<u32>,
        /// How many times.
        times: f64,
        /// Within which time; at once unless given.
        #[serde(default)]
        over: PromDuration,
    },
    /// A job is added to the config.
    JobComes(TargetGroup),
    /// A job is taken from the config.
    JobGoes {
        /// Which one.
        job: JobName,
    },
    /// A share of a job's targets is down from now on, drawn by chance; the rest is up.
    JobIsDown {
        /// Which job.
        job: JobName,
        /// From 0, all are up again, to 1.
        share: f64,
    },
    /// Discovery finds more targets of a job.
    TargetsCome {
        /// Of which job.
        job: JobName,
        /// How many.
        count: u32,
    },
    /// Discovery does not find some targets of a job any more, drawn by chance.
    TargetsGo {
        /// Of which job.
        job: JobName,
        /// How many.
        count: u32,
    },
    /// The coordinator ends, and another one starts that remembers nothing.
    CoordinatorRestarts {
        /// For how many rounds there is none.
        #[serde(default)]
        away: u32,
    },
    /// The coordinator is killed while it applies the plan of this round, and starts anew.
    CoordinatorIsKilled {
        /// How many shards it has told by then.
        told: usize,
        /// For how many rounds there is none.
        #[serde(default)]
        away: u32,
    },
}

impl Event {
    pub(crate) fn check(&self, field: &str, jobs: &[JobName], shards: &ShardSettings) -> Result<(), ScenarioError> {
        let wrong = |name: &str, problem: String| Err(ScenarioError::field(format!("{field}{name}"), problem));
        match (self.round, self.at) {
            (Some(0), _) => return wrong(".round", "the first round is 1".into()),
            (Some(_), None) | (None, Some(_)) => {}
            (None, None) | (Some(_), Some(_)) => return wrong("", "give either round or at".into()),
        }
        if self.every == Some(0) {
            return wrong(".every", "it must be above 0".into());
        }
        if self.every.is_some() != self.until.is_some() {
            return wrong("", "every and until go together".into());
        }
        match &self.what {
            Happening::ShardDies { replica, .. }
            | Happening::ShardReturns { replica, .. }
            | Happening::ShardIsSlow { replica, .. }
            | Happening::ShardLosesItsDisk { replica, .. }
            | Happening::ShardRunsAnotherConfig { replica, .. }
            | Happening::ShardsJoin { replica, .. }
            | Happening::RollingUpdate { replica, .. } => {
                if *replica >= shards.replicas {
                    return wrong(".what", format!("there is no replica {replica}, they are counted from 0"));
                }
                Ok(())
            }
            Happening::JobGoes { job } | Happening::TargetsCome { job, .. } | Happening::TargetsGo { job, .. } => {
                if jobs.contains(job) {
                    Ok(())
                } else {
                    wrong(".what", format!("there is no job {job}"))
                }
            }
            Happening::Load { job, times, .. } | Happening::JobIsDown { job, share: times } => {
                if !jobs.contains(job) {
                    return wrong(".what", format!("there is no job {job}"));
                }
                if times.is_finite() && *times >= 0.0 {
                    Ok(())
                } else {
                    wrong(".what", "the number must be 0 or more".into())
                }
            }
            Happening::JobComes(group) => group.check(&format!("{field}.what.job_comes"), &[]),
            Happening::CoordinatorRestarts { .. } | Happening::CoordinatorIsKilled { .. } => Ok(()),
        }
    }

    /// Whether it happens before a round that begins then.
    pub(crate) fn is_due(&self, round: u32, start: Timestamp, now: Timestamp, interval: PromDuration) -> bool {
        let first = match (self.round, self.at) {
            (Some(round), _) => round,
            (None, Some(at)) => {
                let rounds = at.0.div_ceil(interval.0.max(1));
                u32::try_from(rounds).unwrap_or(u32::MAX).saturating_add(1)
            }
            (None, None) => return false,
        };
        debug_assert!(now >= start);
        let again = self.every.zip(self.until);
        round == first
            || round > first
                && again.is_some_and(|(every, until)| round <= until && (round - first).is_multiple_of(every))
    }
}

impl Happening {
    /// The replica and the shard to which it happens, if it happens to one.
    pub(crate) const fn shard(&self) -> Option<(u32, u32)> {
        match self {
            Self::ShardDies { replica, shard, .. }
            | Self::ShardReturns { replica, shard }
            | Self::ShardIsSlow { replica, shard, .. }
            | Self::ShardLosesItsDisk { replica, shard }
            | Self::ShardRunsAnotherConfig { replica, shard, .. } => Some((*replica, *shard)),
            Self::ShardsJoin { .. }
            | Self::RollingUpdate { .. }
            | Self::Load { .. }
            | Self::JobComes(_)
            | Self::JobGoes { .. }
            | Self::JobIsDown { .. }
            | Self::TargetsCome { .. }
            | Self::TargetsGo { .. }
            | Self::CoordinatorRestarts { .. }
            | Self::CoordinatorIsKilled { .. } => None,
        }
    }

    /// What happens, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::ShardDies { replica, shard, lasts: None } => format!("shard {replica}/{shard} dies"),
            Self::ShardDies { replica, shard, lasts: Some(lasts) } => {
                format!("shard {replica}/{shard} dies for {lasts}")
            }
            Self::ShardReturns { replica, shard } => format!("shard {replica}/{shard} returns"),
            Self::ShardIsSlow { replica, shard, rounds } => {
                format!("shard {replica}/{shard} is slow for {rounds} rounds")
            }
            Self::ShardLosesItsDisk { replica, shard } => format!("shard {replica}/{shard} loses its disk"),
            Self::ShardRunsAnotherConfig { replica, shard, rounds } => {
                format!("shard {replica}/{shard} runs another config for {rounds} rounds")
            }
            Self::ShardsJoin { replica, count } => format!("{count} shards join replica {replica}"),
            Self::RollingUpdate { replica, .. } => format!("a rolling update of replica {replica} begins"),
            Self::Load { job, target: None, times, over } => format!("job {job}: load x {times} within {over}"),
            Self::Load { job, target: Some(target), times, over } => {
                format!("target {job}/{target}: load x {times} within {over}")
            }
            Self::JobComes(group) => format!("job {} comes with {} targets", group.job, group.count),
            Self::JobGoes { job } => format!("job {job} goes"),
            Self::JobIsDown { job, share } => format!("job {job}: {share} of the targets are down"),
            Self::TargetsCome { job, count } => format!("job {job}: {count} targets come"),
            Self::TargetsGo { job, count } => format!("job {job}: {count} targets go"),
            Self::CoordinatorRestarts { away } => format!("the coordinator restarts, {away} rounds away"),
            Self::CoordinatorIsKilled { told, away } => {
                format!("the coordinator is killed after telling {told} shards, {away} rounds away")
            }
        }
    }
}
