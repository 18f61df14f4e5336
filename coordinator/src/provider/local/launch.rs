//! What shards are started with: the binaries, found once, and the sidecar's command line.

use std::{
    ffi::{OsStr, OsString},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use narthex_common::series_limit::SeriesLimits;

use super::{LocalSettings, data_dir::ShardFolder, ports::Ports, process::Mark};

/// The sidecar's name, beside the coordinator or on PATH.
const SIDECAR: &str = "narthex-sidecar";

/// What every shard is started with.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) sidecar: PathBuf,
    prometheus: PathBuf,
    config_file: PathBuf,
    prometheus_args: Vec<String>,
    limits: SeriesLimits,
    log_level: String,
    target_directories: u32,
    token_file: Option<PathBuf>,
}

impl Launch {
    /// Finds the binaries. Sidecars ask for the token in a file, if there is one.
    pub(super) fn new(settings: &LocalSettings, token_file: Option<PathBuf>) -> anyhow::Result<Self> {
        let sidecar = match &settings.sidecar {
            Some(path) => find(path)
                .with_context(|| format!("no narthex-sidecar at {} (flag --shard.local.sidecar)", path.display()))?,
            None => beside_this_binary(SIDECAR).or_else(|| find(Path::new(SIDECAR))).context(
                "narthex-sidecar is neither beside narthex-coordinator nor on PATH; name it with --shard.local.sidecar",
            )?,
        };
        let Some(prometheus) = find(&settings.prometheus) else {
            bail!(
                "no prometheus binary at {:?}, or on PATH if that is a mere name; install one (on Debian the package \
                 prometheus) or name it with --shard.local.prometheus",
                settings.prometheus
            );
        };
        let config_file = std::path::absolute(&settings.config_file)
            .with_context(|| format!("find {} (flag --config.file)", settings.config_file.display()))?;
        let (prometheus_args, log_level) = (settings.prometheus_args.clone(), settings.log_level.clone());
        let limits = settings.limits.clone();
        let target_directories = target_directories(inotify_instances());
        Ok(Self {
            sidecar,
            prometheus,
            config_file,
            prometheus_args,
            limits,
            log_level,
            target_directories,
            token_file,
        })
    }

    pub(super) fn token_file(&self) -> Option<&Path> {
        self.token_file.as_deref()
    }

    /// The arguments of one shard's sidecar.
    pub(super) fn arguments(&self, folder: &ShardFolder, ports: Ports) -> Vec<OsString> {
        let path = |flag: &str, path: &Path| {
            let mut argument = OsString::from(flag);
            argument.push(path);
            argument
        };
        let mut arguments = vec![
            path("--config.file=", &self.config_file),
            Mark::sidecar(folder.path()).as_argument().to_owned(),
            format!("--web.api-addr=127.0.0.1:{}", ports.api).into(),
            format!("--web.proxy-addr=127.0.0.1:{}", ports.proxy).into(),
            format!("--prometheus.url=http://127.0.0.1:{}", ports.prometheus).into(),
            path("--prometheus.exec=", &self.prometheus),
            format!("--target-directories={}", self.target_directories).into(),
            format!("--log.level={}", self.log_level).into(),
        ];
        arguments.extend(self.limits.as_arguments().into_iter().map(OsString::from));
        arguments.extend(self.token_file.as_ref().map(|file| path("--web.token-file=", file)));
        arguments.extend(self.prometheus_args.iter().map(|flag| format!("--prometheus.arg={flag}").into()));
        arguments
    }
}

/// Whether a process runs with these arguments. What it logs may differ: that is no reason to end it. Before the
/// arguments there may be more than the program, when that is a script.
pub(super) fn runs_with(command_line: &[OsString], arguments: &[OsString]) -> bool {
    let what_matters = |arguments: &[OsString]| -> Vec<OsString> {
        arguments.iter().filter(|argument| !argument.as_encoded_bytes().starts_with(b"--log.")).cloned().collect()
    };
    what_matters(command_line).ends_with(&what_matters(arguments))
}

/// Linux gives a user this many inotify instances unless told otherwise.
const DEFAULT_INOTIFY_INSTANCES: u32 = 128;

/// How many inotify instances this user may have on this machine.
fn inotify_instances() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_instances");
    limit.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_INOTIFY_INSTANCES)
}

/// How many directories of target files one shard may watch: the shards of this machine share its inotify instances,
/// and a Prometheus that gets none for a directory has none of its targets. A sixteenth for each leaves room for
/// fifteen shards and for others; more than 32 directories bring nothing.
fn target_directories(inotify_instances: u32) -> u32 {
    (inotify_instances / 16).clamp(1, 32)
}

fn beside_this_binary(name: &str) -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name(name);
    is_executable(&path).then_some(path)
}

/// A program: a path, or a name to be looked for on PATH.
fn find(program: &Path) -> Option<PathBuf> {
    let is_name = program.components().count() == 1 && program.file_name() == Some(program.as_os_str());
    if !is_name {
        return std::path::absolute(program).ok().filter(|path| is_executable(path));
    }
    find_in(&std::env::var_os("PATH")?, program)
}

fn find_in(directories: &OsStr, name: &Path) -> Option<PathBuf> {
    let candidates = std::env::split_paths(directories).map(|directory| directory.join(name));
    candidates.filter_map(|path| std::path::absolute(path).ok()).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn a_sidecar_runs_with_the_wanted_flags_whatever_it_logs() {
        let wanted = arguments("--store.path=/d/shard-0 --log.level=info");
        for line in ["/bin/narthex-sidecar", "/bin/sh /bin/narthex-sidecar"] {
            let line = arguments(&format!("{line} --store.path=/d/shard-0 --log.level=debug"));
            assert!(runs_with(&line, &wanted));
        }
        let other = arguments("/bin/narthex-sidecar --store.path=/d/shard-0 --prometheus.arg=--x --log.level=info");
        assert!(!runs_with(&other, &wanted));
    }

    #[test]
    fn the_shards_of_a_machine_share_its_inotify_instances() {
        assert_eq!(target_directories(DEFAULT_INOTIFY_INSTANCES), 8);
        assert_eq!((target_directories(1), target_directories(1 << 20)), (1, 32));
    }

    #[test]
    fn a_name_is_looked_for_on_path_and_a_path_is_taken_as_it_is() {
        assert!(find(Path::new("sh")).unwrap().is_absolute());
        assert_eq!(find(Path::new("/bin/sh")), Some(PathBuf::from("/bin/sh")));
        assert_eq!(find(Path::new("./sh")), None);
        assert_eq!(find(Path::new("no-such-program-anywhere")), None);
    }
}
