//! Where each job's target file lies, so that Prometheus does not run out of inotify instances.
//!
//! Prometheus holds one inotify instance for each distinct `file_sd_configs` entry, of which a user has 128 by default;
//! a job whose entry gets none has no targets at all. Up to a number of jobs, each has a directory, and so an entry, of
//! its own: a change is then read by that job alone. More jobs share that number of directories.

use std::{num::NonZeroU32, path::PathBuf};

use narthex_common::fingerprint::Fingerprinter;

use crate::{job_ids::JobIds, leaving::GenerationId};

/// The directories of a shard that has a machine to itself: a quarter of the inotify instances that Linux gives a user
/// by default. With 16 of them shared a changed target of 100 jobs cost Prometheus three times the CPU it costs with a
/// directory each, with one directory sixty times. Unwrapped by the compiler.
pub const DEFAULT_DIRECTORIES: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// How target files are spread over directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every job has its own directory.
    Own,
    /// Jobs share directories, and pick their own targets out of all that lie there.
    Shared {
        /// How many directories there are.
        directories: NonZeroU32,
    },
}

impl Layout {
    /// The layout for all jobs of a config, with at most so many directories.
    #[must_use]
    pub fn of(ids: &JobIds, directories: NonZeroU32) -> Self {
        let enough = u32::try_from(ids.iter().count()).is_ok_and(|jobs| jobs <= directories.get());
        if enough { Self::Own } else { Self::Shared { directories } }
    }

    /// Whether a directory may hold targets of several jobs.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        matches!(self, Self::Shared { .. })
    }

    /// The directory of a job, within the target directory.
    #[must_use]
    pub fn directory(self, id: &str) -> String {
        match self {
            Self::Own => id.to_owned(),
            Self::Shared { directories } => {
                let mut fingerprint = Fingerprinter::default();
                let digest = fingerprint.add(id).finish().0;
                format!("b{:02}", digest % u64::from(directories.get()))
            }
        }
    }

    /// The directory of a generation of leaving pools. All of them read the one file in it, so that a target that enters
    /// costs Prometheus one inotify instance and one file to read.
    #[must_use]
    pub fn leaving_directory(generation: GenerationId) -> String {
        format!("leaving-{generation}")
    }

    /// The target file of a generation of leaving pools.
    #[must_use]
    pub fn leaving_file(generation: GenerationId) -> PathBuf {
        PathBuf::from(Self::leaving_directory(generation)).join("targets.json")
    }

    /// The target file of a job, within the target directory.
    #[must_use]
    pub fn file(self, id: &str) -> PathBuf {
        PathBuf::from(self.directory(id)).join(format!("{id}.json"))
    }
}
