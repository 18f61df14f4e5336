//! One shard on this machine: its sidecar is kept running, or ended in order.
//!
//! Both are steps that are taken again and again until there is nothing left to do, none of which waits.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use narthex_common::{
    shard::{Ordinal, ShardId},
    time::Timestamp,
};
use narthex_planner::world::OwnBudget;
use narthex_runtime::files::write_atomic;
use rustix::process::Signal;
use tracing::{error, info, warn};

use super::{
    data_dir::{ShardFile, ShardFolder},
    launch::{Launch, runs_with},
    ports::{self, Ports},
    process::{self, Mark, Process},
};
use crate::provider::ShardAddress;

/// How long a process may take to end. A sidecar gives its Prometheus 70 seconds, and needs a moment itself.
const END: Duration = Duration::from_secs(75);

/// A sidecar that ran so long had started well: what ended it is something new, and it is started again at once.
const RAN_WELL: Duration = Duration::from_secs(10);

/// The wait before the next start of one that did not run well, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A shard.
#[derive(Debug)]
pub(super) struct Shard {
    folder: ShardFolder,
    file: ShardFile,
    process: Option<Process>,
    started: Option<Instant>,
    ending: Option<Ending>,
    /// When the next start may be tried, and the wait after that if it fails.
    retry: (Option<Instant>, Duration),
    problem: Option<String>,
}

/// A process that was asked to end.
#[derive(Clone, Copy, Debug)]
struct Ending {
    pid: u32,
    kill_at: Instant,
}

impl Shard {
    /// A shard of which nothing is known but what stands on disk.
    pub(super) const fn new(folder: ShardFolder, file: ShardFile) -> Self {
        let retry = (None, FIRST_PAUSE);
        Self { folder, file, process: None, started: None, ending: None, retry, problem: None }
    }

    pub(super) const fn ports(&self) -> Ports {
        self.file.ports
    }

    /// Whether it is to go.
    pub(super) const fn is_leaving(&self) -> bool {
        self.file.leaving
    }

    /// Decides, for good, that it is to go.
    pub(super) fn leave(&mut self) -> anyhow::Result<()> {
        let file = ShardFile { leaving: true, ..self.file.clone() };
        self.folder.write(&file)?;
        self.file = file;
        Ok(())
    }

    pub(super) fn address(&self, ordinal: Ordinal) -> anyhow::Result<ShardAddress> {
        let url = format!("http://127.0.0.1:{}/", self.file.ports.api).parse()?;
        Ok(ShardAddress { ordinal, id: id(ordinal), url, problem: self.problem.clone(), budget: OwnBudget::default() })
    }

    /// Starts the sidecar unless it runs, or takes over the one that an earlier coordinator started.
    pub(super) fn keep_running(&mut self, ordinal: Ordinal, launch: &Launch, now: Instant) {
        if self.ending.is_some() && !self.end(ordinal, now) {
            return;
        }
        if let Some(process) = &mut self.process {
            let Some(how) = process.ended() else { return };
            self.process = None;
            let words = process::last_words(&self.folder.log()).unwrap_or_default();
            let log = self.folder.log();
            self.problem(ordinal, format!("its sidecar {how}; its log {} ends with: {words}", log.display()));
            if self.started.is_none_or(|started| now.duration_since(started) >= RAN_WELL) {
                self.retry = (None, FIRST_PAUSE);
            } else {
                self.pause(now);
            }
        }
        if self.retry.0.is_some_and(|not_before| now < not_before) {
            return;
        }
        let arguments = launch.arguments(&self.folder, self.file.ports);
        self.process = Process::find(&Mark::sidecar(self.folder.path()), self.last_pid());
        match &self.process {
            Some(process) if runs_with(&process.command_line(), &arguments) => {
                info!(shard = %id(ordinal), pid = process.pid(), "runs already; taking it over");
                (self.started, self.problem) = (None, None);
            }
            Some(_) => {
                info!(shard = %id(ordinal), "runs with other flags than it should; starting it anew");
                self.problem = Some("it is being started anew, with other flags".to_owned());
                self.end(ordinal, now);
            }
            None => match self.start(launch, &arguments) {
                Ok(process) => {
                    info!(shard = %id(ordinal), pid = process.pid(), api = self.file.ports.api, "started");
                    (self.process, self.started, self.problem) = (Some(process), Some(now), None);
                }
                Err(error) => {
                    self.problem(ordinal, format!("{error:#}"));
                    self.pause(now);
                }
            },
        }
    }

    /// Ends what runs of it; whether nothing does any more.
    pub(super) fn end(&mut self, ordinal: Ordinal, now: Instant) -> bool {
        if self.process.as_mut().is_none_or(|process| process.ended().is_some()) {
            // A sidecar that was killed has left its Prometheus behind.
            self.process = Process::find(&Mark::sidecar(self.folder.path()), self.last_pid())
                .or_else(|| Process::find_prometheus(self.folder.path()));
        }
        let Some(process) = &self.process else {
            self.ending = None;
            return true;
        };
        let (shard, pid) = (id(ordinal), process.pid());
        match self.ending {
            Some(ending) if ending.pid == pid => {
                if now >= ending.kill_at {
                    error!(%shard, pid, "did not end within {}s; killing it", END.as_secs());
                    process.signal(Signal::KILL);
                }
            }
            Some(_) | None => {
                info!(%shard, pid, "ending");
                process.signal(Signal::TERM);
                self.ending = Some(Ending { pid, kill_at: now + END });
            }
        }
        false
    }

    /// Puts the folder of an ended shard aside.
    pub(super) fn put_aside(&self, ordinal: Ordinal, now: Timestamp) -> anyhow::Result<()> {
        let aside = self.folder.put_aside(now)?;
        info!(shard = %id(ordinal), data = %aside.display(), "removed; its data is kept");
        Ok(())
    }

    fn start(&self, launch: &Launch, arguments: &[std::ffi::OsString]) -> anyhow::Result<Process> {
        self.check_ports()?;
        let (mark, log) = (Mark::sidecar(self.folder.path()), self.folder.log());
        let process = Process::start(&launch.sidecar, arguments, mark, &log)
            .with_context(|| format!("start {} (flag --shard.local.sidecar)", launch.sidecar.display()))?;
        // Whoever looks for the process without this file searches longer, but finds it.
        if let Err(error) = write_atomic(&self.folder.pid_file(), process.pid().to_string().as_bytes(), None) {
            warn!(file = %self.folder.pid_file().display(), %error, "could not write down which process it is");
        }
        Ok(process)
    }

    /// Says who has one of the shard's ports. Its own Prometheus may: it outlives a sidecar that was killed, and the
    /// next one takes it over.
    fn check_ports(&self) -> anyhow::Result<()> {
        for (port, purpose) in self.file.ports.all() {
            if ports::is_free(port) {
                continue;
            }
            if port == self.file.ports.prometheus && Process::find_prometheus(self.folder.path()).is_some() {
                continue;
            }
            let holder = ports::holder(port).unwrap_or_else(|| "which cannot be seen from here".to_owned());
            bail!(
                "port {port}, which it has for {purpose}, is taken by another process ({holder}); end that one, or \
                 stop the coordinator, remove {} and start it again to give the shard other ports",
                self.folder.file().display()
            );
        }
        Ok(())
    }

    fn last_pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.pid_file()).ok()?.trim().parse().ok()
    }

    fn problem(&mut self, ordinal: Ordinal, problem: String) {
        if self.problem.as_ref() != Some(&problem) {
            warn!(shard = %id(ordinal), problem, "does not run; trying again, the others go on");
            self.problem = Some(problem);
        }
    }

    fn pause(&mut self, now: Instant) {
        let pause = self.retry.1;
        self.retry = (Some(now + pause), (pause * 2).min(LONGEST_PAUSE));
    }
}

/// A shard's name.
pub(super) fn id(ordinal: Ordinal) -> ShardId {
    ShardId(format!("shard-{ordinal}"))
}
