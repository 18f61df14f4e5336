//! What a protected sidecar keeps to those who may ask, and what nobody may send.

use std::fs;

use narthex_common::api::SHARD_ASSIGNMENT;
use reqwest::{Client, StatusCode};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::process::Sidecar;

const CONFIG: &str = "scrape_configs:\n- {job_name: node, static_configs: [{targets: ['a:1']}]}\n";

#[tokio::test]
async fn with_a_token_everything_but_health_is_for_those_who_send_it_prometheus_included() {
    let mut sidecar = Sidecar::new(CONFIG, &["--web.token-file=token"]);
    fs::write(sidecar.path("token"), "s3cret\n").unwrap();
    sidecar.start().await;
    assert_eq!(sidecar.get("/-/healthy").await.0, StatusCode::OK);
    let client = Client::builder().no_proxy().build().unwrap();
    for (path, allowed) in [
        ("/metrics", StatusCode::OK),
        ("/api/v1/shard/report", StatusCode::OK),
        ("/api/v1/shard/assignment", StatusCode::OK),
        // Passed on to a Prometheus that is not there.
        ("/api/v1/query?query=up", StatusCode::BAD_GATEWAY),
        ("/", StatusCode::BAD_GATEWAY),
    ] {
        assert_eq!(sidecar.get(path).await, (StatusCode::UNAUTHORIZED, "Unauthorized\n".to_owned()), "{path}");
        let answer = client.get(sidecar.url(path)).bearer_auth("s3cret").send().await.unwrap();
        assert_eq!(answer.status(), allowed, "{path}");
    }
    assert_eq!(sidecar.reload().await.0, StatusCode::UNAUTHORIZED);
    let put = client.put(sidecar.url(SHARD_ASSIGNMENT)).bearer_auth("s3cre").body("{}").send().await.unwrap();
    assert_eq!(put.status(), StatusCode::UNAUTHORIZED);
    let log = fs::read_to_string(sidecar.path("sidecar.log")).unwrap();
    assert!(!log.contains("s3cre"), "{log}");
}

#[tokio::test]
async fn a_token_file_that_is_not_there_ends_it_at_the_start() {
    let sidecar = Sidecar::new(CONFIG, &["--web.token-file=nowhere"]);
    let output = sidecar.command().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("narthex-sidecar: read nowhere (flag --web.token-file): No such file"), "{said}");
}

#[tokio::test]
async fn an_assignment_larger_than_any_is_not_even_read() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let mut stream = TcpStream::connect(("127.0.0.1", sidecar.api)).await.unwrap();
    let head = format!("PUT {SHARD_ASSIGNMENT} HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000000\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("it is larger than 256 MiB"), "{answer}");
    assert_eq!(sidecar.report().await.revision.0, 0);
}
