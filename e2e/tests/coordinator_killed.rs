//! A coordinator killed at any moment costs one more round: no target moves because of it, and none is lost.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    show,
    targets::Targets,
};

const TARGETS: usize = 12;

/// Which shard scrapes which target: by the target's URL.
async fn placement(coordinator: &Coordinator) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let targets = coordinator.active_targets().await?;
    let shards = |target: &serde_json::Value| -> Vec<String> {
        target["shards"].as_array().into_iter().flatten().filter_map(|id| id.as_str()).map(str::to_owned).collect()
    };
    Ok(targets
        .iter()
        .filter_map(|target| Some((target["scrapeUrl"].as_str()?.to_owned(), shards(target))))
        .filter(|(_, shards)| !shards.is_empty())
        .collect())
}

/// Waits until every one of so many targets has a shard and is up.
async fn all_placed(coordinator: &Coordinator, targets: usize) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
    let what = format!("{targets} targets have shards and are up");
    eventually(&what, Duration::from_secs(60), || async {
        let placed = placement(coordinator).await?;
        let up = coordinator.active_targets().await?.iter().filter(|target| target["health"] == "up").count();
        Ok((placed.len() == targets && up == targets).then_some(placed))
    })
    .await
    .with_context(|| coordinator.process.output())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target_moves_and_none_is_lost_when_the_coordinator_is_killed_in_the_middle_of_a_scale_out()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 1000).await?;
    let addresses = load.addresses();
    let list = |targets: &[String]| format!(r#"[{{"targets": {targets:?}}}]"#);
    dir.write("targets.json", &list(&addresses[..TARGETS / 2]))?;
    let config = dir.write(
        "prometheus.yml",
        "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: load\n    file_sd_configs: [{files: [targets.json]}]\n",
    )?;
    // Three targets a shard: two shards for the first half, four for all.
    let settings = Settings::new(dir.path(), &config, Release::V2_42, &["--shard.max-series=3500"])?;
    let mut coordinator = Coordinator::start(settings).await?;
    let before = all_placed(&coordinator, TARGETS / 2).await?;

    dir.write("targets.json", &list(&addresses))?;
    let third_shard = dir.path().join("shards/shard-2");
    let began = Instant::now();
    while !third_shard.exists() {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(30), "no scale-out: {}", coordinator.process.output());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    coordinator.process.kill()?;
    let there = std::fs::read_dir(dir.path().join("shards"))?.flatten();
    let there = there.filter(|entry| entry.file_name().to_string_lossy().starts_with("shard-")).count();
    show(format!("killed with {there} of 4 shards there and {} of {TARGETS} targets placed", before.len()));

    let coordinator = coordinator.restart().await?;
    let after = all_placed(&coordinator, TARGETS).await?;
    for (target, shards) in &before {
        assert_eq!(after.get(target), Some(shards), "{target} moved although it had a shard");
    }
    for (target, shards) in &after {
        assert_eq!(shards.len(), 1, "{target} is scraped by {shards:?}");
    }
    assert_eq!(coordinator.shards().await?.len(), 4);

    let again = all_placed(&coordinator.restart().await?, TARGETS).await?;
    assert_eq!(again, after, "a restart moves nothing");
    Ok(())
}
