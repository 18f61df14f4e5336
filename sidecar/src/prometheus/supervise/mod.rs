//! Running a Prometheus: started when it is not there, started again when it ends, adopted when it survived the
//! sidecar that started it, ended in order with this one.
//!
//! It is no ordinary child: it has a process group of its own and writes its log to a file, so that it goes on when
//! the sidecar is killed. Which process it is stands in a file; before that is believed, the process' own command line
//! must say that it works with this sidecar's config and data.

mod log;
mod process;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use narthex_runtime::shutdown::Shutdown;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

use self::{
    log::Log,
    process::{Adopted, PidFile, Process},
};
use crate::{
    prometheus::{PrometheusAddress, PrometheusKind},
    store::Store,
};

/// How long to wait before the second start, doubled with every failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest wait between two starts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A Prometheus that ran so long had started well: what ended it is something new.
const RAN_WELL: Duration = Duration::from_secs(60);
/// How long Prometheus may take to end: while its remote storage is away, `remote_write` alone takes the first minute.
/// Its data is safe in its write-ahead log, whatever happens then.
const END: Duration = Duration::from_secs(70);

/// What a Prometheus of any version says when it ends because of its config.
const CONFIG_REFUSED: &str = "Error loading config";

/// What to run.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The binary.
    pub program: PathBuf,
    /// Where it is to listen.
    pub address: PrometheusAddress,
    /// The generated config.
    pub config: PathBuf,
    /// What kind it is.
    pub kind: PrometheusKind,
    /// Flags of the user.
    pub args: Vec<String>,
}

/// Runs one Prometheus.
#[derive(Debug)]
pub struct Supervisor {
    command: Vec<String>,
    /// The parts of a command by any of which a process is known to be this sidecar's: one for each kind of Prometheus
    /// that it may have been.
    marks: Vec<[String; 2]>,
    listen: String,
    pid_file: PidFile,
    log: Log,
    starts: Counter,
    refusals: mpsc::Sender<String>,
}

impl Supervisor {
    /// A supervisor that has started nothing yet. `starts` counts; `refusals` hears why Prometheus ended, when it was for
    /// its config.
    #[must_use]
    pub fn new(launch: Launch, store: &Store, starts: Counter, refusals: mpsc::Sender<String>) -> Self {
        let mark = |kind: PrometheusKind| {
            let data = store.prometheus_data(kind);
            [format!("--config.file={}", launch.config.display()), format!("{}={}", kind.data_flag(), data.display())]
        };
        let listen = launch.address.authority().to_owned();
        let mut command = vec![launch.program.display().to_string()];
        command.extend(mark(launch.kind));
        command.push(format!("--web.listen-address={listen}"));
        command.push("--web.enable-lifecycle".to_owned());
        let marks = PrometheusKind::RUN_BY_SIDECAR.map(mark).into();
        command.extend(launch.args);
        let (pid_file, log) = (PidFile(store.prometheus_pid()), Log(store.prometheus_log()));
        Self { command, marks, listen, pid_file, log, starts, refusals }
    }

    /// Keeps Prometheus running until the process is to end, then ends it in order.
    pub async fn run(self, shutdown: Shutdown) {
        let mut pause = FIRST_PAUSE;
        let mut survivor = self.adopt().await;
        loop {
            let began = Instant::now();
            let log_from = self.log.len();
            let process = match survivor.take() {
                Some(adopted) => Ok(adopted),
                None => self.start(),
            };
            let ended = match process {
                Ok(mut process) => tokio::select! {
                    ended = process.ended() => ended,
                    () = shutdown.clone().wait() => return self.end(process).await,
                },
                Err(error) => format!("could not be started: {error}"),
            };
            self.pid_file.remove();
            if began.elapsed() >= RAN_WELL {
                pause = FIRST_PAUSE;
            }
            let last_words = self.log.last_error_since(log_from);
            if let Some(words) = last_words.as_ref().filter(|words| words.contains(CONFIG_REFUSED)) {
                // When the one before has not been heard yet, this one says the same.
                drop(self.refusals.try_send(words.clone()));
            }
            tracing::error!(
                listen = %self.listen,
                log = %self.log.0.display(),
                last_words = last_words.as_deref().unwrap_or("none"),
                "Prometheus {ended} after {:.1}s; starting it again in {}s",
                began.elapsed().as_secs_f64(),
                pause.as_secs()
            );
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shutdown.clone().wait() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The Prometheus that an earlier sidecar started and that still runs. One that runs with other flags than wanted
    /// now is ended.
    async fn adopt(&self) -> Option<Process> {
        let pid = self.pid_file.read()?;
        let adopted = self.marks.iter().find_map(|mark| Adopted::of(pid, mark))?;
        if adopted.command() == self.command {
            tracing::info!(pid = adopted.pid(), "Prometheus still runs; adopting it");
            return Some(Process::Adopted(adopted));
        }
        tracing::info!(pid = adopted.pid(), "Prometheus still runs, with other flags; ending it to start it anew");
        self.end(Process::Adopted(adopted)).await;
        None
    }

    fn start(&self) -> std::io::Result<Process> {
        self.log.rotate();
        let process = Process::start(&self.command, &self.log)?;
        self.starts.inc();
        self.pid_file.write(process.pid());
        tracing::info!(pid = process.pid(), listen = %self.listen, log = %self.log.0.display(), "Prometheus started");
        Ok(process)
    }

    async fn end(&self, mut process: Process) {
        tracing::info!(pid = process.pid(), "ending Prometheus");
        process.signal(rustix::process::Signal::TERM);
        if let Ok(ended) = tokio::time::timeout(END, process.ended()).await {
            tracing::info!("Prometheus {ended}");
        } else {
            tracing::error!(pid = process.pid(), "Prometheus did not end within {}s; killing it", END.as_secs());
            process.signal(rustix::process::Signal::KILL);
            process.ended().await;
        }
        self.pid_file.remove();
    }
}

#[cfg(test)]
mod tests;
