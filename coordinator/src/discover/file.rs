//! `file_sd_configs`: target groups in files, read again when their directory changes and at an interval.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
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
    /// A discoverer that is told of changes by `directories`.
    pub(super) fn new(config: FileSdConfig, names: NameValidation, directories: Arc<Directories>) -> Self {
        let reader = Reader { patterns: config.files.clone(), names, known: BTreeMap::new(), bad: BTreeMap::new() };
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
    patterns: Vec<PathBuf>,
    names: NameValidation,
    /// How many groups each good file had.
    known: BTreeMap<PathBuf, usize>,
    /// What is wrong with each bad file: said once, not at every refresh.
    bad: BTreeMap<PathBuf, String>,
}

impl Reader {
    /// Reads all files that there are now. A bad file keeps the groups it had when it was good.
    fn read(&mut self) -> Update {
        let mut update = Update::default();
        let mut failures = Vec::new();
        let mut seen = BTreeSet::new();
        for pattern in &self.patterns {
            match Disk.glob(pattern) {
                Ok(paths) => seen.extend(paths),
                Err(error) => failures.push(format!("list {}: {error}", pattern.display())),
            }
        }
        if !failures.is_empty() {
            // What could not be listed is not gone.
            seen.extend(self.known.keys().cloned());
        }
        for path in seen.clone() {
            match read_file(&path, self.names) {
                Ok(None) => drop(seen.remove(&path)),
                Ok(Some(groups)) => {
                    self.is_good(&path);
                    self.forget_from(&path, groups.len(), &mut update.groups);
                    self.known.insert(path, groups.len());
                    update.groups.extend(groups);
                }
                Err(error) => failures.push(self.is_bad(&path, error)),
            }
        }
        let gone: Vec<PathBuf> = self.known.keys().filter(|path| !seen.contains(*path)).cloned().collect();
        for path in gone {
            self.forget_from(&path, 0, &mut update.groups);
            self.known.remove(&path);
        }
        self.bad.retain(|path, _| seen.contains(path));
        update.failure = (!failures.is_empty()).then(|| failures.join("; "));
        update
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
        failure
    }
}

/// The groups of a file; none when it is not there (any more).
fn read_file(path: &Path, names: NameValidation) -> Result<Option<Vec<TargetGroup>>, String> {
    match Disk.read(path) {
        Ok(text) => groups_of(path, &text, names).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
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
