//! A coordinator with local shards or a list of them, and an unsharded Prometheus to compare with.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::Value;

use crate::{
    process::{Process, Release, free_ports, narthex},
    promql,
};

/// How many local shards a test may get: three ports each.
const MAX_SHARDS: u16 = 8;

/// Which shards have which target, by the target's address.
pub type Placement = BTreeMap<String, Vec<String>>;

/// A coordinator process and where it is reached.
#[derive(Debug)]
pub struct Coordinator {
    /// The process.
    pub process: Process,
    /// Its API.
    pub url: String,
    settings: Settings,
}

/// How to start a coordinator.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where everything of it lies.
    pub dir: PathBuf,
    /// The user's config.
    pub config: PathBuf,
    /// Which Prometheus the shards run.
    pub release: Release,
    /// Its port.
    pub port: u16,
    /// The first port of local shards.
    pub shard_ports: u16,
    /// The list of shards, when they are not local.
    pub shard_list: Option<PathBuf>,
    /// More flags.
    pub flags: Vec<String>,
}

impl Settings {
    /// Settings for local shards, with ports of their own.
    ///
    /// # Errors
    /// When there are no free ports.
    pub fn new(dir: &Path, config: &Path, release: Release, flags: &[&str]) -> anyhow::Result<Self> {
        let port = free_ports(1 + 3 * MAX_SHARDS)?;
        Ok(Self {
            dir: dir.to_owned(),
            config: config.to_owned(),
            release,
            port,
            shard_ports: port + 1,
            shard_list: None,
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        })
    }

    /// The same with the shards of a list instead of local ones.
    #[must_use]
    pub fn with_shard_list(self, list: PathBuf) -> Self {
        Self { shard_list: Some(list), ..self }
    }

    /// The command that starts the coordinator.
    ///
    /// # Errors
    /// When binaries are missing.
    pub fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(narthex("narthex-coordinator")?);
        command
            .arg(format!("--config.file={}", self.config.display()))
            .arg(format!("--web.address=127.0.0.1:{}", self.port))
            .arg("--coordinator.interval=1s")
            .arg(format!("--prometheus.version={}", self.release.version()));
        match &self.shard_list {
            Some(list) => {
                command.arg("--shard.type=static").arg(format!("--shard.static-file={}", list.display()));
            }
            None => {
                command
                    .arg("--shard.type=local")
                    .arg("--shard.local.stop-with-coordinator")
                    .arg(format!("--shard.local.data-dir={}", self.dir.join("shards").display()))
                    .arg(format!("--shard.local.ports={}-{}", self.shard_ports, self.shard_ports + 3 * MAX_SHARDS - 1))
                    .arg(format!("--shard.local.prometheus={}", self.release.binary()?.display()));
            }
        }
        command.args(&self.flags);
        Ok(command)
    }
}

impl Coordinator {
    /// Starts a coordinator and waits until its first round is over.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(settings: Settings) -> anyhow::Result<Self> {
        let log = settings.dir.join("coordinator.log");
        let process = Process::start("narthex-coordinator", settings.command()?, &log)?;
        let url = format!("http://127.0.0.1:{}", settings.port);
        let mut coordinator = Self { process, url, settings };
        let began = Instant::now();
        while !coordinator.is_ready().await {
            if !coordinator.process.runs() || began.elapsed() > Duration::from_secs(60) {
                bail!("the coordinator did not come up; it printed:\n{}", coordinator.process.output());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(coordinator)
    }

    /// Starts it again, with the same settings.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn restart(self) -> anyhow::Result<Self> {
        let settings = self.settings.clone();
        drop(self);
        Self::start(settings).await
    }

    async fn is_ready(&self) -> bool {
        let Ok(client) = promql::client() else { return false };
        let answer = client.get(format!("{}/-/ready", self.url)).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// The shards, as `/api/v1/shards` shows them.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn shards(&self) -> anyhow::Result<Vec<Value>> {
        let data = promql::ask(&self.url, "api/v1/shards", &[]).await?;
        Ok(data.as_array().context("a list of shards")?.clone())
    }

    /// The addresses of the shards' Prometheus servers.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn prometheus_urls(&self) -> anyhow::Result<Vec<String>> {
        let shards = self.shards().await?;
        Ok(shards.iter().filter_map(|shard| shard["prometheusUrl"].as_str()).map(str::to_owned).collect())
    }

    /// The active targets, as `/api/v1/targets` shows them.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn active_targets(&self) -> anyhow::Result<Vec<Value>> {
        let data = promql::ask(&self.url, "api/v1/targets", &[("state", "active")]).await?;
        Ok(data["activeTargets"].as_array().context("a list of targets")?.clone())
    }

    /// Which shards have which target: by its address. Targets that no shard has are left out.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn placement(&self) -> anyhow::Result<Placement> {
        let targets = self.active_targets().await?;
        let placed = targets.iter().filter_map(|target| {
            let instance = target["labels"]["instance"].as_str()?.to_owned();
            let shards = target["shards"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned);
            Some((instance, shards.collect::<Vec<_>>()))
        });
        Ok(placed.filter(|(_, shards)| !shards.is_empty()).collect())
    }

    /// The placement once each of so many targets is up and on so many shards.
    ///
    /// # Errors
    /// When that is not so in time: what the coordinator printed.
    pub async fn settled(&self, targets: usize, shards_of_each: usize) -> anyhow::Result<Placement> {
        let what = format!("{targets} targets are up, each on {shards_of_each} shards and no more");
        eventually(&what, Duration::from_secs(120), || async {
            let up = self.active_targets().await?.iter().filter(|target| target["health"] == "up").count();
            let placement = self.placement().await?;
            let settled = placement.len() == targets && placement.values().all(|on| on.len() == shards_of_each);
            Ok((settled && up == targets).then_some(placement))
        })
        .await
        .with_context(|| self.process.output())
    }

    /// Reloads the config; the error text when it is refused.
    ///
    /// # Errors
    /// When the coordinator does not answer.
    pub async fn reload(&self) -> anyhow::Result<Result<(), String>> {
        let answer = promql::client()?.post(format!("{}/-/reload", self.url)).send().await?;
        if answer.status().is_success() { Ok(Ok(())) } else { Ok(Err(answer.text().await?)) }
    }
}

/// Waits until something is true, and says what it was waiting for when it never is.
///
/// # Errors
/// When the time is up: the last thing seen, or the last error.
pub async fn eventually<T, F>(what: &str, limit: Duration, mut look: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<Option<T>>>,
{
    let began = Instant::now();
    loop {
        let seen = look().await;
        if let Ok(Some(found)) = seen {
            return Ok(found);
        }
        if began.elapsed() > limit {
            return match seen {
                Err(error) => Err(error.context(format!("{what}: not within {limit:?}"))),
                Ok(_) => bail!("{what}: not within {limit:?}"),
            };
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A stock Prometheus without Narthex.
#[derive(Debug)]
pub struct Unsharded {
    /// The process.
    pub process: Process,
    /// Its API.
    pub url: String,
    data: PathBuf,
}

impl Unsharded {
    /// Starts it on a config and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(dir: &Path, config: &Path, release: Release) -> anyhow::Result<Self> {
        Self::start_as("unsharded", dir, config, release, &[]).await
    }

    /// Starts one that scrapes nothing and takes what others write to it, at `/api/v1/write`.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start_receiver(dir: &Path, release: Release) -> anyhow::Result<Self> {
        let config = dir.join("receiver.yml");
        std::fs::write(&config, "").with_context(|| format!("write {config:?}"))?;
        Self::start_as("receiver", dir, &config, release, &["--web.enable-remote-write-receiver"]).await
    }

    async fn start_as(name: &str, dir: &Path, config: &Path, release: Release, flags: &[&str]) -> anyhow::Result<Self> {
        let port = free_ports(1)?;
        let data = dir.join(name);
        let mut command = Command::new(release.binary()?);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(flags);
        let process = Process::start("prometheus", command, &dir.join(format!("{name}.log")))?;
        let url = format!("http://127.0.0.1:{port}");
        let ready = format!("{url}/-/ready");
        eventually(&format!("the {name} Prometheus is ready"), Duration::from_secs(30), || async {
            Ok(promql::client()?.get(&ready).send().await?.status().is_success().then_some(()))
        })
        .await
        .with_context(|| process.output())?;
        Ok(Self { process, url, data })
    }

    /// Ends it in order. Where its data is, for who wants to read it.
    ///
    /// # Errors
    /// When it does not end.
    pub fn stop(mut self) -> anyhow::Result<PathBuf> {
        self.process.signal(Signal::TERM)?;
        self.process.wait(Duration::from_secs(60))?;
        Ok(self.data)
    }
}
