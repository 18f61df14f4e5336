//! A running load generator, asked as a scraper asks it.

use std::{io::Read as _, time::Duration};

use narthex_runtime::http_client::install_tls_provider;
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Value, json};

use super::*;

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

struct Scraper {
    loadgen: Loadgen,
    client: Client,
}

impl Scraper {
    async fn of(targets: Vec<TargetSettings>) -> Self {
        install_tls_provider();
        let config = Config { control: Some("127.0.0.1:0".to_owned()), ..Config::on_free_ports(targets) };
        Self { loadgen: Loadgen::start(config).await.unwrap(), client: Client::new() }
    }

    async fn of_one(change: Value) -> Self {
        Self::of(vec![TargetSettings::default().changed(&change).unwrap()]).await
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.loadgen.addresses()[0])
    }

    async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    async fn samples(&self, path: &str) -> usize {
        samples(&self.get(path).await.text().await.unwrap())
    }
}

fn samples(text: &str) -> usize {
    text.lines().filter(|line| !line.starts_with('#')).count()
}

#[tokio::test]
async fn a_target_has_exactly_its_series_in_the_format_asked_for() {
    let scraper = Scraper::of_one(json!({})).await;
    let plain = scraper.get("/metrics").await;
    assert_eq!(plain.headers()[header::CONTENT_TYPE], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(samples(&plain.text().await.unwrap()), 10_045);

    let request = scraper.client.get(scraper.url("/metrics")).header("accept", OPEN_METRICS);
    let response = request.header("accept-encoding", "gzip").send().await.unwrap();
    assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(response.headers()[header::CONTENT_ENCODING], "gzip");
    let body = response.bytes().await.unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(samples(&text), 10_045);
    assert!(text.ends_with("# EOF\n"));

    assert_eq!(scraper.loadgen.scrapes(0), 2);
    let last = scraper.loadgen.last_request(0).unwrap();
    assert_eq!((last.uri.path(), &last.headers["accept"]), ("/metrics", &OPEN_METRICS.parse().unwrap()));
}

#[tokio::test]
async fn other_paths_answer_too_and_reflect_only_when_told_to() {
    let scraper = Scraper::of_one(json!({"series": 10})).await;
    assert_eq!(scraper.samples("/probe?module=x").await, 10);
    scraper.loadgen.patch(0, &json!({"reflect": true})).unwrap();
    let probed = scraper.get("/probe?module=x").await.text().await.unwrap();
    assert!(probed.contains("loadgen_request_info{path=\"/probe\",param_module=\"x\"} 1\n"), "{probed}");
    assert_eq!(samples(&probed), 11);
    assert_eq!(scraper.samples("/metrics?module=x").await, 10);
}

#[tokio::test]
async fn series_grow_and_a_change_of_something_else_does_not_set_them_back() {
    let scraper = Scraper::of_one(json!({"series": 10, "growthPerMinute": 60_000})).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    scraper.loadgen.patch(0, &json!({"growthPerMinute": 0})).unwrap();
    let grown = scraper.loadgen.series(0);
    assert!(grown >= 60, "{grown}");
    assert_eq!(scraper.samples("/metrics").await as u64, grown);
    scraper.loadgen.patch(0, &json!({"series": 5})).unwrap();
    assert_eq!(scraper.samples("/metrics").await, 5);
}

#[tokio::test]
async fn a_fixed_body_is_served_as_it_is() {
    let scraper =
        Scraper::of_one(json!({"body": "{\"my.metric\"} 1\n", "contentType": "text/plain; version=1.0.0"})).await;
    let response = scraper.get("/metrics").await;
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; version=1.0.0");
    assert_eq!(response.text().await.unwrap(), "{\"my.metric\"} 1\n");
}

#[tokio::test]
async fn whoever_may_not_ask_is_refused() {
    let scraper = Scraper::of_one(json!({"series": 1, "basicAuth": {"username": "me", "password": "pass"}})).await;
    assert_eq!(scraper.get("/metrics").await.status(), StatusCode::UNAUTHORIZED);
    let request = scraper.client.get(scraper.url("/metrics")).basic_auth("me", Some("pass"));
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    scraper.loadgen.patch(0, &json!({"basicAuth": null, "bearer": "token"})).unwrap();
    assert_eq!(scraper.get("/metrics").await.status(), StatusCode::UNAUTHORIZED);
    let request = scraper.client.get(scraper.url("/metrics")).bearer_auth("token");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn everything_goes_wrong_on_command_and_heals() {
    let scraper = Scraper::of_one(json!({"series": 1000})).await;
    let fail = |failure: &str| scraper.loadgen.patch(0, &json!({"failure": failure})).unwrap();
    fail("status:503");
    assert_eq!(scraper.get("/metrics").await.status(), StatusCode::SERVICE_UNAVAILABLE);

    fail("breakOff");
    let response = scraper.get("/metrics").await;
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap_err();

    fail("garbage");
    assert!(scraper.get("/metrics").await.text().await.unwrap().starts_with("<html>"));

    fail("endless");
    let mut response = scraper.get("/metrics").await;
    for _ in 0..3 {
        assert!(response.chunk().await.unwrap().is_some());
    }

    fail("refuse");
    // The port closes as soon as its listener hears of it.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let failure = scraper.client.get(scraper.url("/metrics")).send().await.unwrap_err();
    assert!(failure.is_connect(), "{failure:?}");

    fail("none");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(scraper.samples("/metrics").await, 1000);
}

#[tokio::test]
async fn the_control_api_shows_and_changes_targets_without_telling_secrets() {
    let two = vec![TargetSettings { bearer: Some("hidden".to_owned()), ..TargetSettings::default() }; 2];
    let scraper = Scraper::of(two).await;
    let control = format!("http://{}/targets", scraper.loadgen.control_address().unwrap());
    let change = scraper.client.patch(format!("{control}/1")).body("{\"series\": 7, \"failure\": \"refuse\"}");
    assert_eq!(change.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(scraper.loadgen.series(1), 7);

    let listed: Value = scraper.client.get(&control).send().await.unwrap().json().await.unwrap();
    assert_eq!(listed[0]["currentSeries"], 10_045);
    assert_eq!(listed[1]["settings"]["failure"], "refuse");
    assert_eq!(listed[1]["settings"]["bearer"], "<secret>");

    let bad = scraper.client.patch(format!("{control}/1")).body("{\"color\": 1}").send().await.unwrap();
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
    assert!(bad.text().await.unwrap().contains("unknown field `color`"));
    let absent = scraper.client.patch(format!("{control}/2")).body("{}").send().await.unwrap();
    assert_eq!(absent.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_target_with_tls_serves_those_with_a_certificate_of_its_authority() {
    install_tls_provider();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    certificates::write_unless_there(directory.path()).unwrap();
    let authority = std::fs::read(path("ca.pem")).unwrap();
    certificates::write_unless_there(directory.path()).unwrap();
    assert_eq!(std::fs::read(path("ca.pem")).unwrap(), authority);

    let tls = Tls { cert: path("server.pem"), key: path("server.key"), client_ca: Some(path("ca.pem")) };
    let target = TargetSettings { series: 3, tls: Some(tls), ..TargetSettings::default() };
    let loadgen = Loadgen::start(Config::on_free_ports(vec![target])).await.unwrap();
    let url = format!("https://localhost:{}/metrics", loadgen.addresses()[0].port());
    let trusting = || Client::builder().tls_certs_only([reqwest::Certificate::from_pem(&authority).unwrap()]);

    trusting().build().unwrap().get(&url).send().await.unwrap_err();
    let mut identity = std::fs::read(path("client.pem")).unwrap();
    identity.extend(std::fs::read(path("client.key")).unwrap());
    let client = trusting().identity(reqwest::Identity::from_pem(&identity).unwrap()).build().unwrap();
    assert_eq!(samples(&client.get(&url).send().await.unwrap().text().await.unwrap()), 3);
    assert!(loadgen.patch(0, &json!({"tls": null})).unwrap_err().to_string().contains("cannot change"));
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config { listen: address.to_string(), control: None, targets: vec![TargetSettings::default()] };
    let failure = Loadgen::start(config).await.unwrap_err();
    assert_eq!(failure.to_string(), format!("listen on {address}"));
}
