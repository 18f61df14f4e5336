//! `file_sd_configs`: target groups in files, read again when their directory changes and at an interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use futures_util::future::{BoxFuture, FutureExt as _};
use narthex_common::{
    config::{Files, scrape::FileSdConfig},
    semantics::NameValidation,
};
use narthex_runtime::files::Disk;
use tokio::time::MissedTickBehavior;

use super::{
    directories::Directories,
    discoverer::{Discoverer, Update, Updates},
    group::{ListFormat, TargetGroup, read_groups, source},
    metrics::FileMetrics,
};

/// The label that says which file a target comes from.
const FILEPATH_LABEL: &str = "__meta_filepath";

/// How long changes are let come together before the files are read: a file that is written in place is empty first
/// and half written next.
const SETTLING: Duration = Duration::from_millis(100);

/// Reads the files of one `file_sd_configs` entry.
pub(super) struct FileDiscoverer {
    config: FileSdConfig,
    directories: Arc<Directories>,
    reader: Reader,
}

impl FileDiscoverer {
    /// A discoverer that is told of changes by `directories`. Relative patterns are shown as they are from
    /// `working_dir`, if there is one.
    pub(super) fn new(
        config: FileSdConfig,
        names: NameValidation,
        directories: Arc<Directories>,
        working_dir: Option<PathBuf>,
        metrics: FileMetrics,
    ) -> Self {
        let reader = Reader {
            config: config.clone(),
            working_dir,
            names,
            metrics,
            known: BTreeMap::new(),
            bad: BTreeMap::new(),
        };
        Self { config, directories, reader }
    }

    async fn keep_reading(self, updates: Updates) {
        let parents: BTreeSet<PathBuf> =
            self.config.files.iter().map(|pattern| pattern.parent().unwrap_or(Path::new(".")).to_owned()).collect();
        let watch = self.directories.watch(parents.into_iter().collect());
        let mut refresh = tokio::time::interval(self.config.refresh_interval.to_std().max(Duration::from_millis(1)));
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reader = self.reader;
        loop {
            tokio::select! {
                _ = refresh.tick() => watch.renew(),
                () = watch.changed() => tokio::time::sleep(SETTLING).await,
            }
            // Off the async threads: files may be large, and their disk slow.
            let read = tokio::task::spawn_blocking(move || {
                let update = reader.read();
                (reader, update)
            });
            let Ok((same_reader, update)) = read.await else { return };
            reader = same_reader;
            updates.tell(update).await;
        }
    }
}

impl Discoverer for FileDiscoverer {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        self.keep_reading(updates).boxed()
    }
}

/// Reads files, and remembers what has to be taken back when they change.
struct Reader {
    config: FileSdConfig,
    working_dir: Option<PathBuf>,
    names: NameValidation,
    metrics: FileMetrics,
    /// How many groups each good file had.
    known: BTreeMap<PathBuf, usize>,
    /// What is wrong with each bad file: said once, not at every refresh.
    bad: BTreeMap<PathBuf, String>,
}

impl Reader {
    /// Reads all files that there are now. A bad file keeps the groups it had when it was good.
    fn read(&mut self) -> Update {
        let begun = Instant::now();
        let mut update = Update::default();
        let (mut seen, mut failures) = self.list();
        if !failures.is_empty() {
            // What could not be listed is not gone.
            seen.extend(self.known.keys().map(|path| (path.clone(), path.clone())));
        }
        for (path, on_disk) in seen.clone() {
            match read_file(&on_disk, &path, self.names) {
                Ok(None) => drop(seen.remove(&path)),
                Ok(Some((groups, modified))) => {
                    self.metrics.read(&path, modified);
                    self.is_good(&path);
                    self.forget_from(&path, groups.len(), &mut update.groups);
                    self.known.insert(path, groups.len());
                    update.groups.extend(groups);
                }
                Err(error) => failures.push(self.is_bad(&path, error)),
            }
        }
        let gone: Vec<PathBuf> = self.known.keys().filter(|path| !seen.contains_key(*path)).cloned().collect();
        for path in gone {
            self.forget_from(&path, 0, &mut update.groups);
            self.known.remove(&path);
            self.metrics.forget(&path);
        }
        self.bad.retain(|path, _| seen.contains_key(path));
        update.failure = (!failures.is_empty()).then(|| failures.join("; "));
        self.metrics.scanned(begun.elapsed());
        update
    }

    /// The files there are, by what they are called, and what could not be listed.
    fn list(&self) -> (BTreeMap<PathBuf, PathBuf>, Vec<String>) {
        let (mut seen, mut failures) = (BTreeMap::new(), Vec::new());
        for pattern in &self.config.files {
            match Disk.glob(pattern) {
                Ok(paths) => seen.extend(paths.into_iter().map(|path| (self.name_of(&path, pattern), path))),
                Err(error) => failures.push(format!("list {}: {error}", pattern.display())),
            }
        }
        (seen, failures)
    }

    /// What a file is called that matches a pattern: a relative one leads to relative paths in Prometheus.
    fn name_of(&self, path: &Path, pattern: &Path) -> PathBuf {
        let relative_to = self.working_dir.as_ref().filter(|_| self.config.relative.contains(pattern));
        relative_to.and_then(|dir| path.strip_prefix(dir).ok()).unwrap_or(path).to_owned()
    }

    /// Takes back the groups a file had from an index on.
    fn forget_from(&self, path: &Path, index: usize, groups: &mut Vec<TargetGroup>) {
        let known = self.known.get(path).copied().unwrap_or(0);
        groups.extend((index..known).map(|index| TargetGroup::gone(source(&path.to_string_lossy(), index))));
    }

    fn is_good(&mut self, path: &Path) {
        if self.bad.remove(path).is_some() {
            tracing::info!(file = %path.display(), "target groups are readable again");
        }
    }

    fn is_bad(&mut self, path: &Path, error: String) -> String {
        let failure = format!("{}: {error}", path.display());
        if self.bad.get(path) != Some(&error) {
            let kept = self.known.get(path).copied().unwrap_or(0);
            tracing::warn!(
                file = %path.display(), %error, groups = kept,
                "cannot read target groups; keeping the ones it had before"
            );
            self.bad.insert(path.to_owned(), error);
        }
        self.metrics.read_failed();
        failure
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        for path in self.known.keys() {
            self.metrics.forget(path);
        }
    }
}

/// The groups of a file that is called `name`, and when it was changed, in seconds since 1970; none when it is not there
/// (any more).
fn read_file(path: &Path, name: &Path, names: NameValidation) -> Result<Option<(Vec<TargetGroup>, f64)>, String> {
    let text = match Disk.read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit")]
    groups_of(name, &text, names).map(|groups| Some((groups, modified.as_secs() as f64)))
}

/// Reads one file that `file_sd_configs` names, whose ending says how it is written.
///
/// # Errors
/// When it cannot be read, or any part of it is wrong.
pub fn read_target_file(path: &Path, files: &dyn Files, names: NameValidation) -> Result<Vec<TargetGroup>, String> {
    let text = files.read(path).map_err(|error| error.to_string())?;
    groups_of(path, &text, names)
}

fn groups_of(path: &Path, text: &str, names: NameValidation) -> Result<Vec<TargetGroup>, String> {
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let format = if is_json { ListFormat::Json } else { ListFormat::Yaml };
    read_groups(text, format, names, (FILEPATH_LABEL, &path.to_string_lossy()))
}
