//! What discovery knows, and what follows from an update or a new config: which jobs have to be relabeled. Neither
//! tasks nor time are in here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use narthex_common::{
    config::{Config, ScrapeConfig, SdConfig},
    job::JobName,
    semantics::PrometheusVersion,
};

use super::{
    Discovered, JobTargets,
    discoverer::{DiscoveryConfig, DiscoveryId, Update},
    group::TargetGroup,
    metrics::UsedMechanisms,
    relabel::{Groups, JobBuilder, Limits, Relabeled, RelabeledGroups, Relabeling},
};

/// Everything discovery knows. A copy shares what was found and what was made of it.
#[derive(Clone, Debug)]
pub(super) struct State {
    version: PrometheusVersion,
    config: Arc<Config>,
    jobs: BTreeMap<JobName, Job>,
    discoveries: BTreeMap<DiscoveryId, Discovery>,
    next_id: u64,
    /// Jobs that must be relabeled.
    changed: BTreeSet<JobName>,
}

/// One job of the config.
#[derive(Clone, Debug)]
struct Job {
    builder: Arc<JobBuilder>,
    limits: Limits,
    /// The groups of its `static_configs`.
    statics: Vec<Arc<TargetGroup>>,
    discoveries: BTreeSet<DiscoveryId>,
    relabeled: RelabeledGroups,
    targets: Arc<JobTargets>,
}

/// One SD block, used by one or more jobs.
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    /// The block.
    pub(super) config: DiscoveryConfig,
    /// The jobs that have it.
    pub(super) jobs: BTreeSet<JobName>,
    groups: BTreeMap<String, Arc<TargetGroup>>,
    answered: bool,
    failure: Option<String>,
}

impl State {
    /// Nothing has answered yet, and every job must be relabeled.
    pub(super) fn new(config: Arc<Config>, version: PrometheusVersion) -> Self {
        let mut state = Self {
            version,
            config: Arc::clone(&config),
            jobs: BTreeMap::new(),
            discoveries: BTreeMap::new(),
            next_id: 0,
            changed: BTreeSet::new(),
        };
        state.apply(config);
        state
    }

    /// Takes over a new config. SD blocks that stay keep what they know, and jobs that make the same targets as before
    /// are relabeled only where their groups differ.
    pub(super) fn apply(&mut self, config: Arc<Config>) {
        let mut before = std::mem::take(&mut self.jobs);
        for discovery in self.discoveries.values_mut() {
            discovery.jobs.clear();
        }
        for job in &config.jobs {
            let discoveries: BTreeSet<DiscoveryId> =
                DiscoveryConfig::of_job(job).map(|block| self.use_block(block, job)).collect();
            let entry = match before.remove(&job.job_name) {
                Some(old) if old.builder.makes_the_same_targets(job) => {
                    Job { limits: Limits::of(job), statics: statics(job, &old.statics), discoveries, ..old }
                }
                old => Job {
                    builder: Arc::new(JobBuilder::new(job.clone(), self.version)),
                    limits: Limits::of(job),
                    statics: statics(job, &[]),
                    discoveries,
                    relabeled: RelabeledGroups::new(),
                    // Shown until the job is relabeled.
                    targets: old.map(|old| old.targets).unwrap_or_default(),
                },
            };
            self.jobs.insert(job.job_name.clone(), entry);
        }
        self.discoveries.retain(|_, discovery| !discovery.jobs.is_empty());
        self.changed = self.jobs.keys().cloned().collect();
        self.config = config;
    }

    /// The discovery of a block, which is a new one unless an equal block is known.
    fn use_block(&mut self, block: DiscoveryConfig, job: &ScrapeConfig) -> DiscoveryId {
        let known = self.discoveries.iter().find(|(_, discovery)| discovery.config == block).map(|(id, _)| *id);
        let id = known.unwrap_or(DiscoveryId(self.next_id));
        self.next_id = self.next_id.max(id.0 + 1);
        let discovery = self.discoveries.entry(id).or_insert_with(|| Discovery {
            config: block,
            jobs: BTreeSet::new(),
            groups: BTreeMap::new(),
            answered: false,
            failure: None,
        });
        discovery.jobs.insert(job.job_name.clone());
        id
    }

    /// The discoveries that are to run.
    pub(super) const fn discoveries(&self) -> &BTreeMap<DiscoveryId, Discovery> {
        &self.discoveries
    }

    /// Which job uses which mechanism.
    pub(super) fn used_mechanisms(&self) -> UsedMechanisms {
        let used = |discovery: &Discovery| {
            let mechanism = discovery.config.mechanism();
            discovery.jobs.iter().map(move |job| (mechanism, job.clone())).collect::<Vec<_>>()
        };
        self.discoveries.values().flat_map(used).collect()
    }

    /// Takes what a discovery told. What is told by one that has been ended is not heard.
    pub(super) fn take(&mut self, from: DiscoveryId, update: Update) {
        let Some(discovery) = self.discoveries.get_mut(&from) else { return };
        let mut changed = false;
        for group in update.groups {
            if group.targets.is_empty() {
                changed |= discovery.groups.remove(&group.source).is_some();
            } else if discovery.groups.get(&group.source).is_none_or(|known| **known != group) {
                discovery.groups.insert(group.source.clone(), Arc::new(group));
                changed = true;
            }
        }
        changed |= !discovery.answered && update.failure.is_none() || discovery.failure != update.failure;
        discovery.answered |= update.failure.is_none();
        discovery.failure = update.failure;
        if changed {
            self.changed.extend(discovery.jobs.iter().cloned());
        }
    }

    /// Keeps everything that is dropped until the next config, whatever the jobs say.
    pub(super) fn keep_all_dropped(&mut self) {
        self.jobs.values_mut().for_each(|job| job.limits.dropped = usize::MAX);
    }

    /// Whether a job must be relabeled.
    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The jobs that must be relabeled; they count as unchanged from now on.
    pub(super) fn take_changed(&mut self) -> Vec<Relabeling> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().filter_map(|name| self.relabeling(name)).collect()
    }

    fn relabeling(&self, name: JobName) -> Option<Relabeling> {
        let job = self.jobs.get(&name)?;
        let mut groups: Groups = Groups::new();
        for (index, group) in job.statics.iter().enumerate() {
            groups.insert((None, index.to_string()), Arc::clone(group));
        }
        let mut relabeling = Relabeling {
            job: name,
            builder: Arc::clone(&job.builder),
            groups,
            before: job.relabeled.clone(),
            discovered: true,
            failures: Vec::new(),
            limits: job.limits,
        };
        for id in &job.discoveries {
            let Some(discovery) = self.discoveries.get(id) else { continue };
            let listed = discovery.groups.iter();
            relabeling.groups.extend(listed.map(|(source, group)| ((Some(*id), source.clone()), Arc::clone(group))));
            relabeling.discovered &= discovery.answered;
            let failure = discovery.failure.iter().map(|why| format!("{}: {why}", discovery.config.describe()));
            relabeling.failures.extend(failure);
        }
        Some(relabeling)
    }

    /// Takes a relabeled job; says whether its targets are others than before.
    pub(super) fn accept(&mut self, relabeled: Relabeled) -> bool {
        let Some(job) = self.jobs.get_mut(&relabeled.job) else { return false };
        job.relabeled = relabeled.groups;
        let differ = *job.targets != relabeled.targets;
        if differ {
            job.targets = Arc::new(relabeled.targets);
        }
        differ
    }

    /// Marks jobs to be relabeled once more.
    pub(super) fn mark_changed(&mut self, jobs: impl IntoIterator<Item = JobName>) {
        self.changed.extend(jobs.into_iter().filter(|job| self.jobs.contains_key(job)));
    }

    /// Everything known, as of the last relabeling.
    pub(super) fn snapshot(&self) -> Discovered {
        let jobs = self.jobs.iter().map(|(name, job)| (name.clone(), Arc::clone(&job.targets))).collect();
        Discovered { config: Arc::clone(&self.config), jobs }
    }
}

/// The groups of a job's static lists; one that is as it was before stays the same group.
fn statics(job: &ScrapeConfig, before: &[Arc<TargetGroup>]) -> Vec<Arc<TargetGroup>> {
    let lists = job.discovery.iter().filter_map(|sd| match sd {
        SdConfig::Static(list) => Some(list),
        SdConfig::File(_)
        | SdConfig::Http(_)
        | SdConfig::Dns(_)
        | SdConfig::Consul(_)
        | SdConfig::Kubernetes(_)
        | SdConfig::Other(_) => None,
    });
    let group = |(index, list): (usize, &narthex_common::config::scrape::StaticConfig)| {
        let group = TargetGroup::of_addresses(index.to_string(), list.labels.clone(), &list.targets);
        before.get(index).filter(|known| ***known == group).cloned().unwrap_or_else(|| Arc::new(group))
    };
    lists.enumerate().map(group).collect()
}
