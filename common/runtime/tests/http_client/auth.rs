//! Who a request says it is from.

use std::fs;

use narthex_common::config::http_client::{Auth, HeaderValues, HttpClientConfig, Secret, Source};
use narthex_runtime::http_client::JobClient;

use crate::{
    get, request,
    server::{Server, ok},
    text,
};

/// In the words of Prometheus 3.5; 2.42 has fewer of them.
const NO_FILE: &str = "no such file or directory";

fn basic(username: &str, password: &str) -> HttpClientConfig {
    let auth = Auth::Basic {
        username: Source::Inline(username.to_owned()),
        password: Some(Source::Inline(Secret::new(password))),
    };
    HttpClientConfig { auth: Some(auth), ..HttpClientConfig::default() }
}

fn bearer(credentials: Source<Secret>) -> HttpClientConfig {
    let auth = Auth::Header { kind: "Bearer".to_owned(), credentials: Some(credentials) };
    HttpClientConfig { auth: Some(auth), ..HttpClientConfig::default() }
}

#[tokio::test]
async fn without_credentials_a_request_goes_out_as_it_came() {
    let server = Server::start(|_| ok()).await;
    let mut asking = request(&server.url("/metrics?a=b&c"));
    asking.headers_mut().insert("accept", "text/plain;version=0.0.4".parse().unwrap());
    asking.headers_mut().insert("x-prometheus-scrape-timeout-seconds", "10".parse().unwrap());
    asking.headers_mut().insert("host", "somewhere.else".parse().unwrap());
    let response = JobClient::new(&HttpClientConfig::default()).unwrap().send(asking).await.unwrap();
    assert_eq!(text(response).await, "ok");
    let asked = server.last();
    assert_eq!(asked.uri.to_string(), "/metrics?a=b&c");
    assert_eq!(asked.header("accept"), Some("text/plain;version=0.0.4"));
    assert_eq!(asked.header("x-prometheus-scrape-timeout-seconds"), Some("10"));
    assert_eq!(asked.header("host"), Some(server.address.to_string().as_str()));
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn basic_auth_is_sent() {
    let server = Server::start(|_| ok()).await;
    get(&basic("me", "pass"), &server.url("/")).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Basic bWU6cGFzcw=="));
}

#[tokio::test]
async fn a_token_file_is_read_again_at_every_request_and_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "one\n").unwrap();
    let server = Server::start(|_| ok()).await;
    let client = JobClient::new(&bearer(Source::File(path.clone()))).unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer one"));

    fs::write(&path, "  two  ").unwrap();
    client.send(request(&server.url("/"))).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Bearer two"));

    fs::remove_file(&path).unwrap();
    let path = path.display();
    let failure = client.send(request(&server.url("/"))).await.unwrap_err();
    let expected =
        format!("unable to read authorization credentials: unable to read file {path}: open {path}: {NO_FILE}");
    assert_eq!(failure.to_string(), expected);
}

#[tokio::test]
async fn an_authorization_that_the_request_brings_along_is_kept() {
    let server = Server::start(|_| ok()).await;
    let mut asking = request(&server.url("/"));
    asking.headers_mut().insert("authorization", "Own x".parse().unwrap());
    JobClient::new(&basic("me", "pass")).unwrap().send(asking).await.unwrap();
    assert_eq!(server.last().header("authorization"), Some("Own x"));
}

#[tokio::test]
async fn a_urls_user_comes_before_the_configured_one() {
    let server = Server::start(|_| ok()).await;
    get(&basic("me", "pass"), &format!("http://u:p@{}/", server.address)).await.unwrap();
    let asked = server.last();
    assert_eq!(asked.header("authorization"), Some("Basic dTpw"));
    assert_eq!(asked.header("host"), Some(server.address.to_string().as_str()));
}

#[tokio::test]
async fn headers_are_added_from_all_their_sources() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("header");
    fs::write(&path, "from-file\n").unwrap();
    let values =
        HeaderValues { values: vec!["open".to_owned()], secrets: vec![Secret::new("hidden")], files: vec![path] };
    let config =
        HttpClientConfig { http_headers: [("X-Scope-OrgID".to_owned(), values)].into(), ..HttpClientConfig::default() };
    let server = Server::start(|_| ok()).await;
    get(&config, &server.url("/")).await.unwrap();
    let asked = server.last();
    let sent: Vec<_> = asked.headers.get_all("x-scope-orgid").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(sent, ["open", "hidden", "from-file"]);
}

#[tokio::test]
async fn a_header_whose_file_is_missing_is_no_request() {
    let values = HeaderValues { files: vec!["/no/such/header".into()], ..HeaderValues::default() };
    let config = HttpClientConfig { http_headers: [("X".to_owned(), values)].into(), ..HttpClientConfig::default() };
    let failure = get(&config, "http://127.0.0.1:1/").await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!("unable to read headers file /no/such/header: open /no/such/header: {NO_FILE}")
    );
}
