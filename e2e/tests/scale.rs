//! Shards come and go with the load, and a target that moves misses no scrape.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql, show, stored,
    targets::Targets,
};

const INTERVAL: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn shards_come_with_the_load_and_go_with_it_and_no_scrape_is_missed() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(3, 1000).await?;
    let addresses = load.addresses();
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 2s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {addresses:?}\n"
        ),
    )?;
    // By work, not by memory: a head keeps what it had for hours, and a shard whose head is full takes nothing back.
    let flags = ["--shard.max-samples-per-second=2000", "--shard.max-idle-time=5s", "--shard.min-stay=10s"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V2_42, &flags)?).await?;
    wait_for_shards(&coordinator, 1, "three targets of 1000 series, scraped every two seconds, fit one shard").await?;
    tokio::time::sleep(Duration::from_secs(10)).await;

    load.set_series(0, 2200)?;
    wait_for_shards(&coordinator, 2, "2100 samples a second are too many: a shard comes and a target moves there")
        .await?;
    let urls = coordinator.prometheus_urls().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    for address in &addresses {
        let gap = promql::longest_gap(&promql::scrapes(&urls, address).await?)?;
        show(format!("longest time between two scrapes of {address} over its move: {gap:?}"));
        assert!(gap < Duration::from_secs(4), "{address} was not scraped for {gap:?}, at an interval of 2 s");
    }

    load.set_series(0, 500)?;
    wait_for_shards(&coordinator, 1, "everything fits one shard again: the second is emptied, idle, and goes").await?;
    assert_eq!(coordinator.active_targets().await?.len(), 3);
    assert_drained_without_a_trace(&dir, &addresses)
}

/// The shard that went has written no staleness marker to the series of the target that it had.
fn assert_drained_without_a_trace(dir: &Workdir, addresses: &[String]) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(dir.path().join("shards"))?.flatten().map(|entry| entry.path());
    let gone = |path: &PathBuf| path.to_string_lossy().contains("shard-1.removed-");
    let gone = entries.into_iter().find(gone).context("the directory of the shard that went")?;
    let stored = stored::read(&gone.join("data"), i64::MAX)?;
    // The first target has lost series itself: those end.
    let of_others = |series: &str| addresses[1..].iter().any(|address| series.contains(address.as_str()));
    let moved = stored.keys().filter(|series| of_others(series)).count();
    show(format!("the shard that went had {moved} series of the targets that moved"));
    assert!(moved > 1000, "nothing moved there");
    // A scrape that fails on a busy machine marks its series, too.
    let failed = stored::failed_scrapes(&stored, INTERVAL);
    let mut stale = stored::stale_markers(&stored, INTERVAL);
    stale.retain(|marker| of_others(marker.series) && !failed.iter().any(|failure| failure.overlaps(marker)));
    assert_eq!(stale, [], "marked stale when the shard was emptied");
    Ok(())
}

/// Waits for a number of shards with every target up on exactly one of them.
async fn wait_for_shards(coordinator: &Coordinator, shards: usize, why: &str) -> anyhow::Result<()> {
    eventually(why, Duration::from_secs(120), || async {
        let targets = coordinator.active_targets().await?;
        let settled = |target: &serde_json::Value| {
            target["health"] == "up" && target["shards"].as_array().is_some_and(|shards| shards.len() == 1)
        };
        let there = coordinator.shards().await?.len();
        Ok((there == shards && targets.len() == 3 && targets.iter().all(settled)).then_some(()))
    })
    .await
    .with_context(|| coordinator.process.output())
}
