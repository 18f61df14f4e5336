//! A real Prometheus scrapes awkward targets through the proxy and, as another job, directly: it must see the same, and
//! the proxy must say of every target what Prometheus says of it when it asks by itself.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use narthex_common::{
    report::{Health, TargetReport},
    semantics::PrometheusVersion,
};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::rig::{JOB, Proxy, ScriptedTarget, TOKEN, ok};

/// The Prometheus to test with: `$PROMETHEUS`, or the one on the path.
fn prometheus() -> Option<(PathBuf, PrometheusVersion)> {
    let binary = PathBuf::from(std::env::var_os("PROMETHEUS").unwrap_or_else(|| "prometheus".into()));
    let output = Command::new(&binary).arg("--version").output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let version = String::from_utf8(said).ok()?.split_whitespace().nth(2)?.trim_end_matches(',').parse().ok()?;
    Some((binary, version))
}

/// A Prometheus that runs as long as this lives.
struct Running {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Running {
    async fn start(binary: &PathBuf, config: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("prometheus.yml"), config).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let process = Command::new(binary)
            .current_dir(directory.path())
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=native-histograms"])
            .arg(format!("--web.listen-address={free}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, address: free.to_string(), _directory: directory }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        let response = reqwest::get(format!("http://{}/api/v1/{path}", self.address)).await.ok()?;
        response.json::<Value>().await.ok().map(|mut answer| answer["data"].take())
    }

    /// Every target's `lastError` by job and URL, once all have been scraped.
    async fn last_errors(&self, count: usize) -> BTreeMap<(String, String), String> {
        for _ in 0..300 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let Some(data) = self.get("targets?state=active").await else { continue };
            let targets = data["activeTargets"].as_array().unwrap();
            if targets.len() == count && targets.iter().all(|target| target["health"] != "unknown") {
                let text = |target: &Value, field: &str| target[field].as_str().unwrap().to_owned();
                return targets
                    .iter()
                    .map(|t| ((text(t, "scrapePool"), text(t, "scrapeUrl")), text(t, "lastError")))
                    .collect();
            }
        }
        panic!("Prometheus did not scrape all its targets in time");
    }

    /// A metric's value by instance, of the job that is scraped through the proxy.
    async fn by_instance(&self, metric: &str) -> BTreeMap<String, u64> {
        let data = self.get(&format!("query?query={metric}{{job=\"{JOB}\"}}")).await.unwrap();
        let one = |sample: &Value| {
            let value = sample["value"][1].as_str().unwrap().parse().unwrap();
            (sample["metric"]["instance"].as_str().unwrap().to_owned(), value)
        };
        data["result"].as_array().unwrap().iter().map(one).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn gzipped(text: &str) -> Vec<u8> {
    gzipped_bytes(text.as_bytes())
}

fn gzipped_bytes(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A protobuf message's field of bytes.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat()
}

fn double(number: u8, value: f64) -> Vec<u8> {
    [[number << 3 | 1].as_slice(), &value.to_le_bytes()].concat()
}

/// Protobuf: a gauge with a label, a summary of two quantiles, a histogram of one bucket, a native one.
fn families() -> Vec<u8> {
    const NUMBER: u8 = 0;
    let label = field(1, &[field(1, b"i"), field(2, b"17")].concat());
    let gauge = [label, field(2, &double(1, 1.0))].concat();
    let quantile = |of: f64| field(3, &[double(1, of), double(2, 1.0)].concat());
    let summary = field(4, &[vec![1 << 3 | NUMBER, 4], double(2, 9.0), quantile(0.5), quantile(0.9)].concat());
    let bucket = field(3, &[vec![1 << 3 | NUMBER, 3], double(2, 0.5)].concat());
    let histogram = field(7, &[vec![1 << 3 | NUMBER, 4], double(2, 9.0), bucket].concat());
    let schema_and_zeros = [vec![5 << 3 | NUMBER, 6], double(6, 0.001), vec![7 << 3 | NUMBER, 2]].concat();
    // Two buckets of one observation each, as zigzag numbers.
    let spans = [field(12, &[1 << 3 | NUMBER, 0, 2 << 3 | NUMBER, 2]), field(13, &[2, 0])].concat();
    let native = field(7, &[vec![1 << 3 | NUMBER, 4], double(2, 9.0), schema_and_zeros, spans].concat());
    let kinds = [("gauge", 1, gauge), ("summary", 2, summary), ("histogram", 4, histogram), ("native", 4, native)];
    let mut body = vec![];
    for (name, kind, metric) in kinds {
        let family = [field(1, name.as_bytes()), vec![3 << 3 | NUMBER, kind], field(4, &metric)].concat();
        body.push(u8::try_from(family.len()).unwrap());
        body.extend(family);
    }
    body
}

/// Which of the targets speak protobuf.
const PROTOBUF: std::ops::Range<usize> = 15..17;

async fn awkward_targets() -> Vec<ScriptedTarget> {
    let text = "Content-Type: text/plain; version=0.0.4\r\n";
    let histogram = "# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n";
    let many = |count| (0..count).map(|i| format!("many{{i=\"{i}\"}} 1\n")).collect::<String>();
    let open = "# TYPE a gauge\na 1\n# TYPE b counter\nb_total 1 # {id=\"x\"} 1\nb_created 1\n# EOF\n";
    let protobuf = "Content-Type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
        encoding=delimited\r\n";
    let too_large = gzipped(&format!("# {}\na 1\n", "x".repeat(400_000)));
    vec![
        ScriptedTarget::answering(ok(text, histogram.as_bytes())).await,
        ScriptedTarget::answering(ok(&format!("{text}Content-Encoding: gzip\r\n"), &gzipped(&many(5_000)))).await,
        ScriptedTarget::answering(ok(text, b"")).await,
        ScriptedTarget::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n").await,
        ScriptedTarget::answering("HTTP/1.1 429 Slow Down\r\nContent-Length: 0\r\n\r\n").await,
        ScriptedTarget::answering(format!("HTTP/1.1 200 OK\r\n{text}Content-Length: 100\r\n\r\na 1\n")).await,
        ScriptedTarget::answering(format!("HTTP/1.1 200 OK\r\n{text}Transfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n"))
            .await,
        ScriptedTarget::start(|stream| async move {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(stream);
        })
        .await,
        ScriptedTarget::answering(ok("Content-Type: text/html\r\n", b"a 1\n")).await,
        ScriptedTarget::answering(ok("Content-Type: application/openmetrics-text\r\n", b"a 1\n")).await,
        ScriptedTarget::answering(ok("Content-Type: application/openmetrics-text\r\n", open.as_bytes())).await,
        ScriptedTarget::answering(ok(&format!("{text}Content-Encoding: gzip\r\n"), b"no gzip at all")).await,
        ScriptedTarget::answering(ok(text, many(5_600).as_bytes())).await,
        ScriptedTarget::answering(ok(text, &[b"# ".as_slice(), &[b'x'; 200_000]].concat())).await,
        ScriptedTarget::answering("").await,
        ScriptedTarget::answering(ok(protobuf, &families())).await,
        ScriptedTarget::answering(ok(&format!("{protobuf}Content-Encoding: gzip\r\n"), &gzipped_bytes(&families())))
            .await,
        ScriptedTarget::answering(ok(&format!("{text}Content-Encoding: gzip\r\n"), &too_large)).await,
    ]
}

/// What both jobs have.
const FIELDS: &str = "sample_limit: 5500, body_size_limit: 150000B, metric_relabel_configs: \
    [{source_labels: [i, instance], regex: '17;.+', action: drop}]";

/// Two jobs with the same targets, one of them behind the proxy.
fn config(proxy: &Proxy, addresses: &[String]) -> String {
    let proxy_url = format!("proxy_url: 'http://{}:{TOKEN}@{}', ", proxy.job_id, proxy.address);
    let job = |name: &str, proxy_url: &str| {
        format!("- {{job_name: {name}, {proxy_url}{FIELDS}, static_configs: [{{targets: {addresses:?}}}]}}\n")
    };
    let global = "global: {scrape_interval: 3s, scrape_timeout: 2900ms}\n";
    format!("{global}scrape_configs:\n{}{}", job(JOB, &proxy_url), job("direct", ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_sees_through_the_proxy_what_it_sees_by_itself_and_the_report_says_so() {
    let Some((binary, version)) = prometheus() else {
        eprintln!("skipped: no prometheus on the path, none in $PROMETHEUS");
        return;
    };
    narthex_runtime::http_client::install_tls_provider();
    let targets = awkward_targets().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let addresses: Vec<String> =
        targets.iter().map(|target| target.address).chain([closed]).map(|address| address.to_string()).collect();
    let urls: Vec<String> = addresses.iter().map(|address| format!("http://{address}/metrics")).collect();

    let proxy = Proxy::start_for(FIELDS, &urls, version).await;
    let prometheus = Running::start(&binary, &config(&proxy, &addresses)).await;
    let errors = prometheus.last_errors(2 * urls.len()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;

    let reports = proxy.reports_by_url();
    for url in &urls {
        let seen = |job: &str| errors[&(job.to_owned(), url.clone())].clone();
        let TargetReport { health, last_error, .. } = &reports[url];
        let differently = "server returned HTTP status 502 ";
        match seen(JOB).strip_prefix(differently) {
            // No proxy can make Prometheus say that it did not reach the target, so the reason is in other words.
            Some(reason) => assert_eq!(seen("direct"), format!("Get \"{url}\": {reason}")),
            None => assert_eq!(seen(JOB), seen("direct"), "{url}"),
        }
        assert_eq!(*last_error, seen("direct"), "{url}");
        assert_eq!(*health == Health::Up, last_error.is_empty(), "{url}");
    }
    let exposed = prometheus.by_instance("scrape_samples_scraped").await;
    let kept = prometheus.by_instance("scrape_samples_post_metric_relabeling").await;
    for (url, address) in urls.iter().zip(&addresses).filter(|(url, _)| reports[*url].health == Health::Up) {
        let load = reports[url].load.unwrap();
        assert_eq!((load.exposed.0, load.kept.0), (exposed[address], kept[address]), "{url}");
    }
    assert_eq!(exposed[&addresses[1]], 5_000, "a scrape of many samples is among them");
    assert_eq!(kept[&addresses[1]], 4_999, "and one of them is dropped by a rule");
    for protobuf in &addresses[PROTOBUF] {
        assert_eq!((exposed[protobuf], kept[protobuf]), (10, 9), "a native histogram is one sample");
    }
}
