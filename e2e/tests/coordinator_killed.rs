//! A coordinator killed at any moment costs one more round, however long it is gone: no target moves because of it, and
//! none is lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use narthex_e2e::{
    cluster::{Coordinator, Placement, Settings, eventually},
    process::{Release, Workdir},
    promql, show,
    targets::Targets,
};

const TARGETS: usize = 12;

/// The placement once so many targets are up and no shard has more than the three that it may hold. A load that could
/// not be probed in time is estimated at first, and put right later.
async fn placed(coordinator: &Coordinator, targets: usize) -> anyhow::Result<Placement> {
    eventually("no shard has more than three targets", Duration::from_secs(120), || async {
        let placement = coordinator.settled(targets, 1).await?;
        let mut held: BTreeMap<&String, usize> = BTreeMap::new();
        placement.values().flatten().for_each(|shard| *held.entry(shard).or_default() += 1);
        Ok(held.values().all(|targets| *targets <= 3).then_some(placement))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_moves_and_none_is_lost_when_the_coordinator_is_killed_in_the_middle_of_a_scale_out()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 300).await?;
    let addresses = load.addresses();
    let list = |targets: &[String]| format!(r#"[{{"targets": {targets:?}}}]"#);
    dir.write("targets.json", &list(&addresses[..TARGETS / 2]))?;
    // Nothing here depends on how often is scraped: scrapes and probes may take as long as a busy machine needs.
    let config = dir.write(
        "prometheus.yml",
        "global: {scrape_interval: 3s}\nscrape_configs:\n  - job_name: load\n    file_sd_configs: [{files: [targets.json]}]\n",
    )?;
    // Three targets a shard: two shards for the first half, four for all.
    let settings = Settings::new(dir.path(), &config, Release::V2_42, &["--shard.max-series=1050"])?;
    let mut coordinator = Coordinator::start(settings).await?;
    let before = placed(&coordinator, TARGETS / 2).await?;

    dir.write("targets.json", &list(&addresses))?;
    let third_shard = dir.path().join("shards/shard-2");
    let began = Instant::now();
    while !third_shard.exists() {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(120), "no scale-out: {}", coordinator.process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    coordinator.process.kill()?;
    let there = std::fs::read_dir(dir.path().join("shards"))?.flatten();
    let there = there.filter(|entry| entry.file_name().to_string_lossy().starts_with("shard-")).count();
    show(format!("killed with {there} of 4 shards there and {} of {TARGETS} targets placed", before.len()));

    let coordinator = coordinator.restart().await?;
    let after = placed(&coordinator, TARGETS).await?;
    for (target, shards) in &before {
        assert_eq!(after.get(target), Some(shards), "{target} moved although it had a shard");
    }
    assert_eq!(coordinator.shards().await?.len(), 4);

    let again = placed(&coordinator.restart().await?, TARGETS).await?;
    assert_eq!(again, after, "a restart moves nothing");
    Ok(())
}

/// How long the coordinator is gone, unless `$NARTHEX_E2E_GONE_SECONDS` says otherwise: long enough for a shard to be lost,
/// if it were the shard.
const GONE: Duration = Duration::from_secs(65);

#[tokio::test(flavor = "multi_thread")]
async fn shards_go_on_scraping_while_the_coordinator_is_gone_and_nothing_moves_when_it_is_back() -> anyhow::Result<()> {
    let gone = std::env::var("NARTHEX_E2E_GONE_SECONDS");
    let gone = gone.map_or(Ok(GONE), |seconds| seconds.parse().map(Duration::from_secs))?;
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS / 2, 300).await?;
    let targets = load.addresses();
    // As often as a busy machine can.
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 5s, scrape_timeout: 5s}}\nscrape_configs:\n  - job_name: load\n    static_configs: [{{targets: {targets:?}}}]\n"
        ),
    )?;
    let flags = ["--shard.max-series=1050", "--shard.failover-after=61s"];
    let mut coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V2_42, &flags)?).await?;
    let before = placed(&coordinator, targets.len()).await?;
    let (servers, assignments) = (coordinator.prometheus_urls().await?, revisions(&coordinator).await?);
    assert_eq!(servers.len(), 2, "the test needs several shards");

    let killed_at = now()?;
    coordinator.process.kill()?;
    tokio::time::sleep(gone).await;
    let coordinator = coordinator.restart().await?;
    let back_at = now()?;
    assert_eq!(placed(&coordinator, targets.len()).await?, before, "a target moved");
    // Whatever it had a mind to move would have begun by then.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(placed(&coordinator, targets.len()).await?, before, "a target moved later");
    assert_eq!(revisions(&coordinator).await?, assignments, "a shard was told something");

    let (mut longest, mut meanwhile) = (Duration::ZERO, 0);
    for target in &targets {
        let mut scrapes = promql::scrapes(&servers, target).await?;
        longest = longest.max(promql::longest_gap(&scrapes)?);
        scrapes.retain(|at| (killed_at..back_at).contains(at));
        meanwhile += scrapes.len();
    }
    show(format!(
        "the coordinator was gone for {} ms: {meanwhile} scrapes of {} targets meanwhile, at most {longest:?} between two",
        back_at - killed_at,
        targets.len()
    ));
    assert!(longest < Duration::from_secs(8), "a target was not scraped for {longest:?}, at an interval of 5 s");
    Ok(())
}

/// The versions of the shards' assignments, by shard.
async fn revisions(coordinator: &Coordinator) -> anyhow::Result<BTreeMap<String, String>> {
    let shards = coordinator.shards().await?;
    Ok(shards.iter().map(|shard| (shard["id"].to_string(), shard["revision"].to_string())).collect())
}

/// Milliseconds since the epoch.
fn now() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
