//! From a job's target groups to its targets. Pure, and done off the async threads: a job may have many targets.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, OnceLock},
    time::Duration,
};

use narthex_common::{
    config::ScrapeConfig,
    job::JobName,
    labels::{Labels, LabelsBuilder},
    semantics::PrometheusVersion,
    target::{
        TargetId,
        build::{Built, TargetBuilder},
    },
    target_limit::TargetLimitExceeded,
};

use super::{
    ActiveTarget, JobTargets,
    discoverer::DiscoveryId,
    group::TargetGroup,
    http::{URL_LABEL, without_password},
};

/// Which group of a job: none is the job's own static list.
pub(super) type GroupKey = (Option<DiscoveryId>, String);

/// The groups of a job.
pub(super) type Groups = BTreeMap<GroupKey, Arc<TargetGroup>>;

/// What relabeling made of each group of a job.
pub(super) type RelabeledGroups = BTreeMap<GroupKey, Arc<RelabeledGroup>>;

/// What relabeling made of one group.
#[derive(Debug)]
pub(super) struct RelabeledGroup {
    group: Arc<TargetGroup>,
    active: Vec<(TargetId, ActiveTarget)>,
    /// As many of those that were dropped as are kept.
    dropped: Vec<Labels>,
    dropped_count: usize,
    errors: Vec<String>,
}

/// Builds the targets of one job, with rules that are compiled at first use.
#[derive(Debug)]
pub(super) struct JobBuilder {
    job: ScrapeConfig,
    version: PrometheusVersion,
    builder: OnceLock<Result<TargetBuilder, String>>,
}

impl JobBuilder {
    /// The builder of a job.
    pub(super) const fn new(job: ScrapeConfig, version: PrometheusVersion) -> Self {
        Self { job, version, builder: OnceLock::new() }
    }

    /// Whether another config of the job makes the same targets of the same groups.
    pub(super) fn makes_the_same_targets(&self, job: &ScrapeConfig) -> bool {
        let own = &self.job;
        own.job_name == job.job_name
            && own.relabeled_by.is_shards() == job.relabeled_by.is_shards()
            && own.relabel_configs == job.relabel_configs
            && own.name_validation == job.name_validation
            && (own.scrape_interval, own.scrape_timeout) == (job.scrape_interval, job.scrape_timeout)
            && (&own.scheme, &own.metrics_path, &own.params) == (&job.scheme, &job.metrics_path, &job.params)
            && own.scrape_native_histograms == job.scrape_native_histograms
            && own.always_scrape_classic_histograms == job.always_scrape_classic_histograms
            && own.convert_classic_histograms_to_nhcb == job.convert_classic_histograms_to_nhcb
    }

    /// Of what is dropped, at most so many are kept.
    fn relabel(&self, group: Arc<TargetGroup>, most_dropped: usize) -> RelabeledGroup {
        let builder =
            self.builder.get_or_init(|| TargetBuilder::new(&self.job, self.version).map_err(|error| error.to_string()));
        let (active, dropped, errors) = (Vec::new(), Vec::new(), Vec::new());
        let mut relabeled = RelabeledGroup { group, active, dropped, dropped_count: 0, errors };
        let group = Arc::clone(&relabeled.group);
        // Where shards relabel, these labels leave this process: to their disks and APIs.
        let leaves = self.job.relabeled_by.is_shards();
        let group_labels = if leaves { shown(group.labels.clone()) } else { group.labels.clone() };
        match builder {
            Err(error) => relabeled.errors.extend(group.targets.iter().map(|_| error.clone())),
            Ok(builder) => group.targets.iter().for_each(|target| match builder.build(target, &group_labels) {
                Built::Active { discovered, target } => {
                    let active = ActiveTarget { target: Arc::new(target), discovered_labels: shown(discovered) };
                    relabeled.active.push((active.target.id, active));
                }
                Built::Dropped { discovered } => {
                    relabeled.dropped_count += 1;
                    if relabeled.dropped.len() < most_dropped {
                        relabeled.dropped.push(shown(discovered));
                    }
                }
                Built::Failed { error, .. } => relabeled.errors.push(error),
            }),
        }
        relabeled
    }
}

/// One job to be relabeled: a value that can be sent to another thread.
#[derive(Debug)]
pub(super) struct Relabeling {
    /// The job.
    pub(super) job: JobName,
    /// What builds its targets.
    pub(super) builder: Arc<JobBuilder>,
    /// Its groups as they are now.
    pub(super) groups: Groups,
    /// What relabeling made of its groups before; groups that are still the same are not relabeled again.
    pub(super) before: RelabeledGroups,
    /// Whether every discovery of the job has answered.
    pub(super) discovered: bool,
    /// What its discoveries failed with.
    pub(super) failures: Vec<String>,
    /// How many targets it may have, and how many of those that are dropped are kept.
    pub(super) limits: Limits,
}

/// Limits of a job that change none of its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// `target_limit`, 0 is none.
    pub(super) targets: u64,
    /// The most dropped targets that are kept.
    pub(super) dropped: usize,
}

impl Limits {
    /// The limits of a job.
    pub(super) fn of(job: &ScrapeConfig) -> Self {
        // To Prometheus, 0 is all.
        let dropped = usize::try_from(job.keep_dropped_targets).ok().filter(|kept| *kept > 0);
        // Of a job that the shards relabel nobody knows how many targets are left.
        let targets = if job.relabeled_by.is_shards() { 0 } else { job.target_limit };
        Self { targets, dropped: dropped.unwrap_or(usize::MAX) }
    }
}

/// A job, relabeled.
#[derive(Debug)]
pub(super) struct Relabeled {
    /// The job.
    pub(super) job: JobName,
    /// What became of each group.
    pub(super) groups: RelabeledGroups,
    /// All its targets.
    pub(super) targets: JobTargets,
    /// How many label sets it has, before relabeling.
    pub(super) label_sets: usize,
    /// How many label sets of new groups made no target.
    pub(super) new_errors: usize,
    /// How long all that took.
    pub(super) took: Duration,
}

impl Relabeling {
    /// Relabels what changed and puts everything together. The result depends on the groups, not on their order.
    pub(super) fn run(mut self) -> Relabeled {
        let mut new_errors = 0;
        let mut groups = RelabeledGroups::new();
        let mut room = self.limits.dropped;
        for (key, group) in self.groups {
            let before = self.before.remove(&key).filter(|before| Arc::ptr_eq(&before.group, &group));
            let is_known = before.is_some();
            let relabeled = match before {
                Some(before) if before.dropped.len() == before.dropped_count.min(room) => before,
                // What was dropped of it takes another part of the room now.
                Some(_) | None => Arc::new(self.builder.relabel(group, room)),
            };
            if !is_known {
                new_errors += relabeled.errors.len();
            }
            room -= relabeled.dropped.len();
            groups.insert(key, relabeled);
        }
        let mut targets = JobTargets { discovered: self.discovered, failures: self.failures, ..JobTargets::default() };
        for relabeled in groups.values() {
            for (id, active) in &relabeled.active {
                add(&mut targets.active, *id, active);
            }
            targets.dropped.extend(relabeled.dropped.iter().cloned());
            targets.dropped_count += relabeled.dropped_count;
            targets.errors.extend(relabeled.errors.iter().cloned());
        }
        targets.exceeded_target_limit = TargetLimitExceeded::of(targets.active.len() as u64, self.limits.targets);
        targets.dropped.sort_unstable();
        targets.errors.sort_unstable();
        targets.failures.sort_unstable();
        let label_sets = groups.values().map(|relabeled| relabeled.group.targets.len()).sum();
        Relabeled { job: self.job, groups, targets, label_sets, new_errors, took: Duration::ZERO }
    }
}

/// Of label sets that become one target the least is shown, so that it does not depend on who came first.
fn add(targets: &mut BTreeMap<TargetId, ActiveTarget>, id: TargetId, active: &ActiveTarget) {
    match targets.entry(id) {
        Entry::Vacant(vacant) => drop(vacant.insert(active.clone())),
        Entry::Occupied(mut known) => {
            if active.discovered_labels < known.get().discovered_labels {
                known.insert(active.clone());
            }
        }
    }
}

/// Discovered labels as they are shown. Relabeling here has to see the URL of an `http_sd` as it is; nobody else has to
/// see the password in it.
fn shown(discovered: Labels) -> Labels {
    match discovered.get(URL_LABEL) {
        Some(url) if url.contains('@') => {
            let mut labels = LabelsBuilder::from(&discovered);
            labels.set(URL_LABEL, without_password(url));
            labels.build()
        }
        Some(_) | None => discovered,
    }
}
