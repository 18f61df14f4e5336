//! A sidecar that is replaced, or killed while somebody else holds its listening sockets, costs no scrape, and its
//! Prometheus goes on.

use std::{
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use command_fds::{CommandFdExt as _, FdMapping};
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Process, Release, Workdir, free_ports, narthex},
    promql, show,
    targets::Targets,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const TARGETS: usize = 100;

/// How often each thing is done.
const TIMES: usize = 3;

/// How long is looked after each: scrapes that are missing or late show within it.
const LOOK: Duration = Duration::from_secs(3);

/// One shard whose sidecar the test runs itself.
struct Rig {
    dir: Workdir,
    first_port: u16,
    prometheus: String,
    /// The API and the proxy socket, where it is the test that listens.
    held: Option<[TcpListener; 2]>,
    _load: Targets,
}

impl Rig {
    async fn start(interval: &str, holds_sockets: bool) -> anyhow::Result<(Self, Process, Coordinator)> {
        let dir = Workdir::new()?;
        let load = Targets::start(TARGETS, 50).await?;
        let config = dir.write(
            "prometheus.yml",
            &json!({
                "global": { "scrape_interval": interval, "scrape_timeout": interval },
                "scrape_configs": [{ "job_name": "load", "static_configs": [{ "targets": load.addresses() }] }],
            })
            .to_string(),
        )?;
        let first_port = free_ports(3)?;
        let listen = |port| TcpListener::bind(("127.0.0.1", port));
        let held = if holds_sockets { Some([listen(first_port)?, listen(first_port + 1)?]) } else { None };
        let prometheus = format!("http://127.0.0.1:{}", first_port + 2);
        let rig = Self { dir, first_port, prometheus, held, _load: load };
        let sidecar = rig.sidecar(&[])?;
        let shard = json!({ "id": "shard-0", "url": format!("http://127.0.0.1:{first_port}") });
        let list = rig.dir.write("shards.yaml", &json!({ "replicas": [{ "shards": [shard] }] }).to_string())?;
        let settings = Settings::new(rig.dir.path(), &config, Release::V2_42, &[])?.with_shard_list(list);
        let coordinator = Coordinator::start(settings).await?;
        coordinator.settled(TARGETS, 1).await.with_context(|| sidecar.output())?;
        Ok((rig, sidecar, coordinator))
    }

    fn sidecar(&self, flags: &[&str]) -> anyhow::Result<Process> {
        let mut command = Command::new(narthex("narthex-sidecar")?);
        command
            .arg(format!("--config.file={}", self.path("prometheus.yml").display()))
            .arg(format!("--store.path={}", self.path("store").display()))
            .arg(format!("--web.api-addr=127.0.0.1:{}", self.first_port))
            .arg(format!("--web.proxy-addr=127.0.0.1:{}", self.first_port + 1))
            .arg(format!("--prometheus.url={}", self.prometheus))
            .arg(format!("--prometheus.exec={}", Release::V2_42.binary()?.display()))
            .arg("--target-directories=2")
            .args(flags);
        if let Some([api, proxy]) = &self.held {
            let passed = |socket: &TcpListener, child_fd| -> anyhow::Result<FdMapping> {
                Ok(FdMapping { parent_fd: OwnedFd::from(socket.try_clone()?), child_fd })
            };
            command.fd_mappings(vec![passed(api, 3)?, passed(proxy, 4)?])?;
            command.env("LISTEN_FDS", "2").env("LISTEN_FDNAMES", "api:proxy");
        }
        Process::start("narthex-sidecar", command, &self.path("sidecar.log"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until a sidecar answers that has the shard's whole assignment and sees its Prometheus.
    async fn until_served(&self) -> anyhow::Result<Duration> {
        let (began, url) = (Instant::now(), format!("http://127.0.0.1:{}", self.first_port));
        eventually("a sidecar serves the shard", Duration::from_secs(30), || async {
            let report = promql::ask(&url, "api/v1/shard/report", &[]).await?;
            let targets = report["targets"].as_array().map_or(0, Vec::len);
            Ok((targets == TARGETS && report["prometheus"]["ready"] == true).then_some(()))
        })
        .await
        .with_context(|| std::fs::read_to_string(self.path("sidecar.log")).unwrap_or_default())?;
        Ok(began.elapsed())
    }

    /// How the scrapes of the last `seconds` went.
    async fn scrapes(&self, seconds: u64) -> anyhow::Result<Scrapes> {
        let data = promql::ask(&self.prometheus, "api/v1/query", &[("query", &format!("up[{seconds}s]"))]).await?;
        let mut seen = Scrapes::default();
        for series in data["result"].as_array().context("a matrix")? {
            seen.targets += 1;
            let values = series["values"].as_array().context("samples")?;
            seen.all += values.len();
            seen.failed += values.iter().filter(|sample| sample[1] != "1").count();
            let at: Vec<f64> = values.iter().filter_map(|sample| sample[0].as_f64()).collect();
            seen.longest_gap = at.windows(2).map(|pair| pair[1] - pair[0]).fold(seen.longest_gap, f64::max);
        }
        ensure!(seen.targets == TARGETS, "{} of {TARGETS} targets were scraped", seen.targets);
        Ok(seen)
    }

    async fn started(&self) -> anyhow::Result<Value> {
        let started = promql::ask(&self.prometheus, "api/v1/status/runtimeinfo", &[]).await?;
        Ok(started["startTime"].clone())
    }

    /// Does something to the sidecar some times, and says how the scrapes went meanwhile.
    async fn watched<F>(&self, what: &str, mut act: F) -> anyhow::Result<Scrapes>
    where
        F: AsyncFnMut() -> anyhow::Result<()>,
    {
        let started = self.started().await?;
        tokio::time::sleep(LOOK).await;
        let began = Instant::now();
        let mut until_served = Duration::ZERO;
        for _ in 0..TIMES {
            act().await?;
            until_served = until_served.max(self.until_served().await?);
            tokio::time::sleep(LOOK).await;
        }
        let scrapes = self.scrapes(began.elapsed().as_secs() + 2).await?;
        show(format!(
            "{what}, {TIMES} times: {} of {} scrapes failed, longest interval {:.3} s, at most {:.1} s until the API \
             answered",
            scrapes.failed,
            scrapes.all,
            scrapes.longest_gap,
            until_served.as_secs_f64()
        ));
        ensure!(self.started().await? == started, "Prometheus was started anew");
        Ok(scrapes)
    }
}

#[derive(Debug, Default)]
struct Scrapes {
    targets: usize,
    all: usize,
    failed: usize,
    /// In seconds.
    longest_gap: f64,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_replaced_costs_no_scrape_and_its_prometheus_goes_on() -> anyhow::Result<()> {
    let (rig, mut sidecar, _coordinator) = Rig::start("2s", false).await?;
    let scrapes = rig
        .watched("replaced", async || {
            let successor = rig.sidecar(&["--replace"])?;
            let ended = sidecar.wait(Duration::from_secs(30))?;
            ensure!(ended.success(), "the one that was replaced ended with {ended}:\n{}", sidecar.output());
            sidecar = successor;
            Ok(())
        })
        .await?;
    assert_eq!(scrapes.failed, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_else_holds_its_sockets_a_sidecar_may_restart_or_be_killed() -> anyhow::Result<()> {
    // Scrapes wait while none is there: they have to have more time than its start takes, on a busy machine, too.
    let (rig, mut sidecar, _coordinator) = Rig::start("3s", true).await?;
    let restarted = rig
        .watched("restarted by SIGUSR2, its sockets held", async || {
            sidecar.signal(Signal::USR2)?;
            let ended = sidecar.wait(Duration::from_secs(30))?;
            ensure!(ended.success(), "it ended with {ended}:\n{}", sidecar.output());
            sidecar = rig.sidecar(&[])?;
            Ok(())
        })
        .await?;
    assert_eq!(restarted.failed, 0);

    let killed = rig
        .watched("killed, its sockets held", async || {
            sidecar.kill()?;
            sidecar = rig.sidecar(&[])?;
            Ok(())
        })
        .await?;
    // What was in the middle of its body is lost with the process.
    assert!(killed.failed <= TIMES, "{killed:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecar_that_held_its_sockets_itself_costs_scrapes_but_not_its_prometheus() -> anyhow::Result<()> {
    let (rig, mut sidecar, _coordinator) = Rig::start("1s", false).await?;
    let scrapes = rig
        .watched("killed, with its sockets", async || {
            sidecar.kill()?;
            sidecar = rig.sidecar(&[])?;
            Ok(())
        })
        .await?;
    // It is what the others are compared with.
    assert!(scrapes.all > TARGETS, "{scrapes:?}");
    Ok(())
}
