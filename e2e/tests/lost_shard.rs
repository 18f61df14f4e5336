//! A shard of a list that dies, or whose Prometheus hangs, is given up after a while: the others scrape what it had, and
//! keep it when it is back.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Placement, Settings, eventually},
    process::{Release, Workdir},
    promql,
    shard_list::{self, Shard, until_up},
    show,
    targets::Targets,
};
use rustix::process::Signal;
use serde_json::Value;

const TARGETS: usize = 9;

/// The shortest that the flag takes is anything above a minute.
const FAILOVER_AFTER: Duration = Duration::from_secs(61);

#[tokio::test(flavor = "multi_thread")]
async fn others_take_over_what_a_dead_shard_had_and_keep_it_when_it_returns() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let (coordinator, mut shards) = start(dir.path(), &load).await?;
    let before = coordinator.settled(TARGETS, 1).await?;
    let lost: Vec<&String> = before.iter().filter(|(_, on)| **on == ["shard-1"]).map(|(target, _)| target).collect();
    assert_eq!(lost.len(), TARGETS / 3, "equal targets are spread evenly: {before:?}");

    shards[1].die().await?;
    let takeover = until_taken_over(&coordinator, &before).await?;
    show(format!("{} of {TARGETS} targets taken over after {:?} of silence", takeover.targets, takeover.silence));
    assert_eq!(takeover.targets, lost.len(), "all that the dead shard had, and no others");
    assert!(takeover.silence >= FAILOVER_AFTER, "given up too early");
    let after = until_up(&[&shards[0], &shards[2]], TARGETS, 1).await.with_context(|| coordinator.process.output())?;
    for (target, on) in &before {
        let decided = decisions(&coordinator, target).await?;
        if lost.contains(&target) {
            assert_eq!(decided[1..], [r#"place {"taken_over":{"from":1}}"#], "{target}: {decided:?}");
        } else {
            assert_eq!((&after[target], decided.len()), (on, 1), "{target} stays where it was placed: {decided:?}");
        }
    }

    until_proved(&shards, &lost, &takeover).await?;
    shards[1].start_again()?;
    until_given_up(&coordinator, &lost).await?;
    shards[1].until_ready().await?;
    let all: Vec<&Shard> = shards.iter().collect();
    assert_eq!(until_up(&all, TARGETS, 1).await?, after, "what the others have they keep");
    assert_eq!(coordinator.settled(TARGETS, 1).await?, after);
    assert_no_gap(&shards, &before, &takeover).await
}

#[tokio::test(flavor = "multi_thread")]
async fn others_take_over_what_a_hung_prometheus_had_and_keep_it_when_it_goes_on() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let (coordinator, shards) = start(dir.path(), &load).await?;
    let before = coordinator.settled(TARGETS, 1).await?;
    let lost: Vec<&String> = before.iter().filter(|(_, on)| **on == ["shard-1"]).map(|(target, _)| target).collect();

    shards[1].signal_prometheus(Signal::STOP)?;
    let hung = Instant::now();
    eventually("the coordinator says whose Prometheus hangs", Duration::from_secs(30), || async {
        let plan = promql::ask(&coordinator.url, "api/v1/plan", &[]).await?;
        let says = |error: &Value| error.as_str().is_some_and(|error| error.starts_with(HUNG));
        let state = coordinator.shards().await?[1]["state"].clone();
        let named = plan["errors"].as_array().is_some_and(|errors| errors.iter().any(says));
        ensure!(named && state == "prometheus-down", "shard-1 is {state}, and {}", plan["errors"]);
        Ok(Some(()))
    })
    .await?;
    show(format!("a Prometheus that hangs is named after {:?}", hung.elapsed()));
    let takeover = until_taken_over(&coordinator, &before).await?;
    show(format!("{} of {TARGETS} targets taken over {:?} after it hung", takeover.targets, hung.elapsed()));
    assert_eq!(takeover.targets, lost.len(), "all that the hung one had, and no others");
    assert!(takeover.silence >= FAILOVER_AFTER, "given up too early");
    let after = until_up(&[&shards[0], &shards[2]], TARGETS, 1).await.with_context(|| coordinator.process.output())?;

    until_proved(&shards, &lost, &takeover).await?;
    shards[1].signal_prometheus(Signal::CONT)?;
    let goes_on = Instant::now();
    until_given_up(&coordinator, &lost).await?;
    show(format!("it has given up what others scrape {:?} after it went on", goes_on.elapsed()));
    let all: Vec<&Shard> = shards.iter().collect();
    assert_eq!(until_up(&all, TARGETS, 1).await?, after, "what the others have they keep");
    assert_eq!(coordinator.settled(TARGETS, 1).await?, after);
    assert_no_gap(&shards, &before, &takeover).await
}

/// How the error begins that names the shard.
const HUNG: &str = "the Prometheus of shard-1 of replica-0, whose sidecar is at ";

/// A coordinator and three shards of a list.
async fn start(dir: &Path, load: &Targets) -> anyhow::Result<(Coordinator, Vec<Shard>)> {
    let config = dir.join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 2s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {:?}\n",
            load.addresses()
        ),
    )?;
    let start = |ordinal| Shard::start(dir, &format!("shard-{ordinal}"), &config, Release::V2_42);
    let shards = (0..3).map(start).collect::<anyhow::Result<Vec<_>>>()?;
    for shard in &shards {
        shard.until_ready().await?;
    }
    let list = dir.join("shards.yaml");
    std::fs::write(&list, shard_list::list(&[&shards]))?;
    let failover = format!("--shard.failover-after={}s", FAILOVER_AFTER.as_secs());
    let settings = Settings::new(dir, &config, Release::V2_42, &["--shard.min-shard=3", &failover])?;
    Ok((Coordinator::start(settings.with_shard_list(list)).await?, shards))
}

/// The round in which a shard was given up.
struct Takeover {
    targets: usize,
    /// In milliseconds since the epoch.
    at: i64,
    /// For how long the shard had not answered.
    silence: Duration,
}

impl Takeover {
    /// What `/debug/round` says of it; none as long as nothing was taken over.
    fn seen_in(round: &Value) -> anyhow::Result<Option<Self>> {
        let memory = &round["plan"]["replicas"]["replica-0"]["memory"];
        let Some(taken_over) = memory["taken_over"].as_object() else { return Ok(None) };
        let at = taken_over.values().filter_map(|target| target["at"].as_i64()).min().context("when it was")?;
        let silent_since = memory["lost"]["1"].as_i64().context("since when shard-1 is silent")?;
        let silence = Duration::from_millis((at - silent_since).try_into()?);
        Ok(Some(Self { targets: taken_over.len(), at, silence }))
    }
}

/// Waits until the dead shard is given up. Until then every target is where it was.
async fn until_taken_over(coordinator: &Coordinator, before: &Placement) -> anyhow::Result<Takeover> {
    let url = format!("{}/debug/round", coordinator.url);
    eventually("the dead shard is given up", FAILOVER_AFTER * 2, || async {
        // Looked at first: by the time of the next question, it may be given up.
        let placement = coordinator.placement().await?;
        let takeover = Takeover::seen_in(&promql::client()?.get(&url).send().await?.json().await?)?;
        if takeover.is_none() {
            assert_eq!(&placement, before, "something moved while the shard was waited for");
        }
        Ok(takeover)
    })
    .await
    .with_context(|| coordinator.process.output())
}

/// What the coordinator says it decided about a target, oldest first.
async fn decisions(coordinator: &Coordinator, target: &str) -> anyhow::Result<Vec<String>> {
    let targets = coordinator.active_targets().await?;
    let named = targets.iter().find(|one| one["labels"]["instance"] == target);
    let id = named.and_then(|one| one["id"].as_str()).with_context(|| format!("{target} has an id"))?;
    let told = promql::ask(&coordinator.url, &format!("api/v1/targets/{id}/history"), &[]).await?;
    let changes = told["history"].as_array().context("a history")?.iter().rev();
    let changes = changes.filter(|one| one["change"] != "unplaced");
    Ok(changes.map(|one| format!("{} {}", one["change"].as_str().unwrap_or_default(), one["why"])).collect())
}

/// Waits until those that took over have scraped each target three times: whoever has not yields to the one that returns.
async fn until_proved(shards: &[Shard], lost: &[&String], takeover: &Takeover) -> anyhow::Result<()> {
    let others = [shards[0].prometheus_url.clone(), shards[2].prometheus_url.clone()];
    for target in lost {
        eventually("it is scraped three times where it is now", Duration::from_secs(30), || async {
            let scrapes = promql::scrapes(&others, target).await?;
            Ok((scrapes.iter().filter(|at| **at >= takeover.at).count() >= 3).then_some(()))
        })
        .await?;
    }
    Ok(())
}

/// Waits until the shard that was lost has given up what it had: others scrape it by now.
async fn until_given_up(coordinator: &Coordinator, lost: &[&String]) -> anyhow::Result<()> {
    for target in lost {
        eventually("it gives up what others scrape by now", Duration::from_secs(60), || async {
            let decided = decisions(coordinator, target).await?;
            Ok((decided[2..] == [r#"move "held_twice""#, "settle null"]).then_some(()))
        })
        .await
        .with_context(|| coordinator.process.output())?;
    }
    Ok(())
}

/// Every scrape of every target is there: from the takeover on for those that were taken over, else from the start.
async fn assert_no_gap(shards: &[Shard], before: &Placement, takeover: &Takeover) -> anyhow::Result<()> {
    let urls: Vec<String> = shards.iter().map(|shard| shard.prometheus_url.clone()).collect();
    let mut longest = BTreeMap::new();
    for (target, on) in before {
        let mut scrapes = promql::scrapes(&urls, target).await?;
        if on == &["shard-1"] {
            scrapes.retain(|at| *at >= takeover.at);
            let first = scrapes.first().with_context(|| format!("{target} is not scraped any more"))?;
            show(format!("{target} was scraped again {} ms after it was taken over", first - takeover.at));
        }
        longest.insert(promql::longest_gap(&scrapes)?, target);
    }
    let (gap, target) = longest.last_key_value().context("there are targets")?;
    show(format!("longest time between two scrapes of a target (since then, where it was taken over): {gap:?}"));
    assert!(*gap < Duration::from_secs(4), "{target} was not scraped for {gap:?}, at an interval of 2 s");
    Ok(())
}
