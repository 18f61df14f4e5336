//! One target changes: no Prometheus is reloaded, and no other target's scrape loop is restarted.

use std::time::Duration;

use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql, show,
    targets::Targets,
};

#[tokio::test(flavor = "multi_thread")]
async fn changing_one_target_reloads_nothing_and_restarts_no_other_scrape_loop_on_2_42() -> anyhow::Result<()> {
    changing_one_target_reloads_nothing(Release::V2_42).await
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_one_target_reloads_nothing_and_restarts_no_other_scrape_loop_on_3_5() -> anyhow::Result<()> {
    changing_one_target_reloads_nothing(Release::V3_5).await
}

async fn changing_one_target_reloads_nothing(release: Release) -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(6, 200).await?;
    let addresses = load.addresses();
    let sd_file = |changing: &str| {
        let group = |(i, address): (usize, &String)| {
            let version = if i == 5 { changing } else { "one" };
            format!("- {{targets: ['{address}'], labels: {{version: {version}}}}}\n")
        };
        addresses.iter().enumerate().map(group).collect::<String>()
    };
    dir.write("targets.yml", &sd_file("one"))?;
    let config = dir.write(
        "prometheus.yml",
        "global: {scrape_interval: 1s}\nscrape_configs:\n  - job_name: files\n    file_sd_configs: [{files: [targets.yml]}]\n",
    )?;
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, release, &[])?).await?;
    let shard = eventually("all six targets are up on the one shard", Duration::from_secs(60), || async {
        let Some(url) = coordinator.prometheus_urls().await?.pop() else { return Ok(None) };
        Ok((promql::number(&url, "sum(up)").await? == Some(6.0)).then_some(url))
    })
    .await?;
    // Every loop has scraped twice: from here on no scrape brings a new series.
    eventually("all loops have settled", Duration::from_secs(60), || async {
        Ok((promql::number(&shard, "sum(max_over_time(scrape_series_added[4s]))").await? == Some(0.0)).then_some(()))
    })
    .await?;
    // Prometheus does not scrape itself here: its own metrics are read off it directly.
    let reloads = "prometheus_config_last_reload_success_timestamp_seconds";
    let before = own_metric(&shard, reloads).await?;

    dir.write("targets.yml", &sd_file("two"))?;
    eventually("the changed target is scraped with its new labels", Duration::from_secs(60), || async {
        Ok((promql::number(&shard, r#"up{version="two"}"#).await? == Some(1.0)).then_some(()))
    })
    .await?;
    eventually("the old one has gone stale", Duration::from_secs(60), || async {
        Ok((promql::number(&shard, r#"count(up{version="one"})"#).await? == Some(5.0)).then_some(()))
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;

    assert_eq!(own_metric(&shard, reloads).await?, before, "the config was reloaded");
    let added = promql::instant(&shard, r#"max_over_time(scrape_series_added{version="one"}[10s])"#).await?;
    let others: Vec<_> = added.iter().filter(|(labels, _)| labels["instance"] != addresses[5]).collect();
    show(format!("scrape_series_added of the untouched targets: {others:?}"));
    assert_eq!(others.len(), 5);
    assert!(others.iter().all(|(_, value)| *value == "0"), "a scrape loop was restarted: {others:?}");
    Ok(())
}

async fn own_metric(url: &str, name: &str) -> anyhow::Result<String> {
    let text = promql::client()?.get(format!("{url}/metrics")).send().await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(name));
    Ok(line.ok_or_else(|| anyhow::anyhow!("{url} has no metric {name}"))?.to_owned())
}
