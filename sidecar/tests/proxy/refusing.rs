//! Nothing is forwarded but the scrapes of this shard's own targets.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use narthex_common::{
    report::Health,
    target_limit::{ExceededTargetLimits, TargetLimitExceeded},
};
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::rig::{Answer, JOB, Proxy, ScriptedTarget, TOKEN, ok};

/// The status line of the answer to a request with these credentials.
async fn status_of(proxy: &Proxy, request_line: &str, credentials: Option<String>) -> String {
    let credentials = credentials
        .map(|text| format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(text)))
        .unwrap_or_default();
    let mut stream = proxy.send(&format!("{request_line} HTTP/1.1\r\nHost: x\r\n{credentials}\r\n")).await;
    Answer::read(&mut stream).await.status
}

#[tokio::test]
async fn only_the_shards_own_prometheus_gets_through_and_only_to_the_shards_own_targets() {
    let target = ScriptedTarget::answering(ok("", b"a 1\n")).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let (get, id) = (format!("GET {}", target.url()), proxy.job_id.clone());
    let known = || Some(format!("{id}:{TOKEN}"));

    for credentials in [None, Some(format!("{id}:wrong")), Some(format!("j0:{TOKEN}x")), Some(TOKEN.into())] {
        let status = status_of(&proxy, &get, credentials).await;
        assert_eq!(status, "HTTP/1.1 407 Proxy Authentication Required");
    }
    let unknown_job = status_of(&proxy, &get, Some(format!("j0:{TOKEN}"))).await;
    assert_eq!(unknown_job, "HTTP/1.1 403 not a job of this scrape proxy");
    let elsewhere = format!("GET http://{}/secret", target.address);
    assert_eq!(
        status_of(&proxy, &elsewhere, known()).await,
        format!("HTTP/1.1 502 no target of job \"node\" on this shard is at http://{}/secret", target.address)
    );
    assert!(status_of(&proxy, "GET /metrics", known()).await.starts_with("HTTP/1.1 400 "));
    assert!(status_of(&proxy, "CONNECT x:443", known()).await.starts_with("HTTP/1.1 405 the scrape proxy makes no"));
    let post = format!("POST {}", target.url());
    assert!(status_of(&proxy, &post, known()).await.starts_with("HTTP/1.1 405 "));

    assert_eq!(proxy.table.all()[0].health, Health::Unknown, "none of them reached the target");
    assert!(proxy.metrics().contains("{outcome=\"refused\"} 9"), "{}", proxy.metrics());
    assert_eq!(status_of(&proxy, &get, known()).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_job_without_a_usable_client_answers_every_scrape_with_the_reason() {
    let target = ScriptedTarget::answering(ok("", b"a 1\n")).await;
    let old_tls = "tls_config: {min_version: TLS10, max_version: TLS11}";
    let no_ca = "tls_config: {ca_file: /nowhere/ca.pem}";
    let no_token = "oauth2: {client_id: a, client_secret: b, token_url: 'http://u:geheim@127.0.0.1:1/'}";
    for (fields, words) in [(old_tls, "TLS 1.2 is the lowest"), (no_ca, "/nowhere/ca.pem"), (no_token, "***@127.0.0.1")]
    {
        let proxy = Proxy::start(fields, &[target.url()]).await;
        let status = proxy.scrape(&target.url()).await.status;
        assert!(status.starts_with("HTTP/1.1 502 ") && status.contains(words), "{status}");
        let report = proxy.report().await;
        assert_eq!(report.health, Health::Down);
        assert!(report.last_error.contains(words), "{}", report.last_error);
    }
}

#[tokio::test]
async fn who_sends_no_whole_request_is_not_waited_for() {
    let target = ScriptedTarget::answering(ok("", b"a 1\n")).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let slow = [proxy.send("").await, proxy.send(&format!("GET {} HTTP/1.1\r\nX-Slow: ", target.url())).await];
    let began = Instant::now();
    for mut stream in slow {
        let mut rest = Vec::new();
        // A connection that is reset is closed, too.
        drop(timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await.expect("it stays open"));
    }
    assert!(began.elapsed() > Duration::from_secs(9), "Prometheus may take a moment: {:?}", began.elapsed());
    assert_eq!(proxy.scrape(&target.url()).await.status, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_job_with_too_many_targets_is_not_asked_until_they_are_few_enough() {
    let target = ScriptedTarget::answering(ok("", b"a 1\n")).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let scrape =
        async || status_of(&proxy, &format!("GET {}", target.url()), Some(format!("{}:{TOKEN}", proxy.job_id))).await;

    proxy.exceed([(JOB.into(), TargetLimitExceeded { targets: 8, limit: 7 })].into());
    let reason = "target_limit exceeded (number of targets: 8, limit: 7)";
    assert_eq!(scrape().await, format!("HTTP/1.1 502 {reason}"));
    let seen = proxy.table.all().remove(0);
    assert_eq!((seen.health, seen.last_error.as_str(), seen.scrapes), (Health::Down, reason, 1));
    assert_eq!(target.times_asked(), 0);
    assert!(proxy.metrics().contains("{outcome=\"too_many_targets\"} 1"), "{}", proxy.metrics());

    proxy.exceed(ExceededTargetLimits::new());
    assert_eq!(scrape().await, "HTTP/1.1 200 OK");
    assert_eq!((target.times_asked(), proxy.table.all()[0].health), (1, Health::Up));
}
