//! Faulty targets: a shard says of each what an unsharded Prometheus says that asks it itself, fails it at the same time
//! as that one, and loses nothing of the others.

#[path = "faults/expected.rs"]
mod expected;
#[path = "faults/faulty.rs"]
mod faulty;
#[path = "faults/targets.rs"]
mod targets;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    process::{Release, Workdir},
    promql,
    shard_list::{Shard, list},
    show,
};
use serde_json::Value;
use tokio::sync::Mutex;

use crate::{
    expected::comparable,
    targets::{Expected, INTERVAL_SECONDS, TIMEOUT_SECONDS, Targets},
};

/// How much memory a sidecar may have used at most, with a hundred faulty targets at once, some of which never stop
/// talking.
const MOST_MEMORY: u64 = 128 << 20;
/// A timeout strikes no earlier, but for the time in which a scrape gets going: the sidecar's clock starts a little later.
const EARLY: f64 = 0.25;
/// Nor much later, even on a busy machine.
const LATE: f64 = 1.5;

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_fails_faulty_targets_as_prometheus_2_42_does() -> anyhow::Result<()> {
    compare(Release::V2_42).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_fails_faulty_targets_as_prometheus_3_5_does() -> anyhow::Result<()> {
    compare(Release::V3_5).await
}

/// The timeouts of one comparison are not to be struck by the load of the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

async fn compare(release: Release) -> anyhow::Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let dir = Workdir::new()?;
    let targets = Targets::start(dir.path()).await?;
    let config = dir.write("prometheus.yml", &targets.config())?;
    let unsharded = Unsharded::start(dir.path(), &config, release).await?;
    let shards = [Shard::start(dir.path(), "shard-0", &config, release)?];
    let shard_list = dir.write("shards.yaml", &list(&[&shards]))?;
    let settings = Settings::new(dir.path(), &config, release, &[])?.with_shard_list(shard_list);
    let coordinator = Coordinator::start(settings).await?;
    let [shard] = &shards;

    let expected = targets.expected(release);
    let servers = [&unsharded.url, &shard.prometheus_url, &coordinator.url].map(String::as_str);
    until_all_say(&expected, servers, "what is expected").await.with_context(|| shard.output())?;
    // It stays so: also when connections are used again, and after what a scrape may have left behind.
    tokio::time::sleep(Duration::from_secs_f64(3.0 * INTERVAL_SECONDS)).await;
    until_all_say(&expected, servers, "the same again").await.with_context(|| shard.output())?;
    eventually("both have the same series", Duration::from_secs(30), || async {
        same_series(&expected, &unsharded.url, &shard.prometheus_url).await.map(Some)
    })
    .await?;

    // Neighbours of those that fail, in each job: every scrape of theirs went well, and none was left out.
    let mut scrapes = 0;
    for neighbour in ["good", "limited-good", "tls-good"] {
        let one = expected.iter().find(|one| one.name == neighbour).context("a good neighbour")?;
        let moments = promql::scrapes(std::slice::from_ref(&shard.prometheus_url), &one.address).await?;
        let gap = promql::longest_gap(&moments)?.as_secs_f64();
        ensure!(gap < INTERVAL_SECONDS * 1.1, "{neighbour} was not scraped for {gap} s");
        scrapes += moments.len();
    }
    let memory = shard.most_memory()?;
    ensure!(memory < MOST_MEMORY, "the sidecar has used {memory} bytes");
    show(format!(
        "{}: {} targets are seen as without a shard; {scrapes} scrapes of their good neighbours all went well; the \
         sidecar has used {} MiB at most",
        release.version(),
        expected.len(),
        memory >> 20
    ));
    Ok(())
}

/// Waits until the unsharded server, the shard's and the coordinator have each said of every target what is expected of
/// them. Not all of it at one moment: on a busy machine there is always one that is late.
async fn until_all_say(expected: &[Expected], servers: [&str; 3], what: &str) -> anyhow::Result<()> {
    let is_said: RefCell<BTreeSet<(&str, &str)>> = RefCell::default();
    eventually(&format!("everybody says {what}"), Duration::from_secs(60), || async {
        let [directly, by_shard, reported] = servers;
        let (directly, by_shard, reported) = (seen(directly).await?, seen(by_shard).await?, seen(reported).await?);
        let mut wrong = Vec::new();
        for one in expected {
            for (who, words, seen) in [
                ("Prometheus", &one.directly, &directly),
                ("the shard", &one.by_shard, &by_shard),
                ("the coordinator", &one.reported, &reported),
            ] {
                let differences = differences(who, one, words, seen.get(one.name));
                if differences.is_empty() {
                    is_said.borrow_mut().insert((who, one.name));
                } else if !is_said.borrow().contains(&(who, one.name)) {
                    wrong.extend(differences);
                }
            }
        }
        ensure!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
        Ok(Some(()))
    })
    .await
}

/// A target as `/api/v1/targets` shows it.
struct Seen {
    is_up: bool,
    last_error: String,
    seconds: f64,
}

async fn seen(url: &str) -> anyhow::Result<BTreeMap<String, Seen>> {
    let data = promql::ask(url, "api/v1/targets", &[("state", "active")]).await?;
    let targets = data["activeTargets"].as_array().context("a list of targets")?;
    let one = |target: &Value| {
        if target["health"] == "unknown" {
            return None;
        }
        let seen = Seen {
            is_up: target["health"] == "up",
            last_error: comparable(target["lastError"].as_str()?),
            seconds: target["lastScrapeDuration"].as_f64()?,
        };
        Some((target["labels"]["fault"].as_str()?.to_owned(), seen))
    };
    Ok(targets.iter().filter_map(one).collect())
}

fn differences(who: &str, target: &Expected, expected: &str, seen: Option<&Seen>) -> Vec<String> {
    let (name, mut wrong) = (target.name, Vec::new());
    let Some(seen) = seen else {
        return vec![format!("{name}: {who} has not scraped it")];
    };
    if seen.last_error != expected {
        wrong.push(format!("{name}: {who} says\n    {:?}, not\n    {expected:?}", seen.last_error));
    }
    if seen.is_up != expected.is_empty() {
        wrong.push(format!("{name}: {who} says it is up: {}", seen.is_up));
    }
    let struck = expected.ends_with("context deadline exceeded");
    if struck && !(TIMEOUT_SECONDS - EARLY..TIMEOUT_SECONDS + LATE).contains(&seen.seconds) {
        wrong.push(format!("{name}: {who} gave up after {} s", seen.seconds));
    }
    wrong
}

/// That both hold the same series of each target, and have taken the same number of samples from it. A target that is to
/// be up on one of them only is left out.
async fn same_series(targets: &[Expected], unsharded: &str, shard: &str) -> anyhow::Result<()> {
    let is_compared = |labels: &promql::Labels| {
        let target = targets.iter().find(|target| labels.get("fault").is_some_and(|name| name == target.name));
        target.is_none_or(|target| target.directly.is_empty() == target.by_shard.is_empty())
    };
    for query in [
        "up",
        "scrape_samples_scraped",
        "scrape_samples_post_metric_relabeling",
        "count by (fault, __name__) ({fault!=\"\"})",
    ] {
        let (mut expected, mut seen) = (promql::instant(unsharded, query).await?, promql::instant(shard, query).await?);
        expected.retain(|labels, _| is_compared(labels));
        seen.retain(|labels, _| is_compared(labels));
        for (labels, value) in &expected {
            let other = seen.get(labels);
            if other != Some(value) {
                bail!("{query}: {labels:?} is {value} without a shard and {other:?} on it");
            }
        }
        ensure!(expected.len() == seen.len(), "{query}: {} series, {} on the shard", expected.len(), seen.len());
    }
    Ok(())
}
