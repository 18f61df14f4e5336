//! Files on disk: reading a config's, and writing so that no reader ever sees half a file.

use std::{
    io,
    path::{Path, PathBuf},
};

use narthex_common::config::Files;

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        let _ = path;
        todo!()
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = pattern;
        todo!()
    }
}

/// Writes a file whole or not at all: into a temporary file in `staging` (or beside it when none; the same filesystem
/// either way), synced, renamed over `path`, the directory synced. Mode 0600.
///
/// # Errors
/// When any step fails; `path` is then as it was, and the temporary file is gone.
pub fn write_atomic(path: &Path, contents: &[u8], staging: Option<&Path>) -> io::Result<()> {
    let _ = (path, contents, staging);
    todo!()
}
