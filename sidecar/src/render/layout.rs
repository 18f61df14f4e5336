//! Where each job's target file lies, so that Prometheus does not run out of inotify instances.
//!
//! Prometheus holds one inotify instance for each distinct `file_sd_configs` entry, of which a user has 128 by default;
//! a job whose entry gets none has no targets at all. Up to [`OWN_DIRECTORIES`] jobs have a directory, and so an entry,
//! of their own: a change is then read by that job alone. More jobs share a fixed number of directories.

use std::path::PathBuf;

use narthex_common::fingerprint::Fingerprinter;

use crate::job_ids::JobIds;

/// Up to so many jobs have a directory each: a quarter of the inotify instances that Linux gives a user by default.
pub const OWN_DIRECTORIES: usize = 32;
/// How many directories more jobs share. With 16 of them a changed target of 100 jobs cost Prometheus three times the
/// CPU it costs with a directory each, with one directory sixty times.
pub const SHARED_DIRECTORIES: u64 = 32;

/// How target files are spread over directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every job has its own directory.
    Own,
    /// Jobs share directories, and pick their own targets out of all that lie there.
    Shared,
}

impl Layout {
    /// The layout for all jobs of a config.
    #[must_use]
    pub fn of(ids: &JobIds) -> Self {
        if ids.iter().count() <= OWN_DIRECTORIES { Self::Own } else { Self::Shared }
    }

    /// The directory of a job, within the target directory.
    #[must_use]
    pub fn directory(self, id: &str) -> String {
        match self {
            Self::Own => id.to_owned(),
            Self::Shared => {
                let mut fingerprint = Fingerprinter::default();
                let digest = fingerprint.add(id).finish().0;
                format!("b{:02}", digest % SHARED_DIRECTORIES)
            }
        }
    }

    /// The target file of a job, within the target directory.
    #[must_use]
    pub fn file(self, id: &str) -> PathBuf {
        PathBuf::from(self.directory(id)).join(format!("{id}.json"))
    }
}
