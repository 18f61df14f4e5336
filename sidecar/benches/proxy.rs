//! What the scrape proxy costs: a scrape of 10,000 series asked directly, through the proxy, and through the proxy for
//! a job with a metric relabeling rule. Client, proxy and target share one process and its cores.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has failed")]

#[expect(dead_code, reason = "the tests use more of it")]
#[path = "../tests/proxy/rig.rs"]
mod rig;

use std::io::Write as _;

use axum::{Router, http::header, routing::get};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flate2::{Compression, write::GzEncoder};
use tokio::{net::TcpListener, runtime::Runtime};

use rig::{Proxy, TOKEN};

/// About 1 MB of text, labelled as a usual exporter's.
fn exposition() -> String {
    let series = |i| {
        let (code, path) = (200 + i % 7, i / 7);
        format!(
            "http_requests_total{{code=\"{code}\",handler=\"/api/v1/things/{path}\",method=\"GET\",pod=\"web-5c9\"}} {i}\n"
        )
    };
    (0..10_000).map(series).collect()
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

/// A target that answers with this body on connections that stay open.
async fn target(encoding: &'static str, body: Vec<u8>) -> String {
    let headers = [(header::CONTENT_TYPE, "text/plain; version=0.0.4"), (header::CONTENT_ENCODING, encoding)];
    let answer = move || std::future::ready((headers, body.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(answer))).await });
    url
}

/// A client that goes through the proxy, as Prometheus with `proxy_url` does.
fn through(proxy: &Proxy) -> reqwest::Client {
    let url = format!("http://{}:{TOKEN}@{}", proxy.job_id, proxy.address);
    reqwest::Client::builder().proxy(reqwest::Proxy::http(url).unwrap()).build().unwrap()
}

async fn scrape(client: &reqwest::Client, url: &str) -> usize {
    client.get(url).send().await.unwrap().error_for_status().unwrap().bytes().await.unwrap().len()
}

fn scrapes(criterion: &mut Criterion) {
    narthex_runtime::http_client::install_tls_provider();
    let runtime = Runtime::new().unwrap();
    // With a limit every scrape is relabeled, not only every tenth.
    let relabeled = "sample_limit: 1000000, \
        metric_relabel_configs: [{source_labels: [code, method], regex: '206;.*', action: drop}]";
    let text = exposition();
    for (encoding, body) in [("identity", text.clone().into_bytes()), ("gzip", gzipped(&text))] {
        let mut group = criterion.benchmark_group(encoding);
        group.throughput(Throughput::Bytes(body.len() as u64));
        let url = runtime.block_on(target(encoding, body));
        let direct = reqwest::Client::builder().no_proxy().build().unwrap();
        group.bench_function("direct", |b| b.iter(|| runtime.block_on(scrape(&direct, &url))));
        for (name, fields) in [("proxy", ""), ("proxy with metric relabeling", relabeled)] {
            let proxy = runtime.block_on(Proxy::start(fields, std::slice::from_ref(&url)));
            let client = through(&proxy);
            group.bench_function(name, |b| b.iter(|| runtime.block_on(scrape(&client, &url))));
        }
        group.finish();
    }
}

criterion_group!(benches, scrapes);
criterion_main!(benches);
