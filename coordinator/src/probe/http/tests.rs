//! Probes against real HTTP servers.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use narthex_common::{
    config::Files,
    labels::{ADDRESS, Labels},
    load::Series,
};
use narthex_runtime::http_client::install_tls_provider;
use rstest::rstest;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{basic_auth, header, method},
};

use super::*;

struct OneFile<'a>(&'a str);

impl Files for OneFile<'_> {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }
}

const BODY: &str = "# TYPE a counter\na_total{x=\"1\"} 1\na_total{x=\"2\"} 2\ndebug_b 3\n";

/// Probes one URL by a job with the given extra settings.
async fn probe(url: &str, settings: &str, version: PrometheusVersion) -> Result<Load, String> {
    probe_limited(url, settings, version, 0).await
}

/// The same, where targets of the job may have so many series.
async fn probe_limited(url: &str, settings: &str, version: PrometheusVersion, most: u64) -> Result<Load, String> {
    install_tls_provider();
    let yaml = format!("scrape_configs:\n- job_name: j\n{settings}");
    let config = Arc::new(Config::load(Path::new("/prometheus.yml"), &OneFile(&yaml), version).unwrap());
    let labels: Labels = [(ADDRESS, "h:1"), (SCRAPE_TIMEOUT, "800ms"), ("team", "x")].into_iter().collect();
    let target = Arc::new(Target::new("j".into(), labels, url.to_owned()));
    HttpProber::new(version, SeriesLimits::new(Series(most), &[]).unwrap()).probe(&config, target).await
}

async fn server(response: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET")).respond_with(response).mount(&server).await;
    server
}

fn text(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "text/plain; version=0.0.4")
}

fn load(exposed: u64, kept: u64) -> Load {
    Load { exposed: Series(exposed), kept: Series(kept) }
}

fn gzip(body: &str) -> Vec<u8> {
    let mut zip = GzEncoder::new(Vec::new(), Compression::fast());
    zip.write_all(body.as_bytes()).unwrap();
    zip.finish().unwrap()
}

#[rstest]
#[case::as_it_is(3, load(3, 2))]
#[case::cut_off(2, load(2, 2))]
#[case::cut_off_early(1, load(1, 1))]
#[tokio::test]
async fn a_target_that_its_shard_would_cut_off_is_planned_with_what_it_may_have(
    #[case] most: u64,
    #[case] expected: Load,
    #[values(false, true)] zipped: bool,
) {
    let plain = || text(BODY);
    let server = server(if zipped {
        plain().set_body_raw(gzip(BODY), "text/plain").insert_header("content-encoding", "gzip")
    } else {
        plain()
    })
    .await;
    let rules = "  metric_relabel_configs: [{source_labels: [__name__], regex: debug_.*, action: drop}]\n";
    assert_eq!(probe_limited(&server.uri(), rules, PrometheusVersion::V3_5, most).await, Ok(expected));
}

#[tokio::test]
async fn a_probe_looks_like_a_scrape() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(basic_auth("user", "secret"))
        .and(header("accept-encoding", "gzip"))
        .and(header("x-prometheus-scrape-timeout-seconds", "0.8"))
        .respond_with(text(BODY))
        .mount(&server)
        .await;
    let settings = "  basic_auth: {username: user, password: secret}\n";
    assert_eq!(probe(&server.uri(), settings, PrometheusVersion::V3_5).await, Ok(load(3, 3)));
    let asked = server.received_requests().await.unwrap();
    assert!(asked[0].headers["accept"].to_str().unwrap().starts_with("application/openmetrics-text;version=1.0.0"));
}

#[tokio::test]
async fn what_metric_relabeling_drops_is_exposed_and_not_kept() {
    let server = server(text(BODY)).await;
    let settings = "  metric_relabel_configs: [{source_labels: [__name__], regex: 'debug_.*', action: drop}]\n";
    assert_eq!(probe(&server.uri(), settings, PrometheusVersion::V3_5).await, Ok(load(3, 2)));
}

#[tokio::test]
async fn metric_relabeling_sees_the_targets_labels() {
    let server = server(text(BODY)).await;
    let settings = "  metric_relabel_configs: [{source_labels: [team], regex: x, action: drop}]\n";
    assert_eq!(probe(&server.uri(), settings, PrometheusVersion::V3_5).await, Ok(load(3, 0)));
}

#[tokio::test]
async fn a_compressed_body_is_counted_in_its_clear_form() {
    let zipped =
        ResponseTemplate::new(200).set_body_raw(gzip(BODY), "text/plain").insert_header("content-encoding", "gzip");
    let server = server(zipped).await;
    assert_eq!(probe(&server.uri(), "", PrometheusVersion::V3_5).await, Ok(load(3, 3)));
}

#[rstest]
#[case::an_error(ResponseTemplate::new(503), "", "server returned HTTP status 503 Service Unavailable")]
#[case::too_late(text(BODY).set_delay(Duration::from_secs(5)), "", "context deadline exceeded")]
#[case::too_large(text(BODY), "  body_size_limit: 20B\n", "body size limit exceeded")]
#[case::of_an_unknown_type(ResponseTemplate::new(200).set_body_raw(BODY, "text/html"), "", "unsupported Content-Type")]
#[case::broken_gzip(
    ResponseTemplate::new(200).set_body_raw(&gzip(BODY)[..20], "text/plain").insert_header("content-encoding", "gzip"),
    "",
    ""
)]
#[tokio::test]
async fn an_answer_that_prometheus_would_not_take_is_a_failed_probe(
    #[case] response: ResponseTemplate,
    #[case] settings: &str,
    #[case] error: &str,
) {
    let server = server(response).await;
    let failed = probe(&server.uri(), settings, PrometheusVersion::V3_5).await.unwrap_err();
    assert!(failed.contains(error), "{failed}");
}

#[tokio::test]
async fn a_prometheus_2_takes_any_type_for_text() {
    let server = server(ResponseTemplate::new(200).set_body_raw(BODY, "text/html")).await;
    assert_eq!(probe(&server.uri(), "", PrometheusVersion::V2_42).await, Ok(load(3, 3)));
    let settings = "  fallback_scrape_protocol: PrometheusText0.0.4\n";
    assert_eq!(probe(&server.uri(), settings, PrometheusVersion::V3_5).await, Ok(load(3, 3)));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failed_probe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let target = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        assert!(connection.read(&mut request).unwrap() > 0);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n";
        connection.write_all(head.as_bytes()).unwrap();
        connection.write_all(BODY.as_bytes()).unwrap();
    });
    assert_eq!(probe(&url, "", PrometheusVersion::V3_5).await, Err("unexpected EOF".into()));
    target.join().unwrap();
}

#[tokio::test]
async fn a_target_that_is_not_there_is_a_failed_probe() {
    let failed = probe("http://127.0.0.1:1/metrics", "", PrometheusVersion::V3_5).await.unwrap_err();
    assert!(failed.contains("connection refused"), "{failed}");
}
