//! Processes of shards: started here, or found where an earlier coordinator or sidecar left them.
//!
//! A process is known by an argument that names its shard's folder. The number in `sidecar.pid` only says where to look
//! first: numbers are used again, and a coordinator may be killed before it writes one down.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

/// A log larger than this is put aside at the next start.
const ROTATE_AT: u64 = 16 << 20;

/// How much of a log's end is looked at for what a sidecar said last.
const TAIL: u64 = 4 << 10;

/// The argument by which a shard's process is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark(OsString);

impl Mark {
    /// A sidecar's.
    pub(super) fn sidecar(store: &Path) -> Self {
        Self::new("--store.path=", store)
    }

    /// Those of the Prometheus which a sidecar runs: a server's, and an agent's.
    pub(super) fn prometheus(store: &Path) -> [Self; 2] {
        [("--storage.tsdb.path=", "data"), ("--storage.agent.path=", "data-agent")]
            .map(|(flag, data)| Self::new(flag, &store.join(data)))
    }

    fn new(flag: &str, path: &Path) -> Self {
        let mut argument = OsString::from(flag);
        argument.push(path);
        Self(argument)
    }

    pub(super) fn as_argument(&self) -> &OsStr {
        &self.0
    }

    fn is_in(&self, command: &[OsString]) -> bool {
        command.iter().skip(1).any(|argument| *argument == self.0)
    }
}

/// A process that ran when it was last looked at.
#[derive(Debug)]
pub(super) struct Process {
    pid: u32,
    mark: Mark,
    /// Set for a process that this coordinator started: it has to take note of its end.
    child: Option<Child>,
}

impl Process {
    /// Starts a process in a group of its own, which a Ctrl-C in the coordinator's terminal does not reach.
    pub(super) fn start(program: &Path, arguments: &[OsString], mark: Mark, log: &Path) -> io::Result<Self> {
        rotate(log);
        let output = File::options().append(true).create(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()?;
        Ok(Self { pid: child.id(), mark, child: Some(child) })
    }

    /// The process with the mark, if one runs; looked for at `pid` first.
    pub(super) fn find(mark: &Mark, pid: Option<u32>) -> Option<Self> {
        let has_mark = |pid: &u32| command_line(*pid).is_some_and(|command| mark.is_in(&command));
        let pid = pid.filter(has_mark).or_else(|| pids().find(has_mark))?;
        Some(Self { pid, mark: mark.clone(), child: None })
    }

    /// The Prometheus that a sidecar with this store runs or has left behind.
    pub(super) fn find_prometheus(store: &Path) -> Option<Self> {
        Mark::prometheus(store).iter().find_map(|mark| Self::find(mark, None))
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    /// What it was started with.
    pub(super) fn command_line(&self) -> Vec<OsString> {
        command_line(self.pid).unwrap_or_default()
    }

    /// How it ended, once it has.
    pub(super) fn ended(&mut self) -> Option<String> {
        match &mut self.child {
            None => {
                let runs = command_line(self.pid).is_some_and(|command| self.mark.is_in(&command));
                (!runs).then(|| "ended".to_owned())
            }
            Some(child) => match child.try_wait() {
                Ok(None) => None,
                Ok(Some(status)) => Some(format!("ended with {status}")),
                Err(error) => Some(format!("was lost sight of: {error}")),
            },
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        if let Some(Err(error)) = pid.map(|pid| kill_process(pid, signal)) {
            // It has ended meanwhile, or is another user's: then it goes on and is reported as going on.
            tracing::debug!(pid = self.pid, ?signal, %error, "signal not delivered");
        }
    }
}

/// All processes that can be seen.
pub(super) fn pids() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// What a process was started with; none for one that has ended, also when nobody has taken note of its end yet.
fn command_line(pid: u32) -> Option<Vec<OsString>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let line = line.strip_suffix(b"\0")?;
    Some(line.split(|byte| *byte == 0).map(|argument| OsStr::from_bytes(argument).to_owned()).collect())
}

/// Puts a large log aside, over the one put aside before.
fn rotate(log: &Path) {
    let aside: PathBuf = log.with_extension("log.1");
    if fs::metadata(log).is_ok_and(|metadata| metadata.len() > ROTATE_AT)
        && let Err(error) = fs::rename(log, aside)
    {
        tracing::warn!(log = %log.display(), %error, "the sidecar's log grows on");
    }
}

/// The last line of a log.
pub(super) fn last_words(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut tail = Vec::new();
    file.take(TAIL).read_to_end(&mut tail).ok()?;
    let tail = String::from_utf8_lossy(&tail);
    tail.lines().map(str::trim).rfind(|line| !line.is_empty()).map(str::to_owned)
}
