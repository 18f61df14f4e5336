//! Shards that a test runs itself, and the list that tells the coordinator where they are.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    cluster::{Placement, eventually},
    process::{Process, Release, free_ports, narthex, signal_process},
    promql,
};

/// A sidecar that runs a Prometheus of its own.
#[derive(Debug)]
pub struct Shard {
    /// Its name in the list.
    pub name: String,
    /// Its sidecar's API.
    pub url: String,
    /// Its Prometheus.
    pub prometheus_url: String,
    /// The series that the list lets it have, unless that is left to the coordinator's flags.
    pub max_series: Option<u64>,
    settings: Settings,
    /// None while it is dead.
    sidecar: Option<Process>,
}

/// How a shard is started, again and again.
#[derive(Debug)]
struct Settings {
    store: PathBuf,
    log: PathBuf,
    config: PathBuf,
    release: Release,
    first_port: u16,
    /// What starts the sidecar, instead of the test itself.
    behind: Vec<String>,
    flags: Vec<String>,
}

impl Settings {
    fn command(&self) -> anyhow::Result<Command> {
        let sidecar = narthex("narthex-sidecar")?;
        let mut command = match self.behind.as_slice() {
            [] => Command::new(sidecar),
            [program, args @ ..] => {
                let mut command = Command::new(program);
                command.args(args).arg(sidecar);
                command
            }
        };
        command
            .arg(format!("--config.file={}", self.config.display()))
            .arg(format!("--store.path={}", self.store.display()))
            .arg(format!("--web.api-addr=127.0.0.1:{}", self.first_port))
            .arg(format!("--web.proxy-addr=127.0.0.1:{}", self.first_port + 1))
            .arg(format!("--prometheus.url=http://127.0.0.1:{}", self.first_port + 2))
            .arg(format!("--prometheus.exec={}", self.release.binary()?.display()))
            .arg("--target-directories=2")
            .args(&self.flags);
        Ok(command)
    }
}

impl Shard {
    /// Starts a shard, whose files and log are in `dir`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(dir: &Path, name: &str, config: &Path, release: Release) -> anyhow::Result<Self> {
        Self::start_as(&[], dir, name, config, release, &[])
    }

    /// Starts a shard with further flags for its sidecar.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_with(
        dir: &Path,
        name: &str,
        config: &Path,
        release: Release,
        flags: &[String],
    ) -> anyhow::Result<Self> {
        Self::start_as(&[], dir, name, config, release, flags)
    }

    /// Starts a shard whose sidecar is started by a program that is told how, and becomes it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_behind(
        behind: &[&str],
        dir: &Path,
        name: &str,
        config: &Path,
        release: Release,
    ) -> anyhow::Result<Self> {
        Self::start_as(behind, dir, name, config, release, &[])
    }

    fn start_as(
        behind: &[&str],
        dir: &Path,
        name: &str,
        config: &Path,
        release: Release,
        flags: &[String],
    ) -> anyhow::Result<Self> {
        let first_port = free_ports(3)?;
        let settings = Settings {
            store: dir.join(name),
            log: dir.join(format!("{name}.log")),
            config: config.to_owned(),
            release,
            first_port,
            behind: behind.iter().map(|&word| word.to_owned()).collect(),
            flags: flags.to_vec(),
        };
        let mut shard = Self {
            name: name.to_owned(),
            url: format!("http://127.0.0.1:{first_port}"),
            prometheus_url: format!("http://127.0.0.1:{}", first_port + 2),
            max_series: None,
            settings,
            sidecar: None,
        };
        shard.start_again()?;
        Ok(shard)
    }

    /// Starts a dead shard on the disk it had.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        if self.sidecar.is_some() {
            bail!("{} runs already", self.name);
        }
        self.sidecar = Some(Process::start(&self.name, self.settings.command()?, &self.settings.log)?);
        Ok(())
    }

    /// `kill -9` to the sidecar and its Prometheus, as when their machine dies. Waits until both are gone.
    ///
    /// # Errors
    /// When it is dead already, or does not die.
    pub async fn die(&mut self) -> anyhow::Result<()> {
        // The sidecar first: it would start its Prometheus again.
        self.kill_sidecar()?;
        self.signal_prometheus(Signal::KILL)?;
        let prometheus = ("127.0.0.1", self.settings.first_port + 2);
        eventually("the port of a killed Prometheus is closed", Duration::from_secs(10), || async {
            Ok(tokio::net::TcpStream::connect(prometheus).await.is_err().then_some(()))
        })
        .await
    }

    /// Sends a signal to its Prometheus, not to the sidecar.
    ///
    /// # Errors
    /// When it has none.
    pub fn signal_prometheus(&self, signal: Signal) -> anyhow::Result<()> {
        signal_process(self.prometheus_id()?, signal)
    }

    /// Ends sidecar and Prometheus in order. Where its data is, for who wants to read it.
    ///
    /// # Errors
    /// When it is dead already, or does not end.
    pub fn stop(&mut self) -> anyhow::Result<PathBuf> {
        let mut sidecar = self.sidecar.take().with_context(|| format!("{} is dead already", self.name))?;
        sidecar.signal(Signal::TERM)?;
        sidecar.wait(Duration::from_secs(60))?;
        Ok(self.settings.store.join("data"))
    }

    /// What its sidecar has printed.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.settings.log).unwrap_or_default()
    }

    /// The process id of its sidecar.
    ///
    /// # Errors
    /// When it is dead.
    pub fn sidecar_id(&self) -> anyhow::Result<u32> {
        Ok(self.sidecar.as_ref().with_context(|| format!("{} is dead", self.name))?.id())
    }

    /// The most memory that its sidecar has used since it was started, in bytes.
    ///
    /// # Errors
    /// When it is dead.
    pub fn most_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.sidecar_id()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the peak of its memory")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// `kill -9` to the sidecar alone. Its Prometheus goes on.
    ///
    /// # Errors
    /// When it is dead already.
    pub fn kill_sidecar(&mut self) -> anyhow::Result<()> {
        self.sidecar.take().with_context(|| format!("{} is dead already", self.name))?.kill()
    }

    /// The process id of its Prometheus.
    ///
    /// # Errors
    /// When its sidecar has started none.
    pub fn prometheus_id(&self) -> anyhow::Result<u32> {
        let pid_file = self.settings.store.join("prometheus.pid");
        let pid = std::fs::read_to_string(&pid_file).with_context(|| format!("read {pid_file:?}"))?;
        pid.trim().parse().with_context(|| format!("read {pid_file:?}"))
    }

    /// Where its files are.
    #[must_use]
    pub fn store(&self) -> &Path {
        &self.settings.store
    }

    /// Waits until its sidecar answers and says that its Prometheus is ready.
    ///
    /// # Errors
    /// When that is not so in time.
    pub async fn until_ready(&self) -> anyhow::Result<()> {
        eventually(&format!("{} is ready", self.name), Duration::from_secs(60), || async {
            let report = promql::ask(&self.url, "api/v1/shard/report", &[]).await?;
            Ok((report["prometheus"]["ready"] == true).then_some(()))
        })
        .await
    }

    /// The addresses of the targets that its Prometheus has, and how they are. Not asked by a query: that finds for five
    /// minutes what a Prometheus scraped that was killed.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn targets(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let targets = promql::ask(&self.prometheus_url, "api/v1/targets", &[("state", "active")]).await?;
        let targets = targets["activeTargets"].as_array().context("a list of targets")?;
        let health =
            |one: &Value| Some((one["labels"]["instance"].as_str()?.to_owned(), one["health"].as_str()?.to_owned()));
        Ok(targets.iter().filter_map(health).collect())
    }
}

/// Which shards scrape which target, by their servers themselves, once each of so many targets is up on so many of these
/// shards.
///
/// # Errors
/// When that is not so in time.
pub async fn until_up(shards: &[&Shard], targets: usize, shards_of_each: usize) -> anyhow::Result<Placement> {
    let what = format!("{targets} targets are up, each on {shards_of_each} servers and no more");
    eventually(&what, Duration::from_secs(60), || async {
        let (mut placement, mut all_up) = (Placement::new(), true);
        for shard in shards {
            for (target, health) in shard.targets().await? {
                all_up &= health == "up";
                placement.entry(target).or_default().push(shard.name.clone());
            }
        }
        let settled = placement.len() == targets && placement.values().all(|on| on.len() == shards_of_each);
        Ok((all_up && settled).then_some(placement))
    })
    .await
}

/// The list of some replicas' shards, as a static file has it.
#[must_use]
pub fn list(replicas: &[&[Shard]]) -> String {
    let shard = |shard: &Shard| match shard.max_series {
        Some(max_series) => json!({ "id": shard.name, "url": shard.url, "max_series": max_series }),
        None => json!({ "id": shard.name, "url": shard.url }),
    };
    let replica = |shards: &&[Shard]| json!({ "shards": shards.iter().map(shard).collect::<Vec<Value>>() });
    json!({ "replicas": replicas.iter().map(replica).collect::<Vec<Value>>() }).to_string()
}
