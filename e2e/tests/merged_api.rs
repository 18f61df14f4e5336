//! The coordinator answers Prometheus' own API for all shards together, as one unsharded Prometheus does.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Context as _;
use narthex_common::config::yaml;
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    process::{Release, Workdir},
    promql, show,
    targets::Targets,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Secrets that Prometheus hides, in blocks that it discovers nothing with here.
const SECRETS: &str = "\
- job_name: secrets
  basic_auth: {username: me, password: pw1}
  http_headers: {X-One: {secrets: [pw2], values: [shown]}}
  tls_config: {insecure_skip_verify: true}
- job_name: more
  authorization: {type: Token, credentials: pw3}
  proxy_url: http://127.0.0.1:1
  proxy_connect_header: {X-Two: [pw4]}
- job_name: oauth
  oauth2: {client_id: me, client_secret: pw5, token_url: 'http://127.0.0.1:1/token', scopes: [s]}
  http_sd_configs: [{url: 'http://me:pw6@127.0.0.1:1/sd', refresh_interval: 1h, bearer_token: pw7}]
remote_write:
- {url: 'http://me:pw8@127.0.0.1:1/write', basic_auth: {username: me, password: pw9}}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_coordinator_answers_is_what_one_prometheus_answers() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(4, 60).await?;
    let addresses = load.addresses();
    dir.write("app.yml", &format!("[{{targets: {addresses:?}, labels: {{team: a}}}}, {{targets: [gone, away]}}]"))?;
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: app\n  keep_dropped_targets: 3\n  \
             file_sd_configs: [{{files: [app.yml]}}]\n  relabel_configs:\n  \
             - {{source_labels: [__address__], regex: 'gone|away', action: drop}}\n{SECRETS}"
        ),
    )?;
    // The discovery of one job never answers.
    let flags = ["--shard.max-series=150", "--sd.init-timeout=1s"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V3_5, &flags)?).await?;
    coordinator.settled(4, 1).await?;
    let unsharded = Unsharded::start(dir.path(), &config, Release::V3_5).await?;
    assert!(coordinator.shards().await?.len() >= 2, "no shard has all of them");

    for (path, query) in [
        ("api/v1/scrape_pools", &[][..]),
        ("api/v1/metadata", &[]),
        ("api/v1/metadata", &[("metric", "narthex_load_0"), ("limit", "1")]),
        ("api/v1/metadata", &[("limit", "0")]),
        ("api/v1/targets/metadata", &[]),
        ("api/v1/targets/metadata", &[("metric", "up"), ("match_target", "{team=\"a\"}")]),
        ("api/v1/targets/metadata", &[("match_target", "{team=\"b\"}")]),
        ("api/v1/targets", &[("state", "active")]),
        ("api/v1/targets", &[("state", "dropped"), ("scrapePool", "none")]),
        ("api/v1/targets", &[]),
    ] {
        let what = format!("{path} with {query:?} is answered alike");
        let answered = async |url: &str| anyhow::Ok(comparable(promql::ask(url, path, query).await?));
        eventually(&what, PATIENCE, || async {
            let (ours, theirs) = (answered(&coordinator.url).await?, answered(&unsharded.url).await?);
            anyhow::ensure!(ours == theirs, "the coordinator: {ours}\nPrometheus: {theirs}");
            Ok(Some(()))
        })
        .await?;
        show(what);
    }
    same_refusals(&coordinator.url, &unsharded.url).await?;

    let config_of = async |url: &str| -> anyhow::Result<yaml::Node> {
        let data = promql::ask(url, "api/v1/status/config", &[]).await?;
        Ok(yaml::read(data["yaml"].as_str().context("a text")?)?)
    };
    let (ours, theirs) = (config_of(&coordinator.url).await?, config_of(&unsharded.url).await?);
    let (our_secrets, their_secrets) = (hidden(&ours), hidden(&theirs));
    assert!(their_secrets.len() >= 7, "{their_secrets:?}");
    assert_eq!(their_secrets.difference(&our_secrets).collect::<Vec<_>>(), Vec::<&String>::new(), "all are hidden");
    let text = ours.to_yaml();
    assert!(!text.contains("pw") && text.contains("shown"), "{text}");
    Ok(())
}

/// What both refuse, in the same words.
async fn same_refusals(coordinator: &str, prometheus: &str) -> anyhow::Result<()> {
    for asked in ["metadata?limit=x", "targets/metadata?limit=x", "targets/metadata?match_target=x%7B"] {
        let answer = async |url: &str| -> anyhow::Result<(u16, Value)> {
            let answer = promql::client()?.get(format!("{url}/api/v1/{asked}")).send().await?;
            Ok((answer.status().as_u16(), answer.json().await?))
        };
        assert_eq!(answer(coordinator).await?, answer(prometheus).await?, "{asked}");
    }
    Ok(())
}

/// An answer without what differs from scrape to scrape and from host to host, and without what the coordinator knows
/// besides, with lists in order.
fn comparable(mut data: Value) -> Value {
    let active = data.get_mut("activeTargets").and_then(Value::as_array_mut);
    for target in active.into_iter().flatten().filter_map(Value::as_object_mut) {
        for varying in ["lastScrape", "lastScrapeDuration", "globalUrl"] {
            assert!(target.remove(varying).is_some(), "{varying}");
        }
        for more in ["series", "totalSeries", "shards", "id"] {
            target.remove(more);
        }
    }
    for list in ["activeTargets", "droppedTargets"] {
        if let Some(targets) = data.get_mut(list).and_then(Value::as_array_mut) {
            targets.sort_by_key(ToString::to_string);
        }
    }
    if let Some(list) = data.as_array_mut() {
        list.sort_by_key(ToString::to_string);
    }
    data
}

/// Where a config has hidden values: by the names of the fields that lead there.
fn hidden(node: &yaml::Node) -> BTreeSet<String> {
    match &node.kind {
        yaml::Kind::Scalar(scalar) => (scalar.text == "<secret>").then(String::new).into_iter().collect(),
        yaml::Kind::Sequence(items) => {
            let items = items.iter().enumerate();
            items.flat_map(|(n, item)| hidden(item).into_iter().map(move |path| format!("/{n}{path}"))).collect()
        }
        yaml::Kind::Mapping(entries) => {
            let named = |name: &str| match name {
                // Prometheus reads the one as the other.
                "bearer_token" => "authorization/credentials".to_owned(),
                name => name.to_owned(),
            };
            let below = |(key, value): &(yaml::Scalar, yaml::Node)| {
                let name = named(&key.text);
                hidden(value).into_iter().map(|path| format!("/{name}{path}")).collect::<Vec<_>>()
            };
            entries.iter().flat_map(below).collect()
        }
    }
}
