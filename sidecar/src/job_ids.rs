//! Opaque job ids: how the proxy learns which job a scrape belongs to.
//!
//! Prometheus sends the user part of `proxy_url` with every scrape. A job's name may hold anything, so what stands
//! there is an id made from the name: the same after every restart, so that a config that did not change is written
//! as it was.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{config::Config, fingerprint::Fingerprinter, job::JobName};

/// The jobs of a config and their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobIds {
    by_name: BTreeMap<JobName, String>,
    by_id: BTreeMap<String, JobName>,
    relabeled_here: BTreeSet<JobName>,
}

impl JobIds {
    /// The ids of a config's jobs.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let relabeled_here = config.jobs.iter().filter(|job| job.relabeled_by.is_shards());
        Self {
            relabeled_here: relabeled_here.map(|job| job.job_name.clone()).collect(),
            ..Self::new(config.jobs.iter().map(|job| &job.job_name))
        }
    }

    /// Gives every job its id: `j` and eight hexadecimal digits of its name's fingerprint. When two names would share
    /// one, the name that sorts last gets the digits of a further try.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a JobName>) -> Self {
        Self::with_digest(names, digits)
    }

    fn with_digest<'a>(names: impl IntoIterator<Item = &'a JobName>, digest: impl Fn(&JobName, u32) -> String) -> Self {
        let mut ids = Self::default();
        let sorted: std::collections::BTreeSet<&JobName> = names.into_iter().collect();
        for name in sorted {
            let free = (0..).map(|attempt| digest(name, attempt)).find(|id| !ids.by_id.contains_key(id));
            if let Some(id) = free {
                ids.by_id.insert(id.clone(), name.clone());
                ids.by_name.insert(name.clone(), id);
            }
        }
        ids
    }

    /// The id of a job.
    #[must_use]
    pub fn id(&self, name: &JobName) -> Option<&str> {
        self.by_name.get(name).map(String::as_str)
    }

    /// The job of an id.
    #[must_use]
    pub fn job(&self, id: &str) -> Option<&JobName> {
        self.by_id.get(id)
    }

    /// Whether the targets of a job are relabeled here, by the shard's Prometheus.
    #[must_use]
    pub fn is_relabeled_here(&self, name: &JobName) -> bool {
        self.relabeled_here.contains(name)
    }

    /// All jobs with their ids, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&JobName, &str)> {
        self.by_name.iter().map(|(name, id)| (name, id.as_str()))
    }
}

fn digits(name: &JobName, attempt: u32) -> String {
    let mut fingerprint = Fingerprinter::default();
    fingerprint.add(name.as_str());
    if attempt > 0 {
        fingerprint.add(&attempt.to_string());
    }
    let mut id = format!("j{}", fingerprint.finish());
    id.truncate(1 + 8);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_keeps_its_id_whatever_other_jobs_there_are() {
        let (a, b): (JobName, JobName) = ("a".into(), "b".into());
        let (one, two) = (JobIds::new([&a]), JobIds::new([&b, &a]));
        assert_eq!(one.id(&a), two.id(&a));
        assert_eq!(two.job(two.id(&b).unwrap()), Some(&b));
        assert_eq!(one.id(&b), None);
    }

    #[test]
    fn an_id_is_fit_for_the_user_part_of_an_url() {
        let job: JobName = "päth/../with:all@sorts of%things".into();
        let ids = JobIds::new([&job]);
        assert!(ids.id(&job).unwrap().bytes().all(|b| b.is_ascii_alphanumeric()));
    }

    #[test]
    fn two_jobs_never_share_an_id() {
        let (a, b): (JobName, JobName) = ("a".into(), "b".into());
        let ids = JobIds::with_digest([&b, &a], |_, attempt| format!("j{attempt}"));
        assert_eq!((ids.id(&a), ids.id(&b)), (Some("j0"), Some("j1")));
    }
}
