//! The target files on disk, which Prometheus watches.
//!
//! Prometheus reads again when something happens in a file's directory. A change is therefore prepared in a staging
//! directory ([`TargetFiles::stage`]), where most of what can fail does, and then takes effect by renames
//! ([`Staged::put_in_place`]). A file whose text did not change is left alone. Nothing is ever deleted while a config
//! that names it may be in use: that would end its targets.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use crate::store::create_directory;

/// Where target files lie and are prepared.
#[derive(Clone, Debug)]
pub struct TargetFiles {
    /// The directory that Prometheus watches the subdirectories of.
    pub directory: PathBuf,
    /// A directory on the same filesystem that nobody watches.
    pub staging: PathBuf,
}

/// Changed files, ready to be put in place.
#[derive(Debug, Default)]
pub struct Staged(Vec<(PathBuf, PathBuf)>);

impl TargetFiles {
    /// Prepares those of the files that differ from what is in place.
    ///
    /// # Errors
    /// When a directory or file cannot be written; nothing has changed then.
    pub fn stage(&self, files: &BTreeMap<PathBuf, String>) -> io::Result<Staged> {
        self.stage_unless(files, |path, text| fs::read(path).is_ok_and(|there| there == text.as_bytes()))
    }

    /// Prepares those of the files that are not there at all.
    ///
    /// # Errors
    /// When a directory or file cannot be written; nothing has changed then.
    pub fn stage_missing(&self, files: &BTreeMap<PathBuf, String>) -> io::Result<Staged> {
        self.stage_unless(files, |path, _| path.exists())
    }

    fn stage_unless(
        &self,
        files: &BTreeMap<PathBuf, String>,
        is_fine: impl Fn(&Path, &str) -> bool,
    ) -> io::Result<Staged> {
        let mut staged = Staged::default();
        for (relative, text) in files {
            let path = self.directory.join(relative);
            if is_fine(&path, text) {
                continue;
            }
            if let Some(parent) = path.parent() {
                create_directory(parent).map_err(|e| named("create", parent, &e))?;
            }
            let temporary = self.staging.join(staged.0.len().to_string());
            staged.0.push((temporary.clone(), path));
            write_synced(&temporary, text).map_err(|e| named("write", &temporary, &e))?;
        }
        Ok(staged)
    }

    /// Removes what lies in the directory and belongs to none of the files: jobs that are gone. Only to be called when
    /// the config in use names none of it.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove_others(&self, files: &BTreeMap<PathBuf, String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            // What else lies there is nobody's here, and nothing that Prometheus reads.
            if !entry.file_type()?.is_dir() {
                continue;
            }
            let directory = entry.path();
            for entry in fs::read_dir(&directory)? {
                let path = entry?.path();
                if path.strip_prefix(&self.directory).is_ok_and(|relative| !files.contains_key(relative)) {
                    fs::remove_file(&path).map_err(|e| named("remove", &path, &e))?;
                }
            }
            if !files.keys().any(|file| self.directory.join(file).starts_with(&directory)) {
                fs::remove_dir(&directory).map_err(|e| named("remove", &directory, &e))?;
            }
        }
        Ok(())
    }
}

impl Staged {
    /// How many files change.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no file changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts the files in place.
    ///
    /// # Errors
    /// When a file cannot be renamed; those before it are in place.
    pub fn put_in_place(self) -> io::Result<()> {
        for (temporary, path) in &self.0 {
            fs::rename(temporary, path).map_err(|e| named("put in place", path, &e))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (temporary, _) in &self.0 {
            // Those that were put in place are gone from here.
            drop(fs::remove_file(temporary));
        }
    }
}

fn write_synced(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn named(tried: &str, path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{tried} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(entries: &[(&str, &str)]) -> BTreeMap<PathBuf, String> {
        entries.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect()
    }

    fn empty() -> (tempfile::TempDir, TargetFiles) {
        let root = tempfile::tempdir().unwrap();
        let target_files = TargetFiles { directory: root.path().join("targets"), staging: root.path().join("staging") };
        fs::create_dir(&target_files.directory).unwrap();
        fs::create_dir(&target_files.staging).unwrap();
        (root, target_files)
    }

    #[test]
    fn only_what_changed_is_written() {
        let (_root, target_files) = empty();
        let before = files(&[("j1/j1.json", "one"), ("j2/j2.json", "two")]);
        target_files.stage(&before).unwrap().put_in_place().unwrap();
        let staged = target_files.stage(&files(&[("j1/j1.json", "one"), ("j2/j2.json", "three")])).unwrap();
        assert_eq!(staged.len(), 1);
        staged.put_in_place().unwrap();
        assert_eq!(fs::read_to_string(target_files.directory.join("j2/j2.json")).unwrap(), "three");
    }

    #[test]
    fn what_is_staged_and_not_put_in_place_leaves_nothing_behind() {
        let (_root, target_files) = empty();
        drop(target_files.stage(&files(&[("j1/j1.json", "one")])).unwrap());
        assert!(!target_files.directory.join("j1/j1.json").exists());
        assert_eq!(fs::read_dir(&target_files.staging).unwrap().count(), 0);
    }

    #[test]
    fn files_of_jobs_that_are_gone_are_removed_when_asked() {
        let (_root, target_files) = empty();
        let before = files(&[("b01/j1.json", "one"), ("b01/j2.json", "two"), ("b02/j3.json", "three")]);
        target_files.stage(&before).unwrap().put_in_place().unwrap();
        fs::write(target_files.directory.join("a-stranger"), "").unwrap();
        let after = files(&[("b01/j1.json", "one")]);
        target_files.remove_others(&after).unwrap();
        assert!(target_files.directory.join("b01/j1.json").exists());
        assert!(!target_files.directory.join("b01/j2.json").exists());
        assert!(!target_files.directory.join("b02").exists());
    }
}
