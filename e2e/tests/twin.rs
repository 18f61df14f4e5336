//! The twin test: an unsharded Prometheus and the shards scrape the same awkward targets with the same
//! `prometheus.yml`; nobody can tell from the data which is which.

mod awkward;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, bail};
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    process::{Release, Workdir},
    promql::{self, Labels, SampleValue},
    show,
};
use serde_json::Value;
use tokio::time::Instant;

/// How long the twins are compared; the issue that asked for this test says three minutes.
const COMPARED_FOR: Duration = Duration::from_secs(180);
/// Every series of the targets and of their scrapes.
const ALL: &str = r#"{__name__=~".+"}"#;
/// Whether a value depends on the moment of the scrape, or on the extra hop: then only its labels are compared.
fn value_may_differ(labels: &Labels) -> bool {
    labels["__name__"] == "scrape_duration_seconds" || labels["__name__"].starts_with("load_")
}

/// Whether two values of a counter of the load generator are those of neighbouring seconds. Both servers scrape a target
/// at the same moment, but for some milliseconds; where a second begins in between, one of them sees the next value.
fn is_a_second_apart(labels: &Labels, a: &SampleValue, b: &SampleValue) -> anyhow::Result<bool> {
    /// The load generator's counters grow by 1 to 10 a second.
    const MOST_A_SECOND: f64 = 10.0;
    let name = &labels["__name__"];
    if !(name.starts_with("loadgen_metric_") && name.ends_with("_total")) {
        return Ok(false);
    }
    let (a, b): (f64, f64) = (a.parse()?, b.parse()?);
    Ok((a - b).abs() <= MOST_A_SECOND)
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_and_an_unsharded_prometheus_2_42_hold_the_same_series() -> anyhow::Result<()> {
    compare_twins(Release::V2_42).await
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_and_an_unsharded_prometheus_3_5_hold_the_same_series() -> anyhow::Result<()> {
    compare_twins(Release::V3_5).await
}

async fn compare_twins(release: Release) -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let awkward = awkward::Awkward::start(dir.path(), release).await?;
    let config = dir.write("prometheus.yml", awkward.config())?;
    let unsharded = Unsharded::start(dir.path(), &config, release).await?;
    // Small enough that the targets need several shards.
    let coordinator =
        Coordinator::start(Settings::new(dir.path(), &config, release, &["--shard.max-series=60"])?).await?;

    let shards = eventually("both see the same for the first time", Duration::from_secs(120), || async {
        let placed = |target: &Value| target["shards"].as_array().is_some_and(|shards| !shards.is_empty());
        if !coordinator.active_targets().await?.iter().all(placed) {
            bail!("not every target has a shard yet");
        }
        let urls = coordinator.prometheus_urls().await?;
        match difference(&unsharded.url, &urls).await? {
            None => Ok(Some(urls)),
            Some(difference) => bail!("{difference}"),
        }
    })
    .await
    .with_context(|| coordinator.process.output())?;
    if shards.len() < 2 {
        bail!("the targets are on {} shard(s); the test needs several", shards.len());
    }

    let (began, mut comparisons) = (Instant::now(), 0);
    while began.elapsed() < COMPARED_FOR {
        if let Some(difference) = difference(&unsharded.url, &coordinator.prometheus_urls().await?).await? {
            bail!("after {:?} and {comparisons} equal comparisons: {difference}", began.elapsed());
        }
        comparisons += 1;
        tokio::time::sleep(Duration::from_secs(5)).await;
    }

    let counted = same_number_of_samples(&unsharded.url, &shards).await?;
    let series = promql::instant(&unsharded.url, ALL).await?.len();
    show(format!(
        "{}: {series} series on {} shards equal the unsharded server's in {comparisons} comparisons over \
         {COMPARED_FOR:?}; {counted} series have the same number of samples",
        release.version(),
        shards.len()
    ));
    awkward.check_is_awkward(&unsharded.url).await
}

/// What the two sides differ in, one moment ago; none when they are equal.
async fn difference(unsharded: &str, shards: &[String]) -> anyhow::Result<Option<String>> {
    // Evaluated at one moment on all servers, long enough ago that a scrape of it is over.
    let at = format!("{:.3}", now()? - 2.0);
    let query = format!("{ALL} @ {at}");
    let expected = promql::instant(unsharded, &query).await?;
    if expected.is_empty() {
        return Ok(Some("the unsharded server has nothing yet".to_owned()));
    }
    let mut union: BTreeMap<Labels, SampleValue> = BTreeMap::new();
    for url in shards {
        for (labels, value) in promql::instant(url, &query).await? {
            if union.insert(labels.clone(), value).is_some() {
                return Ok(Some(format!("{labels:?} is on two shards")));
            }
        }
    }
    for (labels, value) in &expected {
        match union.get(labels) {
            None => return Ok(Some(format!("no shard has {labels:?}, which the unsharded server has"))),
            Some(other) if other != value && !value_may_differ(labels) && !is_a_second_apart(labels, other, value)? => {
                return Ok(Some(format!("{labels:?} is {other} on a shard and {value} on the unsharded server")));
            }
            Some(_) => {}
        }
    }
    Ok(union
        .keys()
        .find(|labels| !expected.contains_key(*labels))
        .map(|labels| format!("a shard has {labels:?}, which the unsharded server has not")))
}

/// Compares how many samples each series got over the last two and a half minutes; how many series that are.
async fn same_number_of_samples(unsharded: &str, shards: &[String]) -> anyhow::Result<usize> {
    let at = format!("{:.3}", now()? - 2.0);
    // count_over_time drops the name, so it is asked for name by name: these are written at every scrape of a target.
    let mut compared = 0;
    for name in ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"] {
        let query = format!("count_over_time({name}[150s] @ {at})");
        let expected = promql::instant(unsharded, &query).await?;
        let mut union = BTreeMap::new();
        for url in shards {
            union.extend(promql::instant(url, &query).await?);
        }
        if expected.len() != union.len() {
            bail!("{name}: {} series on the unsharded server, {} on the shards", expected.len(), union.len());
        }
        for (labels, count) in expected {
            let other = union.get(&labels).with_context(|| format!("{name}: no shard has {labels:?}"))?;
            // The phase of the loops differs, so one sample more or less falls into the window.
            let (count, other): (f64, f64) = (count.parse()?, other.parse()?);
            if (count - other).abs() > 1.0 {
                bail!("{name}{labels:?}: {count} samples on the unsharded server, {other} on the shards");
            }
            compared += 1;
        }
    }
    Ok(compared)
}

fn now() -> anyhow::Result<f64> {
    Ok(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64())
}
