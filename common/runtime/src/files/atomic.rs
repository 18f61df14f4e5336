//! Writing a file whole or not at all.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

/// Writes a file whole or not at all: into a temporary file in `staging` (or beside it when none; the same filesystem
/// either way), synced, renamed over `path`, the directory synced. Mode 0600.
///
/// # Errors
/// When any step fails, naming the step. The temporary file is then gone, and `path` is as it was, unless only the
/// last step failed: then the new contents are there but may not survive a loss of power.
pub fn write_atomic(path: &Path, contents: &[u8], staging: Option<&Path>) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let temporary = temporary_path(path, staging.unwrap_or(directory))?;
    let renamed = write_synced(&temporary, contents)
        .map_err(step("write", &temporary))
        .and_then(|()| fs::rename(&temporary, path).map_err(step("put in place", path)));
    if let Err(failure) = renamed {
        // Best effort: when creating it was what failed, there is nothing to remove, and the failure matters more.
        drop(fs::remove_file(&temporary));
        return Err(failure);
    }
    File::open(directory).and_then(|opened| opened.sync_all()).map_err(step("sync", directory))
}

/// A name nobody else uses: two writers of one path must not write into each other's file. It starts with a dot and
/// ends in `.tmp`, so that no pattern for config or target files matches it.
fn temporary_path(path: &Path, directory: &Path) -> io::Result<PathBuf> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let file_name = path.file_name().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("write {}: it names no file", path.display()))
    })?;
    let mut name = OsString::from(".");
    name.push(file_name);
    name.push(format!(".{}.{}.tmp", process::id(), WRITES.fetch_add(1, Ordering::Relaxed)));
    Ok(directory.join(name))
}

fn write_synced(path: &Path, contents: &[u8]) -> io::Result<()> {
    // A file of this name can only be left over from a process of the same id that was killed: it may be overwritten.
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn step<'a>(tried: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> io::Error + 'a {
    move |e| io::Error::new(e.kind(), format!("{tried} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names_in(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_written_file_has_its_contents_and_is_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        write_atomic(&path, b"one", None).unwrap();
        write_atomic(&path, b"two", None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names_in(directory.path()), ["assignment.json"]);
    }

    #[test]
    fn a_watched_directory_sees_no_temporary_file_when_there_is_a_staging_directory() {
        let (watched, staging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_atomic(&watched.path().join("targets.json"), b"[]", Some(staging.path())).unwrap();
        assert_eq!(names_in(watched.path()), ["targets.json"]);
        assert!(names_in(staging.path()).is_empty());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        // A directory cannot be replaced by a file: the rename fails after the temporary file was written.
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        let failure = write_atomic(&path, b"new", None).unwrap_err();
        assert!(failure.to_string().starts_with("put in place "), "{failure}");
        assert_eq!(names_in(directory.path()), ["taken"]);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let failure = write_atomic(&directory.path().join("gone/file"), b"", None).unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::NotFound);
        assert!(failure.to_string().contains("gone"), "{failure}");
    }

    #[test]
    fn an_unwritable_directory_is_named_and_what_was_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        write_atomic(&path, b"old", None).unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o500)).unwrap();
        let outcome = write_atomic(&path, b"new", None);
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        // Nothing is unwritable to root.
        if rustix::process::geteuid().is_root() {
            return;
        }
        let failure = outcome.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::PermissionDenied);
        assert!(failure.to_string().contains(&directory.path().display().to_string()), "{failure}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }
}
