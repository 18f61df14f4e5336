//! A shard that fails by itself: a sidecar without file descriptors or on a full disk, a Prometheus that is killed. What
//! can go on goes on, the reason is said, nothing is lost, and all is well again by itself.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql,
    scripted::{Scripted, say},
    shard_list::{Shard, list},
    show,
    targets::Targets,
};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::{Value, json};

const INTERVAL: Duration = Duration::from_secs(2);

/// A shell that lets a write beyond the limit of file sizes fail, instead of ending the process that tries it. Where its
/// first argument is a file, no byte can be written from the start.
const FULL_DISK: &str = "trap '' XFSZ; if [ -e \"$1\" ]; then ulimit -S -f 0; fi; shift; exec \"$@\"";

/// One shard with a few targets, and a coordinator that is to give it one more.
struct Rig {
    dir: Workdir,
    shard: Shard,
    coordinator: Coordinator,
    /// Targets to which connections stay open.
    kept: Targets,
    /// One that closes each connection after its answer.
    closing: Scripted,
    /// The one that is to come.
    more: Scripted,
}

impl Rig {
    async fn start(release: Release) -> anyhow::Result<Self> {
        let dir = Workdir::new()?;
        let kept = Targets::start(3, 50).await?;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nclosing 1\n";
        let (closing, more) = (Scripted::start(vec![say(answer)]).await?, Scripted::start(vec![say(answer)]).await?);
        let all: Vec<String> = kept.addresses().into_iter().chain([closing.address().to_string()]).collect();
        write_targets(dir.path(), "load.json", &all)?;
        write_targets(dir.path(), "more.json", &[])?;
        let config = dir.write("prometheus.yml", &config("known"))?;
        let is_full = dir.path().join("disk-is-full");
        let behind = ["sh", "-c", FULL_DISK, "sh", is_full.to_str().context("a path")?];
        let shard = Shard::start_behind(&behind, dir.path(), "shard-0", &config, release)?;
        let shards = dir.write("shards.yaml", &list(&[std::slice::from_ref(&shard)]))?;
        let settings = Settings::new(dir.path(), &config, release, &[])?.with_shard_list(shards);
        let coordinator = Coordinator::start(settings).await?;
        let rig = Self { dir, shard, coordinator, kept, closing, more };
        rig.until_up(4).await?;
        Ok(rig)
    }

    async fn until_up(&self, targets: usize) -> anyhow::Result<()> {
        eventually(&format!("{targets} targets are up"), Duration::from_secs(60), || async {
            let seen = self.shard.targets().await?;
            ensure!(seen.len() == targets && seen.values().all(|health| health == "up"), "{seen:?}");
            Ok(Some(()))
        })
        .await
        .with_context(|| self.shard.output())
    }

    /// Has one target more discovered.
    fn discover_more(&self) -> anyhow::Result<()> {
        write_targets(self.dir.path(), "more.json", &[self.more.address().to_string()])
    }

    /// Waits until the coordinator says of its last round that something could not be done, for this reason.
    async fn until_coordinator_says(&self, reason: &str) -> anyhow::Result<String> {
        eventually(&format!("the coordinator says {reason:?}"), Duration::from_secs(30), || async {
            let plan = promql::ask(&self.coordinator.url, "api/v1/plan", &[]).await?;
            let errors = plan["errors"].as_array().context("a list of errors")?;
            let found = errors.iter().filter_map(Value::as_str).find(|error| error.contains(reason));
            found.map(|error| Some(error.to_owned())).with_context(|| format!("it says {errors:?}"))
        })
        .await
        .with_context(|| self.shard.output())
    }

    /// The assignment in force, from the sidecar.
    async fn assignment(&self) -> anyhow::Result<Value> {
        promql::ask(&self.shard.url, "api/v1/shard/assignment", &[]).await
    }

    /// The reason why its Prometheus could not scrape the target that closes its connections.
    async fn reason_for_closing(&self) -> anyhow::Result<String> {
        let data = promql::ask(&self.shard.prometheus_url, "api/v1/targets", &[("state", "active")]).await?;
        let targets = data["activeTargets"].as_array().context("a list of targets")?;
        let address = self.closing.address().to_string();
        let closing = targets.iter().find(|target| target["labels"]["instance"] == address.as_str());
        Ok(closing.context("the target that closes")?["lastError"].as_str().context("an error")?.to_owned())
    }

    /// That the targets with open connections have been scraped all the time, and well.
    async fn no_scrape_was_lost(&self) -> anyhow::Result<usize> {
        let mut count = 0;
        for address in self.kept.addresses() {
            let scrapes = promql::scrapes(std::slice::from_ref(&self.shard.prometheus_url), &address).await?;
            let gap = promql::longest_gap(&scrapes)?;
            ensure!(gap < INTERVAL * 11 / 10, "{address} was not scraped for {gap:?}");
            count += scrapes.len();
        }
        Ok(count)
    }

    /// That a sidecar which is killed now comes back with what is in force, without the coordinator.
    async fn survives_kill(&mut self) -> anyhow::Result<()> {
        let before = self.assignment().await?;
        self.coordinator.process.kill()?;
        self.shard.kill_sidecar()?;
        self.shard.start_again()?;
        self.shard.until_ready().await?;
        ensure!(self.assignment().await? == before, "the sidecar came back with another assignment");
        self.until_up(before["targets"].as_array().context("targets")?.len()).await
    }
}

fn config(job: &str) -> String {
    let discovery = |file: &str| json!([{"files": [file], "refresh_interval": "1s"}]);
    let seconds = format!("{}s", INTERVAL.as_secs());
    json!({
        "global": {"scrape_interval": seconds, "scrape_timeout": seconds},
        "scrape_configs": [
            {"job_name": job, "file_sd_configs": discovery("load.json")},
            {"job_name": "more", "file_sd_configs": discovery("more.json")},
        ],
    })
    .to_string()
}

/// Writes a file of targets as one that is watched is to be written: whole.
fn write_targets(dir: &Path, name: &str, addresses: &[String]) -> anyhow::Result<()> {
    let text = json!([{"targets": addresses}]).to_string();
    narthex_runtime::files::write_atomic(&dir.join(name), text.as_bytes(), None)
        .with_context(|| format!("write {name}"))
}

/// Lets a process have no more of something, or as much as this one.
fn limit(process: u32, resource: Resource, to: Option<u64>) -> anyhow::Result<()> {
    let own = getrlimit(resource);
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: to.map_or(own.current, Some), maximum: own.maximum };
    prlimit(pid, resource, limit).with_context(|| format!("set a limit of process {process}"))?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_open_connections_go_on_and_the_assignment_stays() -> anyhow::Result<()> {
    let mut rig = Rig::start(Release::V3_5).await?;
    let (sidecar, before) = (rig.shard.sidecar_id()?, rig.assignment().await?);
    let prometheus = rig.shard.prometheus_id()?;

    limit(sidecar, Resource::Nofile, Some(0))?;
    rig.discover_more()?;
    // What Prometheus says when it has none itself, behind its own `Get "URL": `.
    let expected =
        format!("server returned HTTP status 502 dial tcp {}: socket: too many open files", rig.closing.address());
    eventually("who needs a new connection fails, and it is said why", Duration::from_secs(20), || async {
        let reason = rig.reason_for_closing().await?;
        ensure!(reason == expected, "{reason}");
        Ok(Some(()))
    })
    .await
    .with_context(|| rig.shard.output())?;
    let error = rig.until_coordinator_says("Too many open files").await?;
    tokio::time::sleep(INTERVAL * 2).await;

    limit(sidecar, Resource::Nofile, None)?;
    rig.until_up(5).await?;
    let scrapes = rig.no_scrape_was_lost().await?;
    ensure!(rig.shard.sidecar_id()? == sidecar && rig.shard.prometheus_id()? == prometheus, "something was restarted");
    show(format!("no descriptors: {scrapes} scrapes over open connections went on; the coordinator said: {error}"));
    ensure!(rig.assignment().await? != before, "the new target is assigned");
    rig.survives_kill().await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_the_old_assignment_and_config_stay_in_force() -> anyhow::Result<()> {
    let mut rig = Rig::start(Release::V2_42).await?;
    let (sidecar, before) = (rig.shard.sidecar_id()?, rig.assignment().await?);
    let saved = rig.shard.store().join("assignment.json");
    let on_disk = std::fs::read(&saved)?;

    // No byte can be written; then a target file can, which is short, and the assignment cannot, which is longer.
    let mut errors = Vec::new();
    for (room, file) in [(0, "staging/0: File too large"), (on_disk.len() as u64, "assignment.json")] {
        limit(sidecar, Resource::Fsize, Some(room))?;
        rig.discover_more()?;
        errors.push(rig.until_coordinator_says(file).await?);
        ensure!(rig.assignment().await? == before, "another assignment is in force");
        ensure!(std::fs::read(&saved)? == on_disk, "the saved assignment was changed");
        ensure!(rig.shard.targets().await?.len() == 4, "Prometheus got the target");
    }
    limit(sidecar, Resource::Fsize, Some(0))?;
    let good = rig.dir.write("prometheus.yml", &config("renamed"))?;
    let reload = promql::client()?.post(format!("{}/-/reload", rig.shard.url)).send().await?;
    ensure!(reload.status() == 500, "the reload was answered with {}", reload.status());
    let refused = reload.text().await?;
    ensure!(refused.contains("File too large"), "{refused}");
    std::fs::write(good, config("known"))?;
    tokio::time::sleep(INTERVAL).await;

    limit(sidecar, Resource::Fsize, None)?;
    let reload = promql::client()?.post(format!("{}/-/reload", rig.shard.url)).send().await?;
    ensure!(reload.status() == 200, "the reload was answered with {}", reload.text().await?);
    rig.until_up(5).await?;
    let scrapes = rig.no_scrape_was_lost().await?;
    ensure!(rig.shard.sidecar_id()? == sidecar, "the sidecar was restarted");
    let report = promql::ask(&rig.shard.url, "api/v1/shard/report", &[]).await?;
    ensure!(report["configError"].is_null(), "it still says {}", report["configError"]);
    show(format!("full disk: {scrapes} scrapes went on; it was said: {errors:?}, {}", refused.trim()));

    rig.dir.write("disk-is-full", "")?;
    rig.survives_kill().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_prometheus_2_42_is_started_again_and_goes_on() -> anyhow::Result<()> {
    restart(Release::V2_42).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_prometheus_3_5_is_started_again_and_goes_on() -> anyhow::Result<()> {
    restart(Release::V3_5).await
}

/// How long a Prometheus that is killed may be missed: a second until it is started, its start, and an interval.
const MISSED: Duration = Duration::from_secs(15);

async fn restart(release: Release) -> anyhow::Result<()> {
    let mut rig = Rig::start(release).await?;
    tokio::time::sleep(INTERVAL).await;
    let (before, killed) = (rig.assignment().await?, rig.shard.prometheus_id()?);
    let address = rig.kept.addresses().swap_remove(0);
    let server = [rig.shard.prometheus_url.clone()];
    let scraped = promql::scrapes(&server, &address).await?;

    rig.shard.signal_prometheus(Signal::KILL)?;
    rig.discover_more()?;
    eventually("another one runs", Duration::from_secs(20), || async {
        Ok((rig.shard.prometheus_id()? != killed).then_some(()))
    })
    .await
    .with_context(|| rig.shard.output())?;
    rig.until_up(5).await?;

    // What it had scraped is there, and it was missed for as long as it was away.
    let scrapes = promql::scrapes(&server, &address).await?;
    ensure!(scraped.iter().all(|moment| scrapes.contains(moment)), "scrapes from before are lost");
    let gap = promql::longest_gap(&scrapes)?;
    ensure!(gap < MISSED, "no scrape for {gap:?}");
    show(format!("{}: killed, it was missed for {gap:?}", release.version()));
    ensure!(rig.assignment().await?["revision"].as_u64() > before["revision"].as_u64(), "the new target is assigned");
    let report = promql::ask(&rig.shard.url, "api/v1/shard/report", &[]).await?;
    ensure!(report["configError"].is_null(), "it says {}", report["configError"]);
    rig.survives_kill().await
}
