//! A Prometheus process: one that was started here, or one that survived the sidecar that started it.

use std::{
    fs, io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use narthex_runtime::files::write_atomic;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::log::Log;

/// How often a process that is nobody's child here is looked for.
const LOOK: Duration = Duration::from_millis(500);

/// Where it stands which process Prometheus is.
#[derive(Clone, Debug)]
pub(super) struct PidFile(pub(super) PathBuf);

#[derive(Debug)]
pub(super) enum Process {
    Started(Child, u32),
    Adopted(Adopted),
}

/// A process that survived the sidecar that started it.
#[derive(Debug)]
pub(super) struct Adopted {
    pid: u32,
    command: Vec<String>,
}

impl PidFile {
    pub(super) fn read(&self) -> Option<u32> {
        fs::read_to_string(&self.0).ok()?.trim().parse().ok()
    }

    pub(super) fn write(&self, pid: u32) {
        if let Err(error) = write_atomic(&self.0, pid.to_string().as_bytes(), None) {
            tracing::error!(%error, "Prometheus will not be taken over if this sidecar is killed");
        }
    }

    pub(super) fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            // A process that happens to get this number later is recognized by its command line.
            tracing::debug!(path = %self.0.display(), %error, "a pid file stays behind");
        }
    }
}

impl Process {
    /// Starts a process in a group of its own, so that a Ctrl-C in the terminal reaches the sidecar alone, which then
    /// ends it in order.
    pub(super) fn start(command: &[String], log: &Log) -> io::Result<Self> {
        let [program, args @ ..] = command else { return Err(io::ErrorKind::InvalidInput.into()) };
        let output = log.open()?;
        let child = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("run {program}: {e} (flag --prometheus.exec)")))?;
        let pid = child.id().unwrap_or_default();
        Ok(Self::Started(child, pid))
    }

    pub(super) const fn pid(&self) -> u32 {
        match self {
            Self::Started(_, pid) => *pid,
            Self::Adopted(adopted) => adopted.pid,
        }
    }

    /// Waits until it has ended, and says how.
    pub(super) async fn ended(&mut self) -> String {
        match self {
            Self::Started(child, _) => match child.wait().await {
                Ok(status) => how(status),
                Err(error) => format!("was lost sight of ({error})"),
            },
            Self::Adopted(adopted) => {
                while adopted.is_alive() {
                    tokio::time::sleep(LOOK).await;
                }
                "ended".to_owned()
            }
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid()).ok().and_then(Pid::from_raw)
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, "Prometheus ended before it was told to");
        }
    }
}

impl Adopted {
    /// The process of this number, if its command line has all the arguments of `mark`.
    pub(super) fn of(pid: u32, mark: &[String]) -> Option<Self> {
        let command = command_line(pid)?;
        mark.iter().all(|part| command.contains(part)).then_some(Self { pid, command })
    }

    pub(super) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) fn command(&self) -> &[String] {
        &self.command
    }

    fn is_alive(&self) -> bool {
        command_line(self.pid).is_some_and(|command| command == self.command)
    }
}

/// What a process was started with; nothing for one that has ended, also when nobody has taken note of its end yet.
fn command_line(pid: u32) -> Option<Vec<String>> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    Some(line.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect())
}

fn how(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended".to_owned(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => format!("ended ({status})"),
    }
}
