//! The rules of planning: what the flags say, and what follows from it under a config.

use std::sync::Arc;

use narthex_common::{
    config::{Config, PromDuration},
    fingerprint::Fingerprint,
    load::{SampleRate, Series},
};
use narthex_planner::Policy;

/// What the flags say. One of them counts series a scrape, as Kvass does; how many samples a second these are depends
/// on the config, which may be another one tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    policy: Policy,
    max_process_series: Option<Series>,
}

impl Rules {
    /// The policy, with its limit of samples a second made stricter where `max_process_series`, scraped once in every
    /// `global.scrape_interval`, are fewer.
    #[must_use]
    pub const fn new(policy: Policy, max_process_series: Option<Series>) -> Self {
        Self { policy, max_process_series }
    }

    /// The policy under a config with that interval.
    pub(crate) fn policy(&self, scrape_interval: PromDuration) -> Policy {
        let Some(series) = self.max_process_series else { return self.policy.clone() };
        // At least the smallest rate there is: a limit of nothing would be none that can be kept.
        let limit = SampleRate::of(series, scrape_interval.to_std()).max(SampleRate(1));
        let mut settings = narthex_planner::policy::Settings::from(self.policy.clone());
        settings.max_samples_per_second = Some(settings.max_samples_per_second.map_or(limit, |other| other.min(limit)));
        // It was a policy before, and a limit above nothing contradicts none of its other rules.
        Policy::new(settings).unwrap_or_else(|_| self.policy.clone())
    }
}

/// What holds under the config of a round.
#[derive(Clone, Debug)]
pub(super) struct InForce {
    config: Arc<Config>,
    /// The config's fingerprint.
    pub(super) fingerprint: Fingerprint,
    /// The policy.
    pub(super) policy: Policy,
}

impl InForce {
    /// What holds under a config; what is known of it already is not worked out again.
    pub(super) fn under(config: &Arc<Config>, rules: &Rules, before: Option<Self>) -> Self {
        before.filter(|before| Arc::ptr_eq(&before.config, config)).unwrap_or_else(|| Self {
            config: Arc::clone(config),
            fingerprint: config.fingerprint(),
            policy: rules.policy(config.scrape_interval),
        })
    }
}

#[cfg(test)]
mod tests {
    use narthex_planner::policy::Settings;

    use super::*;

    #[test]
    fn series_a_scrape_are_samples_a_second_by_the_configs_interval_and_the_stricter_limit_holds() {
        let limit = |process: Option<u64>, samples: Option<u64>, interval| {
            let max_samples_per_second = samples.map(SampleRate::per_second);
            let policy = Policy::new(Settings { max_samples_per_second, ..Settings::default() }).unwrap();
            Rules::new(policy, process.map(Series)).policy(PromDuration::from_secs(interval)).max_samples_per_second
        };
        assert_eq!(limit(None, None, 15), None);
        assert_eq!(limit(None, Some(100), 15), Some(SampleRate::per_second(100)));
        assert_eq!(limit(Some(30_000), None, 15), Some(SampleRate::per_second(2_000)));
        assert_eq!(limit(Some(30_000), None, 60), Some(SampleRate::per_second(500)), "the same flag, another config");
        assert_eq!(limit(Some(30_000), Some(100), 15), Some(SampleRate::per_second(100)));
        assert_eq!(limit(Some(30_000), Some(5_000), 15), Some(SampleRate::per_second(2_000)));
        assert_eq!(limit(Some(1), None, 1_000_000), Some(SampleRate(1)), "not nothing at all");
    }
}
