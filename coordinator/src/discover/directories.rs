//! Watched directories: who wants to know when something in a directory changes.
//!
//! One watcher serves all discoveries, because each costs an inotify instance, of which a user has 128 by default.
//! (Prometheus opens one for every `file_sd_configs` entry, and jobs beyond the limit have no targets.)

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::Notify;

/// The watched directories of this process.
#[derive(Debug)]
pub(super) struct Directories {
    watcher: Mutex<Option<RecommendedWatcher>>,
    waiting: Arc<Waiting>,
}

/// Who waits for which directory.
type Waiting = Mutex<BTreeMap<PathBuf, Vec<Arc<Notify>>>>;

impl Directories {
    /// Nothing is watched yet. When the system has no watcher left, changes are found by refreshing only.
    pub(super) fn new() -> Arc<Self> {
        let waiting = Arc::new(Waiting::default());
        let told = Arc::clone(&waiting);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| match event {
            Ok(event) => tell(&told, &event),
            Err(error) => tracing::warn!(%error, "watching directories; changes may be found by refreshing only"),
        });
        let watcher = watcher
            .inspect_err(|error| tracing::warn!(%error, "no directory can be watched; refreshing at intervals only"))
            .ok();
        Arc::new(Self { watcher: Mutex::new(watcher), waiting })
    }

    /// Watches some directories until the returned watch is dropped.
    pub(super) fn watch(self: &Arc<Self>, directories: Vec<PathBuf>) -> DirectoryWatch {
        let changed = Arc::new(Notify::new());
        let mut waiting = lock(&self.waiting);
        for directory in &directories {
            waiting.entry(directory.clone()).or_default().push(Arc::clone(&changed));
        }
        drop(waiting);
        let watch = DirectoryWatch { all: Arc::clone(self), directories, changed };
        watch.renew();
        watch
    }

    fn start(&self, directory: &Path) {
        if let Some(watcher) = lock(&self.watcher).as_mut()
            && let Err(error) = watcher.watch(directory, RecursiveMode::NonRecursive)
        {
            // Mostly a directory that does not exist yet; the next refresh tries again.
            tracing::debug!(directory = %directory.display(), %error, "not watched");
        }
    }

    fn stop(&self, directory: &Path) {
        if let Some(watcher) = lock(&self.watcher).as_mut()
            && let Err(error) = watcher.unwatch(directory)
        {
            tracing::debug!(directory = %directory.display(), %error, "was not watched");
        }
    }
}

/// Some watched directories.
#[derive(Debug)]
pub(super) struct DirectoryWatch {
    all: Arc<Directories>,
    directories: Vec<PathBuf>,
    changed: Arc<Notify>,
}

impl DirectoryWatch {
    /// Waits until something in one of them has changed since this was last waited for.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Watches what could not be watched before: a directory that was missing, or replaced by another of its name.
    pub(super) fn renew(&self) {
        self.directories.iter().for_each(|directory| self.all.start(directory));
    }
}

impl Drop for DirectoryWatch {
    fn drop(&mut self) {
        for directory in &self.directories {
            let mut waiting = lock(&self.all.waiting);
            let Some(others) = waiting.get_mut(directory) else { continue };
            others.retain(|other| !Arc::ptr_eq(other, &self.changed));
            let unused = others.is_empty();
            if unused {
                waiting.remove(directory);
            }
            drop(waiting);
            if unused {
                self.all.stop(directory);
            }
        }
    }
}

fn tell(waiting: &Waiting, event: &Event) {
    if !is_change(event.kind) {
        return;
    }
    let waiting = lock(waiting);
    for path in &event.paths {
        for directory in [Some(path.as_path()), path.parent()].into_iter().flatten() {
            waiting.get(directory).into_iter().flatten().for_each(|waiting| waiting.notify_one());
        }
    }
}

/// Whether files may have other contents now. Reading them, or changing their mode, is no change.
const fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Any | EventKind::Create(_) | EventKind::Remove(_) | EventKind::Other => true,
        EventKind::Modify(modified) => !matches!(modified, ModifyKind::Metadata(_)),
        EventKind::Access(access) => matches!(access, AccessKind::Close(AccessMode::Write)),
    }
}

/// A panic while the lock was held cannot have left anything half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
