//! A coordinator killed at any moment costs one more round: no target moves because of it, and none is lost.

use std::{collections::BTreeMap, time::Duration};

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

#[tokio::test(flavor = "multi_thread")]
async fn no_target_moves_and_none_is_lost_when_the_coordinator_is_killed_in_the_middle_of_a_scale_out()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 1000).await?;
    let config = dir.write("prometheus.yml", &one_job(&load.addresses()))?;
    // Three targets a shard: four shards.
    let settings = Settings::new(dir.path(), &config, Release::V2_42, &["--shard.max-series=3500"])?;
    let mut coordinator = Coordinator::start(settings).await?;

    let before = eventually("some shards, but not all, have targets", Duration::from_secs(60), || async {
        let placed = placement(&coordinator).await?;
        Ok((!placed.is_empty()).then_some(placed))
    })
    .await?;
    coordinator.process.kill()?;
    show(format!("killed with {} of {TARGETS} targets placed: {before:?}", before.len()));

    let coordinator = coordinator.restart().await?;
    let after = eventually("every target has a shard and is up", Duration::from_secs(60), || async {
        let placed = placement(&coordinator).await?;
        let up = coordinator.active_targets().await?.iter().filter(|target| target["health"] == "up").count();
        Ok((placed.len() == TARGETS && up == TARGETS).then_some(placed))
    })
    .await?;
    for (target, shards) in &before {
        assert_eq!(after.get(target), Some(shards), "{target} moved although it had a shard");
    }
    for (target, shards) in &after {
        assert_eq!(shards.len(), 1, "{target} is scraped by {shards:?}");
    }
    assert_eq!(coordinator.shards().await?.len(), 4);

    let coordinator = coordinator.restart().await?;
    let again = eventually("the second restart sees every target", Duration::from_secs(60), || async {
        let placed = placement(&coordinator).await?;
        Ok((placed.len() == TARGETS).then_some(placed))
    })
    .await?;
    assert_eq!(again, after, "a restart moves nothing");
    Ok(())
}

fn one_job(addresses: &[String]) -> String {
    format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {addresses:?}\n"
    )
}
