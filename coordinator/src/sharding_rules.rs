//! What becomes of the rules by which prometheus-operator has each of its shards keep a part of every job's targets.
//!
//! A coordinator that kept to them would see the part of one shard alone: they belong to the world before it.

use narthex_common::{
    config::Config,
    relabel::operator_sharding::{sharding_rules, without_sharding},
};

/// Whether these rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShardingRules {
    /// As all others do.
    Applied,
    /// They are left out.
    Ignored,
}

impl ShardingRules {
    /// What a flag says.
    #[must_use]
    pub const fn ignored_if(ignored: bool) -> Self {
        if ignored { Self::Ignored } else { Self::Applied }
    }

    /// The config by whose rules targets are made. Rules that apply are warned of.
    #[must_use]
    pub fn treat(self, mut config: Config) -> Config {
        for job in &mut config.jobs {
            if sharding_rules(&job.relabel_configs).is_empty() {
                continue;
            }
            match self {
                Self::Ignored if job.relabeled_by.is_shards() => tracing::warn!(
                    job = %job.job_name,
                    "the shards relabel this job by its rules as they are written: those of prometheus-operator's sharding \
                     (__tmp_hash) are not left out there, whatever --relabel.ignore-sharding-rules says; take them out of \
                     the config"
                ),
                Self::Ignored => job.relabel_configs = without_sharding(&job.relabel_configs),
                Self::Applied => tracing::warn!(
                    job = %job.job_name,
                    "the relabeling of this job keeps the part of one shard of prometheus-operator (__tmp_hash); all other \
                     targets are dropped, unless --relabel.ignore-sharding-rules is given"
                ),
            }
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use narthex_common::{config::ConfigSources, semantics::PrometheusVersion};

    use super::*;

    #[test]
    fn the_rules_of_shards_go_only_when_they_are_to_and_no_other_rule_does() {
        let text = "scrape_configs:\n- job_name: a\n  relabel_configs:\n  - {target_label: x, replacement: y}\n  \
                    - {source_labels: [__address__], target_label: __tmp_hash, modulus: 2, action: hashmod}\n  \
                    - {source_labels: [__tmp_hash], regex: $(SHARD), action: keep}\n- job_name: b\n";
        let sources = ConfigSources::of_text(Path::new("/prometheus.yml"), text);
        let config = Config::of_sources(&sources, PrometheusVersion::V3_5).unwrap();
        let rules = |config: &Config| config.jobs.iter().map(|job| job.relabel_configs.len()).collect::<Vec<_>>();
        let ignored = ShardingRules::ignored_if(true).treat(config.clone());
        assert_eq!(
            (rules(&ignored), ignored.fingerprint()),
            (vec![1, 0], config.fingerprint()),
            "shards run the same config"
        );
        assert_eq!(rules(&ShardingRules::ignored_if(false).treat(config)), [3, 0]);
    }
}
