//! Asking a real Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// The labels of a series.
pub type Labels = BTreeMap<String, String>;

/// The value of a sample, as Prometheus writes it.
pub type SampleValue = String;

/// An instant query: every series of the result, with its value.
///
/// # Errors
/// When Prometheus does not answer with a vector, or two series have equal labels.
pub async fn instant(url: &str, query: &str) -> anyhow::Result<BTreeMap<Labels, SampleValue>> {
    let data = ask(url, "api/v1/query", &[("query", query)]).await?;
    let series = data["result"].as_array().with_context(|| format!("{query}: no vector: {data}"))?;
    let mut result = BTreeMap::new();
    for one in series {
        let labels: Labels = serde_json::from_value(one["metric"].clone())?;
        let value = one["value"][1].as_str().with_context(|| format!("{query}: no value in {one}"))?;
        if result.insert(labels.clone(), value.to_owned()).is_some() {
            bail!("{query}: {labels:?} comes twice");
        }
    }
    Ok(result)
}

/// An instant query whose result is one number; none when it is empty.
///
/// # Errors
/// When Prometheus does not answer, or with several series.
pub async fn number(url: &str, query: &str) -> anyhow::Result<Option<f64>> {
    let all = instant(url, query).await?;
    match all.len() {
        0 => Ok(None),
        1 => Ok(all.into_values().next().map(|value| value.parse()).transpose()?),
        n => bail!("{query} gives {n} series"),
    }
}

/// When a target was scraped on any of several servers, in milliseconds since the epoch and in order. Each time it was up.
///
/// # Errors
/// When a server does not answer, or a scrape failed.
pub async fn scrapes(servers: &[String], instance: &str) -> anyhow::Result<Vec<i64>> {
    let query = format!("up{{instance=\"{instance}\"}}[15m]");
    let mut moments = BTreeSet::new();
    for url in servers {
        let data = ask(url, "api/v1/query", &[("query", &query)]).await?;
        for series in data["result"].as_array().into_iter().flatten() {
            for sample in series["values"].as_array().into_iter().flatten() {
                let at = sample[0].as_f64().context("a timestamp")?;
                if sample[1] != "1" {
                    bail!("{instance} was down on {url} at {at}");
                }
                #[expect(clippy::cast_possible_truncation, reason = "milliseconds since the epoch fit")]
                moments.insert((at * 1000.0).round() as i64);
            }
        }
    }
    Ok(moments.into_iter().collect())
}

/// The longest time between two neighbouring ones of some scrapes.
///
/// # Errors
/// When there are less than two.
pub fn longest_gap(scrapes: &[i64]) -> anyhow::Result<Duration> {
    let longest = scrapes.windows(2).map(|pair| pair[1] - pair[0]).max().context("never scraped twice")?;
    Ok(Duration::from_millis(longest.try_into()?))
}

/// The `data` of any endpoint of Prometheus' API, or of the coordinator's.
///
/// # Errors
/// When it does not answer with success.
pub async fn ask(url: &str, path: &str, query: &[(&str, &str)]) -> anyhow::Result<Value> {
    let url = format!("{}/{path}", url.trim_end_matches('/'));
    let answer: Value = client()?
        .get(&url)
        .query(query)
        .send()
        .await
        .with_context(|| format!("ask {url}"))?
        .json()
        .await
        .with_context(|| format!("read the answer of {url}"))?;
    if answer["status"] != "success" {
        bail!("{url} {query:?}: {answer}");
    }
    Ok(answer["data"].clone())
}

/// An HTTP client for tests.
///
/// # Errors
/// When it cannot be set up.
pub fn client() -> anyhow::Result<reqwest::Client> {
    narthex_runtime::http_client::install_tls_provider();
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().context("set up an HTTP client")
}
