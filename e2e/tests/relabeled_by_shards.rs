//! Jobs whose relabeling is left to the shards: their series are those of an unsharded Prometheus, of either release, on
//! each of two shards between which all of them move.

use std::{collections::BTreeSet, path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    loadgen::{Config, Loadgen, TargetSettings, Tls, certificates},
    process::{Release, Workdir},
    promql,
    shard_list::{self, Shard},
    show, stored,
};
use serde_json::{Value, json};

/// So many levels of parentheses are too many for Narthex, and a trifle for Prometheus.
const LEVELS: usize = 300;
/// What the two jobs list, and what of it is scraped.
const LISTED: usize = 6;
const SCRAPED: f64 = 5.0;
/// All that does not depend on when a target is scraped, and how fast.
const SERIES: &str = r#"{job=~".+",__name__!~"scrape_duration_seconds|scrape_series_added"}"#;
/// Room for everything, and for nothing.
const ALL: Option<u64> = Some(1_000_000);
const NOTHING: Option<u64> = Some(1);

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shards_relabel_is_what_an_unsharded_server_makes_of_it() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let targets = targets(dir.path()).await?;
    let config = config(&dir, &targets)?;
    let mut shards = [
        Shard::start(dir.path(), "shard-0", &config, Release::V2_42)?,
        Shard::start(dir.path(), "shard-1", &config, Release::V3_5)?,
    ];
    let mut unsharded = Vec::new();
    for release in [Release::V2_42, Release::V3_5] {
        let own = dir.path().join(release.version());
        std::fs::create_dir(&own)?;
        unsharded.push(Unsharded::start(&own, &config, release).await?);
    }
    for (shard, max_series) in shards.iter_mut().zip([ALL, NOTHING]) {
        shard.until_ready().await?;
        shard.max_series = max_series;
    }
    let list = dir.write("shards.yaml", &shard_list::list(&[&shards]))?;
    let flags = ["--shard.min-shard=2", "--shard.min-stay=0s"];
    let settings = Settings::new(dir.path(), &config, Release::V3_5, &flags)?.with_shard_list(list.clone());
    let coordinator = Coordinator::start(settings).await?;

    let output = || format!("{}\n{}", coordinator.process.output(), shards[0].output());
    until_equal(&shards[0], &unsharded).await.with_context(output)?;
    until_known(&coordinator, &shards[0]).await.with_context(output)?;
    let metrics = promql::client()?.get(format!("{}/metrics", coordinator.url)).send().await?.text().await?;
    ensure!(metrics.contains("\nnarthex_coordinator_jobs_relabeled_by_shards 2\n"), "{metrics}");

    for (shard, max_series) in shards.iter_mut().zip([NOTHING, ALL]) {
        shard.max_series = max_series;
    }
    std::fs::write(&list, shard_list::list(&[&shards]))?;
    let output = || format!("{}\n{}", coordinator.process.output(), shards[1].output());
    until_known(&coordinator, &shards[1]).await.with_context(output)?;
    until_equal(&shards[1], &unsharded).await.with_context(output)?;
    eventually("the first shard has let go of all targets", Duration::from_secs(60), || async {
        Ok(shards[0].targets().await?.is_empty().then_some(()))
    })
    .await?;

    drop(coordinator);
    let [one, other] = &mut shards;
    let of = |data: &Path| stored::read(data, i64::MAX);
    let (one, other) = (of(&one.stop()?)?, of(&other.stop()?)?);
    let merged = stored::merged(&[&one, &other]);
    show(format!("{} staleness markers on the shard that was left", stored::stale_markers(&one, INTERVAL).len()));
    assert_eq!(stored::failed_scrapes(&merged, INTERVAL), [], "every scrape found its target");
    let expected = of(&unsharded.remove(1).stop()?)?;
    let names = |stored: &stored::Stored| stored.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&merged), names(&expected), "the same series, from the first to the last");
    Ok(())
}

const INTERVAL: Duration = Duration::from_secs(1);

/// Four targets, and two with TLS. Each tells what it was asked for.
async fn targets(dir: &Path) -> anyhow::Result<Loadgen> {
    let certificates = dir.join("certificates");
    certificates::write_unless_there(&certificates)?;
    let plain =
        TargetSettings { series: 7, metrics: 1, fixed_values: true, reflect: true, ..TargetSettings::default() };
    let tls = Tls { cert: certificates.join("server.pem"), key: certificates.join("server.key"), client_ca: None };
    let encrypted = TargetSettings { tls: Some(tls), ..plain.clone() };
    let all = [vec![plain; 4], vec![encrypted; 2]].concat();
    Loadgen::start(Config::on_free_ports(all)).await
}

fn config(dir: &Workdir, targets: &Loadgen) -> anyhow::Result<std::path::PathBuf> {
    let at: Vec<String> = targets.addresses().iter().map(ToString::to_string).collect();
    let groups = json!([
        {"targets": [at[0], at[1]], "labels": {"role": "keep-web", "__meta_zone": "1"}},
        {"targets": [at[2]], "labels": {"role": "drop-me"}},
        {"targets": [at[4]], "labels": {"role": "keep-tls", "__scheme__": "https", "__param_more": "x y"}},
    ]);
    let listed = dir.write("listed.json", &groups.to_string())?;
    let (plain, encrypted) = (&at[3], &at[5]);
    let deep = format!("{}never{}", "(".repeat(LEVELS), ")".repeat(LEVELS));
    dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
- job_name: deep
  metrics_path: /probe
  params: {{module: [first, second]}}
  tls_config: {{insecure_skip_verify: true}}
  file_sd_configs: [{{files: ['{}']}}]
  relabel_configs:
  - {{source_labels: [role], regex: '{deep}|keep-.*', action: keep}}
  - {{regex: '__meta_(.+)', action: labelmap}}
  - {{source_labels: [__address__], regex: '.*:(.+)', target_label: instance, replacement: 'port $1'}}
- job_name: asked
  scheme: https
  tls_config: {{insecure_skip_verify: true}}
  static_configs:
  - {{targets: ['{encrypted}']}}
  - {{targets: ['{plain}'], labels: {{__scheme__: http}}}}
  relabel_configs:
  - {{action: labeldrop, regex: __narthex_relabel_by_shards}}
  - {{source_labels: [__scheme__], target_label: scheme}}
  - {{target_label: job, replacement: renamed}}
",
            listed.display()
        ),
    )
}

/// Waits until a shard has the series of each unsharded server, with the same values.
async fn until_equal(shard: &Shard, unsharded: &[Unsharded]) -> anyhow::Result<()> {
    for server in unsharded {
        eventually(&format!("{} has the series of {}", shard.name, server.url), Duration::from_secs(60), || async {
            let (of_shard, expected) =
                (promql::instant(&shard.prometheus_url, SERIES).await?, promql::instant(&server.url, SERIES).await?);
            let up = promql::number(&server.url, "sum(up)").await?;
            ensure!(up == Some(SCRAPED), "{up:?} targets are up on the unsharded server");
            let differ: Vec<_> =
                expected.iter().filter(|(labels, value)| of_shard.get(*labels) != Some(value)).collect();
            ensure!(differ.is_empty() && of_shard.len() == expected.len(), "expected {differ:#?} in {of_shard:#?}");
            Ok(Some(()))
        })
        .await?;
    }
    Ok(())
}

/// Waits until a shard alone has every target, and the coordinator knows what each weighs and which is dropped.
async fn until_known(coordinator: &Coordinator, shard: &Shard) -> anyhow::Result<()> {
    let what = format!("{} has all targets alone, and the coordinator knows what becomes of them", shard.name);
    eventually(&what, Duration::from_secs(90), || async {
        let listed = coordinator.active_targets().await?;
        ensure!(listed.len() == LISTED, "{} targets are listed", listed.len());
        for target in &listed {
            ensure!(target["relabeledByShard"] == true && target["labels"] == json!({}), "{target}");
            ensure!(target["shards"] == json!([shard.name]), "{target} is elsewhere");
            let is_dropped = target["discoveredLabels"]["role"] == "drop-me";
            let weighs = target["series"].as_u64().context("a number of series")? > 0;
            let health = if is_dropped { "unknown" } else { "up" };
            ensure!(target["health"] == health && weighs != is_dropped, "{target}");
            ensure!(target.get("droppedByShard") == is_dropped.then_some(&Value::Bool(true)), "{target}");
        }
        Ok(Some(()))
    })
    .await
}
