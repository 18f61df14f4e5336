//! A coordinator with local shards, and an unsharded Prometheus to compare with.

use std::{
    future::Future,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::{
    process::{Process, Release, free_ports, narthex},
    promql,
};

/// How many local shards a test may get: three ports each.
const MAX_SHARDS: u16 = 8;

/// A coordinator process and where it is reached.
#[derive(Debug)]
pub struct Coordinator {
    /// The process.
    pub process: Process,
    /// Its API.
    pub url: String,
    settings: Settings,
}

/// How to start a coordinator with local shards.
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
    /// The first port of the shards.
    pub shard_ports: u16,
    /// More flags.
    pub flags: Vec<String>,
}

impl Settings {
    /// Settings with ports of their own.
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
            flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        })
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
            .arg(format!("--prometheus.version={}", self.release.version()))
            .arg("--shard.type=local")
            .arg("--shard.local.stop-with-coordinator")
            .arg(format!("--shard.local.data-dir={}", self.dir.join("shards").display()))
            .arg(format!("--shard.local.ports={}-{}", self.shard_ports, self.shard_ports + 3 * MAX_SHARDS - 1))
            .arg(format!("--shard.local.prometheus={}", self.release.binary()?.display()))
            .args(&self.flags);
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
}

impl Unsharded {
    /// Starts it on a config and waits until it is ready.
    ///
    /// # Errors
    /// When it does not come up.
    pub async fn start(dir: &Path, config: &Path, release: Release) -> anyhow::Result<Self> {
        let port = free_ports(1)?;
        let mut command = Command::new(release.binary()?);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("unsharded").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let process = Process::start("prometheus", command, &dir.join("unsharded.log"))?;
        let url = format!("http://127.0.0.1:{port}");
        let ready = format!("{url}/-/ready");
        eventually("the unsharded Prometheus is ready", Duration::from_secs(30), || async {
            Ok(promql::client()?.get(&ready).send().await?.status().is_success().then_some(()))
        })
        .await
        .with_context(|| process.output())?;
        Ok(Self { process, url })
    }
}
