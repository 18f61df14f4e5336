//! Real processes under test: started with their output in a file, ended with the test.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// A running process. Dropped, it is killed: no test leaves anything behind.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it prints goes to `log`, after what is there already.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = File::options().create(true).append(true).open(log).with_context(|| format!("open {log:?}"))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        signal_process(self.child.id(), signal).with_context(|| format!("send {signal:?} to {}", self.name))
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it still runs.
    #[must_use]
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if began.elapsed() > limit {
                bail!("{} did not end within {limit:?}; it printed:\n{}", self.name, self.output());
            }
            #[expect(clippy::disallowed_methods, reason = "a test that waits for a process has nothing else to do")]
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to any process.
///
/// # Errors
/// When there is no such process.
pub fn signal_process(id: u32, signal: Signal) -> anyhow::Result<()> {
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id")?;
    kill_process(pid, signal).with_context(|| format!("signal process {id}"))
}

/// One of the project's own binaries: in `$NARTHEX_BIN_DIR`, or where cargo built them.
///
/// # Errors
/// When it was not built.
pub fn narthex(name: &str) -> anyhow::Result<PathBuf> {
    let dir = match std::env::var_os("NARTHEX_BIN_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let test = std::env::current_exe()?;
            test.parent().and_then(Path::parent).context("target/<profile>/deps/<test>")?.to_owned()
        }
    };
    let path = dir.join(name);
    if !path.is_file() {
        bail!("{} is missing: run e2e/run.sh, or `cargo build` first", path.display());
    }
    Ok(path)
}

/// Which real Prometheus to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// 2.42, Debian bookworm's.
    V2_42,
    /// 3.5, Debian sid's.
    V3_5,
}

impl Release {
    /// The version as `--prometheus.version` takes it.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V2_42 => "2.42",
            Self::V3_5 => "3.5",
        }
    }

    /// The binary, as `e2e/run.sh` names it in the environment.
    ///
    /// # Errors
    /// When it does not.
    pub fn binary(self) -> anyhow::Result<PathBuf> {
        let variable = match self {
            Self::V2_42 => "PROMETHEUS_2_42",
            Self::V3_5 => "PROMETHEUS_3_5",
        };
        std::env::var_os(variable).map(PathBuf::from).with_context(|| format!("${variable} is not set: run e2e/run.sh"))
    }
}

/// The real vmagent, as `e2e/run.sh` names it in the environment.
///
/// # Errors
/// When it does not.
pub fn vmagent() -> anyhow::Result<PathBuf> {
    std::env::var_os("VMAGENT").map(PathBuf::from).context("$VMAGENT is not set: run e2e/run.sh")
}

/// Where the next range of ports is looked for: below the ports that the kernel gives to clients.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// `n` consecutive ports that are free now.
///
/// # Errors
/// When there are none.
pub fn free_ports(n: u16) -> anyhow::Result<u16> {
    const FIRST: u16 = 20_000;
    const LAST: u16 = 32_000;
    // Test binaries run one after the other, but what one left in TIME_WAIT must not disturb the next.
    let start = u16::try_from(std::process::id() % 64)? * 150;
    for _ in 0..500 {
        let from = FIRST + (start + NEXT_PORT.fetch_add(n, Ordering::Relaxed)) % (LAST - FIRST - n);
        if (from..from + n).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(from);
        }
    }
    bail!("no {n} consecutive free ports between {FIRST} and {LAST}")
}

/// A directory for one test. Dropped, whatever runs on its files is killed, and it is removed unless the test panics or `$NARTHEX_E2E_KEEP` is set.
#[derive(Debug)]
pub struct Workdir(Option<tempfile::TempDir>);

impl Workdir {
    /// A new, empty directory.
    ///
    /// # Errors
    /// When there can be none.
    pub fn new() -> anyhow::Result<Self> {
        Ok(Self(Some(tempfile::Builder::new().prefix("narthex-e2e-").tempdir()?)))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), tempfile::TempDir::path)
    }

    /// Writes a file into it.
    ///
    /// # Errors
    /// When that fails.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("write {path:?}"))?;
        Ok(path)
    }
}

/// Kills what still runs on files of a directory: shards outlive a coordinator that was killed.
fn kill_all_in(dir: &Path) {
    let needle = dir.as_os_str().as_encoded_bytes();
    let runs_in_dir = |id: &u32| {
        std::fs::read(format!("/proc/{id}/cmdline"))
            .is_ok_and(|line| line.windows(needle.len()).any(|part| part == needle))
    };
    // What is killed may just have started another: looked for until there is nothing.
    for _ in 0..10 {
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let found: Vec<u32> = ids.filter(runs_in_dir).collect();
        if found.is_empty() {
            return;
        }
        for id in found {
            drop(signal_process(id, Signal::KILL));
        }
    }
}

impl Drop for Workdir {
    fn drop(&mut self) {
        kill_all_in(self.path());
        if let Some(dir) = self.0.take()
            && (std::thread::panicking() || std::env::var_os("NARTHEX_E2E_KEEP").is_some())
        {
            #[expect(clippy::print_stderr, reason = "whoever reads the failed test wants to look there")]
            {
                eprintln!("the files of the test are in {}", dir.keep().display());
            }
        }
    }
}
