//! Files on disk: reading a config's, and writing so that no reader ever sees half a file.

mod atomic;
mod pattern;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use atomic::write_atomic;
use narthex_common::config::Files;

/// The files of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    fn glob(&self, pattern: &Path) -> io::Result<Vec<PathBuf>> {
        pattern::glob(pattern)
    }
}
