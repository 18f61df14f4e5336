//! A sidecar killed at any moment comes back with its assignment, and its Prometheus goes on meanwhile.

use std::{path::PathBuf, process::Command, time::Duration};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Process, Release, Workdir, signal_process},
    promql,
    targets::Targets,
};
use rustix::process::Signal;

const TARGETS: usize = 3;

struct Shard {
    sidecar: String,
    prometheus: String,
    pid: u32,
}

/// The only shard of a coordinator, once all its targets are up.
async fn settled_shard(dir: &Workdir, coordinator: &Coordinator) -> anyhow::Result<Shard> {
    eventually("all targets are up on the one shard", Duration::from_secs(60), || async {
        let shards = coordinator.shards().await?;
        let [shard] = shards.as_slice() else { return Ok(None) };
        let (Some(sidecar), Some(prometheus)) = (shard["url"].as_str(), shard["prometheusUrl"].as_str()) else {
            return Ok(None);
        };
        if promql::number(prometheus, "sum(up)").await? != Some(3.0) {
            return Ok(None);
        }
        let pid_file = dir.path().join("shards/shard-0/sidecar.pid");
        let pid = std::fs::read_to_string(&pid_file).with_context(|| format!("read {pid_file:?}"))?;
        Ok(Some(Shard {
            sidecar: sidecar.trim_end_matches('/').to_owned(),
            prometheus: prometheus.to_owned(),
            pid: pid.trim().parse()?,
        }))
    })
    .await
}

async fn revision(sidecar: &str) -> anyhow::Result<(u64, usize)> {
    let assignment = promql::ask(sidecar, "api/v1/shard/assignment", &[]).await?;
    let revision = assignment["revision"].as_u64().context("a revision")?;
    Ok((revision, assignment["targets"].as_array().context("targets")?.len()))
}

async fn start_time(prometheus: &str) -> anyhow::Result<String> {
    let text = promql::client()?.get(format!("{prometheus}/metrics")).send().await?.text().await?;
    let line = text.lines().find(|line| line.starts_with("process_start_time_seconds "));
    Ok(line.context("prometheus tells when it started")?.to_owned())
}

async fn start(dir: &Workdir, load: &Targets) -> anyhow::Result<Coordinator> {
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {:?}\n",
            load.addresses()
        ),
    )?;
    Coordinator::start(Settings::new(dir.path(), &config, Release::V2_42, &[])?).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_sidecar_comes_back_with_its_assignment_without_the_coordinator() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let mut coordinator = start(&dir, &load).await?;
    let shard = settled_shard(&dir, &coordinator).await?;
    let (before, prometheus_started) = (revision(&shard.sidecar).await?, start_time(&shard.prometheus).await?);
    let command_line = std::fs::read_to_string(format!("/proc/{}/cmdline", shard.pid))?;
    let mut words = command_line.split_terminator('\0');
    let mut command = Command::new(PathBuf::from(words.next().context("a program")?));
    command.args(words);

    coordinator.process.kill()?;
    signal_process(shard.pid, Signal::KILL)?;
    eventually("the sidecar is gone", Duration::from_secs(10), || async {
        Ok(revision(&shard.sidecar).await.is_err().then_some(()))
    })
    .await?;
    let sidecar = Process::start("narthex-sidecar", command, &dir.path().join("sidecar-again.log"))?;

    let after = eventually("the sidecar is back", Duration::from_secs(30), || async {
        Ok(Some(revision(&shard.sidecar).await?))
    })
    .await?;
    assert_eq!(after, before, "revision and number of targets");
    assert_eq!(after.1, TARGETS);
    eventually("all targets are up again", Duration::from_secs(30), || async {
        Ok((promql::number(&shard.prometheus, "sum(up)").await? == Some(3.0)).then_some(()))
    })
    .await
    .with_context(|| sidecar.output())?;
    assert_eq!(start_time(&shard.prometheus).await?, prometheus_started, "Prometheus was restarted");
    // Ends its Prometheus, too.
    sidecar.signal(Signal::TERM)?;
    eventually("its Prometheus ends with it", Duration::from_secs(30), || async {
        Ok(start_time(&shard.prometheus).await.is_err().then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_coordinator_starts_a_killed_sidecar_again() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let coordinator = start(&dir, &load).await?;
    let shard = settled_shard(&dir, &coordinator).await?;
    let before = revision(&shard.sidecar).await?;
    signal_process(shard.pid, Signal::KILL)?;
    eventually("another process serves the shard", Duration::from_secs(60), || async {
        let again = settled_shard(&dir, &coordinator).await?;
        Ok((again.pid != shard.pid).then_some(()))
    })
    .await?;
    assert_eq!(revision(&shard.sidecar).await?, before);
    eventually("all targets are up again", Duration::from_secs(30), || async {
        Ok((promql::number(&shard.prometheus, "sum(up)").await? == Some(3.0)).then_some(()))
    })
    .await
}
