//! Putting an assignment into force.

use std::io;

use narthex_common::{
    assignment::{AssignedTarget, Assignment, AssignmentUpdate, Revision, UpdateRefused},
    fingerprint::Fingerprint,
};
use narthex_runtime::clock;

use super::Shard;
use crate::{
    assignment::{self, Saved},
    leaving,
    prometheus::PrometheusControl,
};

/// Why an assignment was refused.
#[derive(Debug, thiserror::Error)]
pub enum PutRefused {
    /// It was planned for another config than the one in force here.
    #[error("the assignment was planned for config {planned_for}, the shard runs {running}")]
    OtherConfig {
        /// The config it was planned for.
        planned_for: Fingerprint,
        /// The config in force.
        running: Fingerprint,
    },
    /// It does not fit the assignment in force, or does not fit itself.
    #[error(transparent)]
    Update(#[from] UpdateRefused),
    /// It names a job that the config does not have.
    #[error("the config has no job {job:?}")]
    UnknownJob {
        /// The job.
        job: String,
    },
    /// Coordinator and shard do not agree on who relabels a job's targets: they assume different versions of Prometheus.
    #[error(
        "whether job {job:?} is relabeled by its shards, coordinator and shard judge differently: do they assume the same \
         version of Prometheus (flag --prometheus.version)?"
    )]
    OtherRelabeling {
        /// The job.
        job: String,
    },
    /// It could not be written. The old one stays in force.
    #[error("keep the assignment: {0}")]
    NotKept(#[source] io::Error),
}

impl<P: PrometheusControl> Shard<P> {
    /// Puts an assignment into force: on disk first, then for the proxy, then for Prometheus. Either all of it happens
    /// or nothing.
    pub(super) fn put(&mut self, update: AssignmentUpdate) -> Result<Revision, PutRefused> {
        let handed_over = update.handed_over.clone();
        let next = self.next(update)?;
        if next == self.saved.assignment && !self.is_lost {
            return Ok(next.revision);
        }
        let now = clock::now();
        let idle_since = next.targets.is_empty().then(|| self.saved.idle_since.unwrap_or(now));
        let mut leaving = self.saved.leaving.clone();
        let before = &self.saved.assignment;
        let mut left_plainly = 0;
        if self.setup.kind.removes_pools_without_a_trace() {
            leaving.follow(&leaving::Update { before, after: &next, handed_over: &handed_over, now });
        } else {
            let is_gone = |id: &&_| before.targets.contains_key(*id) && !next.targets.contains_key(*id);
            left_plainly = handed_over.iter().filter(is_gone).count();
        }
        let next = Saved { assignment: next, idle_since, leaving };

        let staged = self.setup.target_files.stage(&self.target_files_of(&next)).map_err(PutRefused::NotKept)?;
        assignment::save(&self.setup.assignment, &next).map_err(PutRefused::NotKept)?;
        let changed = staged.len();
        let before = std::mem::replace(&mut self.saved, next);
        self.departed.note(&before.assignment, &self.saved.assignment, now);
        // The proxy must know a target before Prometheus asks for it.
        self.tell_routes();
        if let Err(error) = staged.put_in_place() {
            self.take_back(before, &error);
            return Err(PutRefused::NotKept(error));
        }
        self.is_lost = false;
        self.told.metrics.left_plainly(left_plainly);
        self.tell();
        tracing::info!(
            revision = self.saved.assignment.revision.0,
            targets = self.saved.assignment.targets.len(),
            changed_files = changed,
            "assignment in force"
        );
        Ok(self.saved.assignment.revision)
    }

    fn next(&self, update: AssignmentUpdate) -> Result<Assignment, PutRefused> {
        let running = self.config.fingerprint();
        if update.config != running {
            return Err(PutRefused::OtherConfig { planned_for: update.config, running });
        }
        let next = self.saved.assignment.updated(update)?;
        for AssignedTarget { target, .. } in next.targets.values() {
            if self.ids.id(&target.job).is_none() {
                return Err(PutRefused::UnknownJob { job: target.job.to_string() });
            }
            if self.ids.is_relabeled_here(&target.job) != target.is_relabeled_by_shard()
                && !self.saved.assignment.targets.contains_key(&target.id)
            {
                return Err(PutRefused::OtherRelabeling { job: target.job.to_string() });
            }
        }
        Ok(next)
    }

    /// Goes back to the assignment before: a target file could not be put in place after all.
    fn take_back(&mut self, before: Saved, error: &io::Error) {
        let failed = std::mem::replace(&mut self.saved, before);
        self.departed.note(&failed.assignment, &self.saved.assignment, clock::now());
        self.tell_routes();
        let files = self.target_files();
        let restored = if self.is_lost {
            Ok(())
        } else {
            assignment::save(&self.setup.assignment, &self.saved)
                .and_then(|()| self.setup.target_files.stage(&files)?.put_in_place())
        };
        match restored {
            Ok(()) => tracing::error!(%error, "assignment not in force; the old one is"),
            Err(also) => tracing::error!(
                %error, %also,
                "assignment not in force, and the old one could not be put back on disk: a restart may take up the new one"
            ),
        }
    }
}
