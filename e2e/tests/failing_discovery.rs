//! Discovery that fails, flaps, or answers nonsense loses no target; one that answers that there are none does. A job
//! whose discovery has never answered since the coordinator was started keeps what its shards have.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    promql,
    scripted::{Scripted, Step, say},
    show,
    targets::Targets,
};

const PATIENCE: Duration = Duration::from_secs(60);
const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";

/// A server for `http_sd_configs` that does what it was told last.
struct Server {
    steps: Arc<Mutex<Vec<Step>>>,
    scripted: Scripted,
}

impl Server {
    async fn start(steps: Vec<Step>) -> anyhow::Result<Self> {
        let steps = Arc::new(Mutex::new(steps));
        let now = Arc::clone(&steps);
        let script = move |_: &str| now.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Self { steps, scripted: Scripted::by_path(script).await? })
    }

    fn now(&self, steps: Vec<Step>) {
        *self.steps.lock().unwrap_or_else(PoisonError::into_inner) = steps;
    }
}

fn answer(body: &str) -> Vec<Step> {
    vec![say(format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len()))]
}

/// What a server does that fails.
fn faults(good: &str) -> Vec<(&'static str, Vec<Step>)> {
    let half = &good[..good.len() / 2];
    vec![
        (
            "an error status with a body that looks like an answer",
            vec![say(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
            )],
        ),
        ("garbage", answer("<html>maintenance</html>")),
        ("an empty body", answer("")),
        ("null", answer("null and void")),
        ("a list of something else", answer(r#"[{"targets": [7]}]"#)),
        ("half an answer, by its length", vec![say(format!("{HEAD}Content-Length: {}\r\n\r\n{half}", good.len()))]),
        (
            "half an answer, in chunks",
            vec![say(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n")), Step::Reset],
        ),
        (
            "another content type",
            vec![say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n[]")],
        ),
        ("nothing, for ever", vec![Step::Hang]),
        ("a reset", vec![Step::Reset]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn discovery_that_fails_loses_no_target_and_one_that_answers_none_does() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(3, 50).await?;
    let good = serde_json::json!([{"targets": load.addresses()}]).to_string();
    let server = Server::start(answer(&good)).await?;
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: sd\n  \
             http_sd_configs: [{{url: 'http://{}/sd', refresh_interval: 500ms}}]\n",
            server.scripted.address()
        ),
    )?;
    let flags = ["--sd.init-timeout=2s"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V3_5, &flags)?).await?;
    let placement = coordinator.settled(3, 1).await?;

    for (what, steps) in faults(&good) {
        let before = failures(&coordinator).await?;
        server.now(steps);
        eventually(&format!("{what} is a failure"), PATIENCE, || async {
            Ok((failures(&coordinator).await? >= before + 2.0).then_some(()))
        })
        .await
        .with_context(|| coordinator.process.output())?;
        assert_eq!(coordinator.active_targets().await?.len(), 3, "{what}");
        // So that the next one is a failure after an answer, too: this is what flapping is.
        server.now(answer(&good));
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    server.now(faults(&good).remove(0).1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(coordinator.placement().await?, placement, "after rounds in which it failed");
    assert_eq!(forgotten(&coordinator).await?, 0.0, "nothing was forgotten, not for a moment either");

    let coordinator = coordinator.restart().await?;
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(held(&coordinator).await?, 3, "its discovery has not answered since the restart");
    }
    let shard = coordinator.prometheus_urls().await?.pop().context("a shard")?;
    eventually("they are scraped all the while", PATIENCE, || async {
        Ok((promql::number(&shard, "count(up == 1)").await? == Some(3.0)).then_some(()))
    })
    .await?;
    assert_eq!(forgotten(&coordinator).await?, 0.0);

    server.now(answer("[]"));
    eventually("an empty list is an answer", PATIENCE, || async { Ok((held(&coordinator).await? == 0).then_some(())) })
        .await?;
    show(format!("{} refreshes failed after the restart", failures(&coordinator).await?));
    Ok(())
}

/// How many targets the shards have.
async fn held(coordinator: &Coordinator) -> anyhow::Result<u64> {
    Ok(coordinator.shards().await?.iter().filter_map(|shard| shard["targets"].as_u64()).sum())
}

async fn failures(coordinator: &Coordinator) -> anyhow::Result<f64> {
    sum(coordinator, "prometheus_sd_refresh_failures_total{").await
}

async fn forgotten(coordinator: &Coordinator) -> anyhow::Result<f64> {
    sum(coordinator, "narthex_coordinator_changes_total{kind=\"forget\"").await
}

/// The sum of the coordinator's series whose text begins so.
async fn sum(coordinator: &Coordinator, beginning: &str) -> anyhow::Result<f64> {
    let text = promql::client()?.get(format!("{}/metrics", coordinator.url)).send().await?.text().await?;
    let values: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with(beginning))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect();
    anyhow::ensure!(!values.is_empty(), "there is no {beginning}");
    Ok(values.iter().sum())
}
