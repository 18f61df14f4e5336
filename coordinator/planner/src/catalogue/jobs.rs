//! The catalogue's jobs: what discovery says of each, and what its targets weigh.

use std::collections::{BTreeMap, BTreeSet};

use hashbrown::{HashTable, hash_table};
use narthex_common::{job::JobName, load::Load};
use twox_hash::XxHash64;

use super::{TargetIx, entry::JobIx, estimate::Distribution};
use crate::world::JobView;

/// All jobs that a target ever had.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: Vec<Job>,
    places: HashTable<JobIx>,
    /// The loads of all targets.
    all: Distribution,
    /// Whether a load has changed since the estimates were made.
    changed: bool,
}

#[derive(Debug)]
struct Job {
    name: JobName,
    /// Whether it is in the config, and has not answered.
    undiscovered: bool,
    loads: Distribution,
    /// The targets of which no load is known. No worklist, whose bits are as many as there are targets of all jobs.
    unknown: BTreeSet<TargetIx>,
    /// What such a target is planned with.
    estimate: Option<Load>,
}

impl Job {
    fn of(name: JobName) -> Self {
        let (loads, unknown) = (Distribution::default(), BTreeSet::new());
        Self { name, undiscovered: false, loads, unknown, estimate: None }
    }
}

fn hash_of(name: &JobName) -> u64 {
    XxHash64::oneshot(0, name.as_str().as_bytes())
}

impl Jobs {
    pub(super) fn place_of(&mut self, name: &JobName) -> JobIx {
        let Self { jobs, places, .. } = self;
        let hash_at = |JobIx(job): &JobIx| hash_of(&jobs[*job as usize].name);
        match places.entry(hash_of(name), |JobIx(job)| jobs[*job as usize].name == *name, hash_at) {
            hash_table::Entry::Occupied(known) => *known.get(),
            hash_table::Entry::Vacant(vacant) => {
                let job = JobIx(u32::try_from(jobs.len()).unwrap_or(u32::MAX));
                vacant.insert(job);
                jobs.push(Job::of(name.clone()));
                job
            }
        }
    }

    /// Takes over what discovery says of the jobs of the config.
    pub(super) fn discover(&mut self, jobs: &BTreeMap<JobName, JobView>) {
        for job in &mut self.jobs {
            job.undiscovered = false;
        }
        for (name, view) in jobs {
            let JobIx(job) = self.place_of(name);
            self.jobs[job as usize].undiscovered = !view.discovered;
        }
    }

    pub(super) fn is_undiscovered(&self, JobIx(job): JobIx) -> bool {
        self.jobs[job as usize].undiscovered
    }

    pub(super) fn add(&mut self, JobIx(job): JobIx, load: Load) {
        self.jobs[job as usize].loads.add(load);
        self.all.add(load);
        self.changed = true;
    }

    pub(super) fn remove(&mut self, JobIx(job): JobIx, load: Load) {
        self.jobs[job as usize].loads.remove(load);
        self.all.remove(load);
        self.changed = true;
    }

    /// Notes that nobody knows a target's load; returns what it is planned with for now.
    pub(super) fn add_unknown(&mut self, JobIx(job): JobIx, target: TargetIx) -> Option<Load> {
        let job = &mut self.jobs[job as usize];
        job.unknown.insert(target);
        // The first one of its job: the other jobs' targets may say something.
        self.changed |= job.estimate.is_none();
        job.estimate
    }

    /// Notes that a target's load is known by now, or that the target is gone.
    pub(super) fn remove_unknown(&mut self, JobIx(job): JobIx, target: TargetIx) {
        self.jobs[job as usize].unknown.remove(&target);
    }

    /// Makes the estimates anew; returns the targets whose estimate is another one than before.
    pub(super) fn estimate(&mut self) -> Vec<(TargetIx, Option<Load>)> {
        if !std::mem::take(&mut self.changed) {
            return Vec::new();
        }
        let of_all = self.all.median();
        let mut changed = Vec::new();
        for job in &mut self.jobs {
            let estimate = job.loads.median().or(of_all);
            if estimate != job.estimate {
                job.estimate = estimate;
                changed.extend(job.unknown.iter().map(|target| (*target, estimate)));
            }
        }
        changed
    }
}
