//! From flags to the rules of planning. What contradicts itself is refused in words that name the flags.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use narthex_common::{
    config::PromDuration,
    load::{SampleRate, Series},
};
use narthex_planner::{
    Policy,
    policy::{Placement, Settings},
};

use super::{ReplicaPlacement, RunArgs, ShardType};
use crate::round::Rules;

impl RunArgs {
    /// The rules of planning.
    ///
    /// # Errors
    /// When flags contradict each other.
    pub fn rules(&self) -> anyhow::Result<Rules> {
        self.check()?;
        let policy = Policy::new(self.settings()).context("the flags --shard.* cannot be kept")?;
        let max_process_series = Some(Series(self.shard.max_process_series)).filter(|series| *series > Series::ZERO);
        Ok(Rules::new(policy, max_process_series))
    }

    fn settings(&self) -> Settings {
        let shard = &self.shard;
        let unless_zero = |time: Duration| Some(time).filter(|time| !time.is_zero());
        let max_samples = Some(shard.max_samples_per_second).filter(|samples| *samples > 0);
        Settings {
            max_series: Series(shard.max_series),
            max_samples_per_second: max_samples.map(SampleRate::per_second),
            min_shards: shard.min_shard,
            max_shards: shard.max_shard,
            max_idle_time: unless_zero(shard.max_idle_time),
            max_moves: shard.max_moves,
            min_stay: shard.min_stay,
            max_probe_wait: self.probe_max_wait,
            relief: !shard.disable_relief,
            rebalance: shard.rebalance,
            rebalance_threshold: shard.rebalance_threshold,
            failover_after: unless_zero(shard.failover_after),
            placement: match self.replica_placement {
                ReplicaPlacement::Independent => Placement::Independent,
                ReplicaPlacement::Mirrored => Placement::Mirrored,
            },
            ..Settings::default()
        }
    }

    /// Refuses flags that cannot work together.
    fn check(&self) -> anyhow::Result<()> {
        let shard = &self.shard;
        let (min, max) = (shard.min_shard, shard.max_shard);
        ensure!(min <= max, "--shard.min-shard={min} is above --shard.max-shard={max}");
        let max_silence = Settings::default().max_silence;
        ensure!(
            shard.failover_after.is_zero() || shard.failover_after > max_silence,
            "--shard.failover-after={} is too short: a shard that restarts may be silent for {}, and only one that is \
             silent for longer can be given up; --shard.failover-after=0 is never",
            written(shard.failover_after),
            written(max_silence)
        );
        ensure!(
            !shard.rebalance || shard.max_idle_time.is_zero(),
            "--shard.rebalance evens out all shards, and --shard.max-idle-time={} fills the lowest ones first: use one \
             of them",
            written(shard.max_idle_time)
        );
        ensure!(
            !shard.rebalance || !shard.disable_relief,
            "--shard.rebalance moves targets between shards within their limits, and --shard.disable-relief forbids \
             moving them from shards above: use one of them"
        );
        ensure!(
            self.replica_placement == ReplicaPlacement::Independent || shard.kind != ShardType::Local,
            "--replica.placement=mirrored needs several replicas, and --shard.type=local has one"
        );
        Ok(())
    }
}

/// A duration as it is written in flags.
fn written(duration: Duration) -> PromDuration {
    PromDuration(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use rstest::rstest;

    use super::*;
    use crate::args::Cli;

    fn args(flags: &[&str]) -> RunArgs {
        Cli::try_parse_from([&["narthex-coordinator"], flags].concat()).unwrap().run
    }

    #[test]
    fn without_flags_the_policy_is_the_default_one() {
        assert_eq!(args(&[]).settings(), Settings::default());
    }

    #[test]
    fn every_flag_reaches_the_policy() {
        let flags = [
            "--shard.type=static",
            "--shard.max-series=5",
            "--shard.max-samples-per-second=6",
            "--shard.min-shard=1",
            "--shard.max-shard=9",
            "--shard.max-moves=3",
            "--shard.min-stay=20m",
            "--shard.rebalance",
            "--shard.rebalance-threshold=30",
            "--shard.failover-after=2m",
            "--probe.max-wait=7s",
            "--replica.placement=mirrored",
        ];
        let expected = Settings {
            max_series: Series(5),
            max_samples_per_second: Some(SampleRate::per_second(6)),
            min_shards: 1,
            max_shards: 9,
            max_moves: 3,
            min_stay: Duration::from_secs(1200),
            rebalance: true,
            rebalance_threshold: 30,
            failover_after: Some(Duration::from_secs(120)),
            max_probe_wait: Duration::from_secs(7),
            placement: Placement::Mirrored,
            ..Settings::default()
        };
        assert_eq!(args(&flags).settings(), expected);
        let settings =
            args(&["--shard.max-idle-time=3h", "--shard.disable-relief", "--shard.failover-after=0"]).settings();
        let expected = (Some(Duration::from_secs(3 * 3600)), false, None);
        assert_eq!((settings.max_idle_time, settings.relief, settings.failover_after), expected);
    }

    #[rstest]
    #[case::min_and_max(&["--shard.min-shard=3", "--shard.max-shard=2"], "--shard.min-shard=3 is above --shard.max-shard=2")]
    #[case::failover(&["--shard.failover-after=30s"], "--shard.failover-after=30s is too short")]
    #[case::packed(
        &["--shard.rebalance", "--shard.max-idle-time=1h"],
        "--shard.rebalance evens out all shards, and --shard.max-idle-time=1h fills the lowest ones first"
    )]
    #[case::no_relief(&["--shard.rebalance", "--shard.disable-relief"], "and --shard.disable-relief forbids")]
    #[case::mirror(&["--replica.placement=mirrored"], "and --shard.type=local has one")]
    fn flags_that_cannot_work_together_are_refused(#[case] flags: &[&str], #[case] expected: &str) {
        let error = format!("{:#}", args(flags).rules().unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[rstest]
    #[case("--shard.max-series=0")]
    #[case("--shard.max-shard=0")]
    #[case("--shard.max-moves=0")]
    #[case("--probe.concurrency=0")]
    #[case("--shard.rebalance-threshold=20")]
    fn a_flag_that_cannot_be_kept_is_named(#[case] flag: &str) {
        let error = Cli::try_parse_from(["narthex-coordinator", flag]).unwrap_err().to_string();
        let name = flag.split_once('=').unwrap().0;
        assert!(error.contains(name), "{error}");
    }
}
