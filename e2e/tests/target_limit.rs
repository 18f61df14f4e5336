//! A job with more targets than its `target_limit` is not scraped, as an unsharded Prometheus does it: every `up` is 0
//! and no target gets a request, until there are few enough.

use std::{collections::BTreeMap, time::Duration};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    loadgen::{Config, Loadgen, TargetSettings},
    process::{Release, Workdir},
    promql, show,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_job_with_too_many_targets_is_not_scraped_until_there_are_few_enough() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let settings = TargetSettings { series: 50, ..TargetSettings::default() };
    let load = Loadgen::start(Config::on_free_ports(vec![settings; 5])).await?;
    let addresses: Vec<String> = load.addresses().iter().map(ToString::to_string).collect();
    let list = |count: usize| dir.write("app.yml", &format!("[{{targets: {:?}}}]", &addresses[..count]));
    list(3)?;
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n\
             - {{job_name: app, target_limit: 3, file_sd_configs: [{{files: [app.yml], refresh_interval: 1s}}]}}\n\
             - {{job_name: other, static_configs: [{{targets: ['{}', dropped]}}], relabel_configs: [\
             {{source_labels: [__address__], regex: dropped, action: drop}}]}}\n",
            addresses[4]
        ),
    )?;
    let flags = ["--shard.max-series=120"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V3_5, &flags)?).await?;
    coordinator.settled(4, 1).await?;
    let unsharded = Unsharded::start(dir.path(), &config, Release::V3_5).await?;
    let shards = coordinator.prometheus_urls().await?;
    assert!(shards.len() >= 2, "no shard has all of them: {shards:?}");

    list(4)?;
    let too_many = "target_limit exceeded (number of targets: 4, limit: 3)";
    let expected: Errors = addresses[..4].iter().map(|address| (address.clone(), too_many.to_owned())).collect();
    for (who, url) in [("the unsharded Prometheus", &unsharded.url), ("the coordinator", &coordinator.url)] {
        eventually(&format!("{who} says why, of every target"), PATIENCE, || async {
            Ok((errors(url).await? == expected).then_some(()))
        })
        .await
        .with_context(|| coordinator.process.output())?;
    }
    let asked = || (0..4).map(|target| load.scrapes(target)).collect::<Vec<_>>();
    let before = asked();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(asked(), before, "no target gets a request, the new one of the coordinator's probe neither");
    let shards = coordinator.prometheus_urls().await?;
    let mut ups = BTreeMap::new();
    for shard in &shards {
        ups.extend(promql::instant(shard, "up{job='app'}").await?);
    }
    assert_eq!(ups.len(), 4, "down, not absent: {ups:?}");
    assert_eq!(ups, promql::instant(&unsharded.url, "up{job='app'}").await?);
    let other = coordinator.active_targets().await?.into_iter().find(|target| target["labels"]["job"] == "other");
    assert_eq!(other.context("the other job")?["health"], "up");
    same_metrics(&coordinator.url, &unsharded.url).await?;

    list(3)?;
    let expected: Errors = addresses[..3].iter().map(|address| (address.clone(), String::new())).collect();
    for url in [&unsharded.url, &coordinator.url] {
        eventually("all are scraped again", PATIENCE, || async { Ok((errors(url).await? == expected).then_some(())) })
            .await?;
    }
    Ok(())
}

/// The last error of every target of the job, by its address.
type Errors = BTreeMap<String, String>;

async fn errors(url: &str) -> anyhow::Result<Errors> {
    let data = promql::ask(url, "api/v1/targets", &[("state", "active"), ("scrapePool", "app")]).await?;
    let targets = data["activeTargets"].as_array().context("a list of targets")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(targets.iter().map(|target| (text(&target["labels"]["instance"]), text(&target["lastError"]))).collect())
}

/// What metrics begin with that not every Prometheus has: only newer ones, those that are built with a discovery, those
/// that run one.
const NOT_EVERYWHERE: [&str; 6] = [
    "prometheus_sd_consul_",
    "prometheus_sd_kubernetes_",
    "prometheus_sd_last_update_timestamp_seconds",
    "prometheus_sd_refresh_duration_seconds",
    "prometheus_sd_refresh_failures",
    "prometheus_target_sync_length_histogram_seconds",
];

/// What the coordinator shows of discovery and scrape pools under Prometheus' names is what Prometheus shows.
async fn same_metrics(coordinator: &str, prometheus: &str) -> anyhow::Result<()> {
    let ours = promql::client()?.get(format!("{coordinator}/metrics")).send().await?.text().await?;
    let theirs = promql::client()?.get(format!("{prometheus}/metrics")).send().await?.text().await?;
    let types = |text: &str| -> BTreeMap<String, String> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
        // OpenMetrics names a counter's family without the suffix.
        types.map(|(name, kind)| (name.trim_end_matches("_total").to_owned(), kind.to_owned())).collect()
    };
    let (our_types, their_types) = (types(&ours), types(&theirs));
    let shown = our_types.iter().filter(|(name, _)| name.starts_with("prometheus_"));
    let mut compared = 0;
    for (name, kind) in shown {
        match their_types.get(name).map(String::as_str) {
            // Both have the series `_sum` and `_count`.
            Some("summary") => assert_eq!(kind, "histogram", "{name}"),
            Some(theirs) => assert_eq!(theirs, kind, "{name}"),
            None => {
                assert!(
                    NOT_EVERYWHERE.iter().any(|start| name.starts_with(start)),
                    "{name} is no metric of Prometheus"
                );
                continue;
            }
        }
        compared += 1;
    }
    assert!(compared >= 15, "{compared} metrics were compared");
    show(format!("{compared} metrics have the name and the type that Prometheus gives them"));
    let gauges = [
        "prometheus_sd_discovered_targets",
        "prometheus_sd_failed_configs",
        "prometheus_target_scrape_pool_target_limit",
        "prometheus_target_scrape_pool_targets",
        "prometheus_target_scrape_pools_total",
        "prometheus_target_sync_failed_total",
    ];
    let series = |text: &str| -> BTreeMap<String, f64> {
        let of_scrapes = text.lines().filter(|line| !line.contains("name=\"notify\""));
        let series = of_scrapes.filter_map(|line| line.rsplit_once(' '));
        let asked = series.filter(|(series, _)| gauges.iter().any(|name| series.split('{').next() == Some(name)));
        asked.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect()
    };
    assert_eq!(series(&ours), series(&theirs));
    Ok(())
}
