//! Two replicas that mirror each other: a target is on the same ordinal in both, whatever happens to a shard.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Placement, Settings, eventually},
    process::{Release, Workdir},
    promql,
    shard_list::{self, Shard, until_up},
    show,
    targets::Targets,
};
const TARGETS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn every_target_is_on_the_same_ordinal_in_both_replicas_and_stays_there_when_a_shard_restarts()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(TARGETS, 100).await?;
    let (coordinator, mut replicas) = start(dir.path(), &load).await?;
    coordinator.settled(TARGETS, 2).await?;
    let before = up_on(&replicas).await?;
    for (target, on) in &before {
        assert!(is_mirrored(on), "{target} is on {on:?}");
    }
    let on_0 = before.values().filter(|on| on.contains(&"a-0".to_owned())).count();
    show(format!("{TARGETS} targets, {on_0} on the first and {} on the second shard of both replicas", TARGETS - on_0));
    assert!((1..TARGETS).contains(&on_0), "both shards are used: {before:?}");
    let decided = decided(&coordinator).await?;

    for (replica, ordinal) in [(1, 0), (0, 1)] {
        let shard = &mut replicas[replica][ordinal];
        let name = shard.name.clone();
        shard.die().await?;
        eventually(&format!("the coordinator misses {name}"), Duration::from_secs(60), || async {
            Ok((state_of(&coordinator, &name).await? != "ready").then_some(()))
        })
        .await?;
        shard.start_again()?;
        eventually(&format!("{name} is back"), Duration::from_secs(60), || async {
            Ok((state_of(&coordinator, &name).await? == "ready").then_some(()))
        })
        .await?;
        coordinator.settled(TARGETS, 2).await?;
        assert_eq!(up_on(&replicas).await?, before, "{name} restarted");
    }
    assert_eq!(self::decided(&coordinator).await?, decided, "nothing was placed or moved anew");
    Ok(())
}

/// A coordinator and two replicas of two shards each: a-0 and a-1, b-0 and b-1.
async fn start(dir: &Path, load: &Targets) -> anyhow::Result<(Coordinator, [Vec<Shard>; 2])> {
    let config = dir.join("prometheus.yml");
    std::fs::write(
        &config,
        format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {:?}\n",
            load.addresses()
        ),
    )?;
    let replica = |replica: &str| -> anyhow::Result<Vec<Shard>> {
        (0..2).map(|ordinal| Shard::start(dir, &format!("{replica}-{ordinal}"), &config, Release::V2_42)).collect()
    };
    let replicas = [replica("a")?, replica("b")?];
    // Otherwise whoever is ready first gets all.
    for shard in replicas.iter().flatten() {
        shard.until_ready().await?;
    }
    let list = dir.join("shards.yaml");
    std::fs::write(&list, shard_list::list(&[&replicas[0], &replicas[1]]))?;
    let flags = ["--replica.placement=mirrored", "--shard.min-shard=2"];
    let settings = Settings::new(dir, &config, Release::V2_42, &flags)?.with_shard_list(list);
    Ok((Coordinator::start(settings).await?, replicas))
}

/// Whether a target is on the same ordinal in both replicas.
fn is_mirrored(on: &[String]) -> bool {
    matches!(on, [a, b] if a.strip_prefix("a-").is_some_and(|ordinal| b.strip_prefix("b-") == Some(ordinal)))
}

/// Which shards of both replicas scrape which target.
async fn up_on(replicas: &[Vec<Shard>]) -> anyhow::Result<Placement> {
    until_up(&replicas.iter().flatten().collect::<Vec<_>>(), TARGETS, 2).await
}

/// What `/api/v1/shards` calls the state of a shard.
async fn state_of(coordinator: &Coordinator, shard: &str) -> anyhow::Result<String> {
    let shards = coordinator.shards().await?;
    let state = shards.iter().find(|one| one["id"] == shard).and_then(|one| one["state"].as_str());
    Ok(state.with_context(|| format!("{shard} has a state"))?.to_owned())
}

/// How many changes of targets the coordinator has planned, by kind and reason.
async fn decided(coordinator: &Coordinator) -> anyhow::Result<Vec<String>> {
    let text = promql::client()?.get(format!("{}/metrics", coordinator.url)).send().await?.text().await?;
    Ok(text.lines().filter(|line| line.starts_with("narthex_coordinator_changes_total{")).map(str::to_owned).collect())
}
