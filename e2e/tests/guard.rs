//! A target that explodes is cut off with a clear reason, harms nobody else, stays where it is, and is back in the first
//! scrape in which it has shrunk.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql, show,
    targets::Targets,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const REASON: &str = "target exposes more than 100 series (--target.max-series); cut off";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_explodes_is_cut_off_and_comes_back_when_it_shrinks() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(5, 50).await?;
    let [exploding, calm, other, free, huge] = &load.addresses()[..] else { bail!("five targets") };
    load.set_series(4, 2_000)?;
    dir.write("app.yml", &format!("[{{targets: ['{exploding}', '{calm}', '{other}']}}]"))?;
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 2s}}\nscrape_configs:\n\
             - {{job_name: app, file_sd_configs: [{{files: [app.yml]}}]}}\n\
             - {{job_name: a=b, static_configs: [{{targets: ['{free}']}}]}}\n"
        ),
    )?;
    let flags = ["--shard.max-series=1000", "--target.max-series=100", "--target.max-series-of-job=a=b=0"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V2_42, &flags)?).await?;
    coordinator.settled(4, 1).await?;
    let shard = coordinator.prometheus_urls().await?.pop().context("a shard")?;

    eventually("the fleet's metrics are known", PATIENCE, || async {
        let samples = promql::ask(&coordinator.url, "api/v1/samples", &[("job", "app"), ("limit", "2")]).await?;
        let app = &samples["app"];
        let listed = app["metricsTotal"].as_object().map_or(0, serde_json::Map::len);
        Ok((app["targets"] == 3 && app["total"] == 150 && listed == 2).then_some(()))
    })
    .await?;

    load.set_series(0, 400)?;
    load.set_series(3, 400)?;
    let errors = errors_until(&shard, exploding, |error| error.ends_with(REASON)).await?;
    show(format!("what Prometheus said of it, scrape by scrape: {errors:?}"));
    let without_reason = errors.values().filter(|error| !error.is_empty() && !error.ends_with(REASON)).count();
    assert!(without_reason <= 1, "the second scrape says why: {errors:?}");
    let told = format!("server returned HTTP status 502 {REASON}");
    assert_eq!(errors.values().next_back(), Some(&told));

    let seen = eventually("the coordinator sees it down, and why", PATIENCE, || async {
        let seen = coordinator_sees(&coordinator, exploding).await?;
        Ok((seen["health"] == "down" && seen["lastError"] == REASON).then_some(seen))
    })
    .await?;
    assert_eq!((&seen["shards"], &seen["totalSeries"]), (&serde_json::json!(["shard-0"]), &Value::from(50)));
    let taken = promql::number(&shard, &format!("sum(scrape_samples_scraped{{instance=\"{exploding}\"}})")).await?;
    assert_eq!(taken, Some(0.0), "nothing of it is taken");
    eventually("a target of a job without a limit may have grown as much", PATIENCE, || async {
        let taken = promql::number(&shard, "sum(scrape_samples_scraped{job=\"a=b\"})").await?;
        Ok((taken == Some(400.0)).then_some(()))
    })
    .await?;

    dir.write("app.yml", &format!("[{{targets: ['{exploding}', '{calm}', '{other}', '{huge}']}}]"))?;
    eventually("a new target that is too large for any shard is cut off, too", PATIENCE, || async {
        let seen = coordinator_sees(&coordinator, huge).await?;
        Ok((seen["lastError"] == REASON).then_some(()))
    })
    .await
    .with_context(|| coordinator.process.output())?;
    assert_eq!(own_metric(&coordinator, "narthex_sidecar_guarded_targets").await?, 2.0);

    load.set_series(0, 70)?;
    let shrunk = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    eventually("it is up again", PATIENCE, || async {
        Ok((promql::number(&shard, &format!("up{{instance=\"{exploding}\"}}")).await? == Some(1.0)).then_some(()))
    })
    .await?;
    let since: Vec<_> =
        samples(&shard, exploding).await?.into_iter().filter(|(at, _)| *at > shrunk).map(|(_, up)| up).collect();
    assert!(since.iter().all(|up| up == "1"), "it is up in the first scrape after it has shrunk: {since:?}");
    eventually("the coordinator sees it up", PATIENCE, || async {
        let seen = coordinator_sees(&coordinator, exploding).await?;
        Ok((seen["health"] == "up" && seen["lastError"] == "" && seen["totalSeries"] == 70).then_some(()))
    })
    .await?;

    assert_eq!(coordinator.shards().await?.len(), 1, "nobody asked for a shard for them");
    for unharmed in [calm, other, free] {
        let scrapes = promql::scrapes(std::slice::from_ref(&shard), unharmed).await?;
        let gap = promql::longest_gap(&scrapes)?;
        assert!(gap < Duration::from_millis(3_900), "{unharmed} was not scraped for {gap:?}");
    }
    Ok(())
}

async fn coordinator_sees(coordinator: &Coordinator, instance: &str) -> anyhow::Result<Value> {
    let targets = coordinator.active_targets().await?;
    targets.into_iter().find(|target| target["labels"]["instance"] == instance).context("the coordinator knows it")
}

/// What a Prometheus says of a target at each scrape, by its time, until it says something.
async fn errors_until(
    url: &str,
    instance: &str,
    is_it: impl Fn(&str) -> bool,
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut errors = BTreeMap::new();
    for _ in 0..600 {
        let data = promql::ask(url, "api/v1/targets", &[("state", "active")]).await?;
        let targets = data["activeTargets"].as_array().context("a list of targets")?;
        let target = targets.iter().find(|target| target["labels"]["instance"] == instance).context("the target")?;
        let text = |field: &str| target[field].as_str().unwrap_or_default().to_owned();
        let found = is_it(&text("lastError"));
        errors.insert(text("lastScrape"), text("lastError"));
        if found {
            return Ok(errors);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("Prometheus never said so, but {errors:?}")
}

/// When a target was scraped, and whether it was up.
async fn samples(url: &str, instance: &str) -> anyhow::Result<Vec<(f64, String)>> {
    let query = format!("up{{instance=\"{instance}\"}}[5m]");
    let data = promql::ask(url, "api/v1/query", &[("query", &query)]).await?;
    let values = data["result"][0]["values"].as_array().context("samples")?;
    Ok(values.iter().filter_map(|value| Some((value[0].as_f64()?, value[1].as_str()?.to_owned()))).collect())
}

/// A gauge of the first shard's sidecar.
async fn own_metric(coordinator: &Coordinator, name: &str) -> anyhow::Result<f64> {
    let shards = coordinator.shards().await?;
    let url = shards[0]["url"].as_str().context("the sidecar's address")?.to_owned();
    let text = promql::client()?.get(format!("{}/metrics", url.trim_end_matches('/'))).send().await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.with_context(|| format!("{url} has no metric {name}"))?.parse()?)
}
