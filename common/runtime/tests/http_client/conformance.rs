//! A client can be made of whatever settings Prometheus takes.
//!
//! The first cases are the project's own. The others are data read off Prometheus' tests and lie outside this
//! repository; without them the test says so and passes.

use std::path::Path;

use narthex_common::config::HttpClientConfig;
use narthex_runtime::http_client::JobClient;
use serde_json::Value;

fn client(settings: &str) -> Result<JobClient, String> {
    // JSON may be indented by tabs, YAML may not.
    let settings = settings.replace('\t', " ");
    let config = HttpClientConfig::read_file(Path::new("/etc/client.yml"), &settings).map_err(|e| e.to_string())?;
    JobClient::new(&config).map_err(|e| e.to_string())
}

#[test]
fn settings_that_prometheus_takes_make_a_client() {
    for settings in [
        "",
        "basic_auth: {username: u, password_file: nowhere}",
        "oauth2: {client_id: a, client_secret_file: nowhere, token_url: 'http://auth', tls_config: {ca_file: nowhere}}",
        "oauth2: {client_id: a, token_url: 'http://auth', proxy_url: 'socks5://u:p@p', no_proxy: x}",
        "proxy_url: https://u:p@p\nproxy_connect_header: {X-Y: [a, b]}",
        "proxy_from_environment: true",
        "http_headers: {X: {values: [a], secrets: [b], files: [nowhere]}}",
        "tls_config: {min_version: TLS10, max_version: TLS12, server_name: x}",
    ] {
        client(settings).unwrap_or_else(|why| panic!("{settings}: {why}"));
    }
}

#[test]
fn prometheus_own_good_settings_make_a_client() {
    let folder = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/conformance").to_owned());
    let path = Path::new(&folder).join("http_client_config.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no conformance data at {}", path.display());
        return;
    };
    let cases: Value = serde_json::from_str(&text).unwrap();
    let texts = |kind: &str| -> Vec<String> {
        let cases = cases[kind].as_array().unwrap();
        cases.iter().map(|case| case["text"].as_str().unwrap().to_owned()).collect()
    };
    let as_tls = |text: String| {
        let indented: String = text.lines().map(|line| format!("  {line}\n")).collect();
        format!("tls_config:\n{indented}")
    };
    for settings in texts("http_good").into_iter().chain(texts("tls_good").into_iter().map(as_tls)) {
        client(&settings).unwrap_or_else(|why| panic!("{settings}: {why}"));
    }
    for settings in texts("http_bad").into_iter().chain(texts("tls_bad").into_iter().map(as_tls)) {
        assert!(client(&settings).is_err(), "{settings}");
    }
}
