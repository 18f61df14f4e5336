//! Which metrics a shard's series are of is counted beside some scrapes, relabeled and unpacked.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use narthex_common::{
    load::Series,
    samples::{MetricSamples, SamplesQuery},
};

use crate::rig::{JOB, Proxy, ScriptedTarget, ok};

const BODY: &str = "# TYPE a counter\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n";

#[tokio::test]
async fn the_series_of_a_job_are_counted_by_metric_before_and_after_relabeling() {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(BODY.as_bytes()).unwrap();
    let plain = ScriptedTarget::answering(ok("", BODY.as_bytes())).await;
    let packed = ScriptedTarget::answering(ok("Content-Encoding: gzip\r\n", &gzip.finish().unwrap())).await;
    let down = ScriptedTarget::answering("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n").await;
    let urls = [plain.url(), packed.url(), down.url()];
    let rules = "metric_relabel_configs: [{source_labels: [x], regex: '1', action: drop}]";
    let proxy = Proxy::start(rules, &urls).await;
    for _ in 0..3 {
        for url in &urls {
            proxy.scrape(url).await;
        }
    }
    let samples = proxy.top.samples(&SamplesQuery::parse("with_metrics_detail=true").unwrap());
    let job = &samples[&JOB.into()];
    let metric = |name: &str| job.metrics_total[name];
    let of = |total, scraped| MetricSamples { total: Series(total), scraped: Series(scraped) };
    assert_eq!((metric("a"), metric("b"), job.metrics_total.len()), (of(4, 2), of(2, 2), 2));
    assert_eq!((job.total, job.scraped_total, job.targets), (Series(6), Series(4), 2), "{samples:?}");
}
