//! What goes through, goes through unchanged.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use narthex_common::{
    load::{Load, Series},
    report::Health,
    semantics::PrometheusVersion,
};
use narthex_sidecar::proxy::{CountCompressed, ProxySettings};
use tokio::{io::AsyncWriteExt as _, sync::Notify};

use crate::rig::{Answer, Proxy, ScriptedTarget, ok};

const BODY: &str = "# HELP a Help.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\"} 2\nb 3\n";

fn three() -> Option<Load> {
    Some(Load { exposed: Series(3), kept: Series(3) })
}

#[tokio::test]
async fn what_prometheus_asks_reaches_the_target_as_it_asked_and_nothing_that_is_the_proxys() {
    let target = ScriptedTarget::answering(ok("", b"")).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let headers = "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n\
        Accept-Encoding: gzip\r\nUser-Agent: Prometheus/2.42.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 7.5\r\n\
        Traceparent: 00-1-2-01\r\nProxy-Connection: keep-alive\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n";
    Answer::read(&mut proxy.ask(&target.url(), headers).await).await;
    let asked = target.asked().to_lowercase();
    let mut lines = asked.lines();
    assert_eq!(lines.next(), Some("get /metrics http/1.1"));
    let mut lines: Vec<&str> = lines.collect();
    lines.sort_unstable();
    let host = format!("host: {}", target.address);
    assert_eq!(
        lines,
        [
            "accept-encoding: gzip",
            "accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1",
            &host,
            "traceparent: 00-1-2-01",
            "user-agent: prometheus/2.42.0",
            "x-prometheus-scrape-timeout-seconds: 7.5",
        ]
    );
}

#[tokio::test]
async fn what_the_target_answers_reaches_prometheus_as_it_answered() {
    let headers = "Content-Type: text/plain; version=0.0.4\r\nX-Own: 1\r\nConnection: close\r\nKeep-Alive: 5\r\n";
    let target = ScriptedTarget::answering(ok(headers, BODY.as_bytes())).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let answer = proxy.scrape(&target.url()).await;
    assert_eq!((answer.status.as_str(), answer.text(), answer.complete), ("HTTP/1.1 200 OK", BODY, true));
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4");
    assert_eq!(answer.headers["content-length"], BODY.len().to_string());
    assert_eq!(answer.headers["x-own"], "1");
    assert!(!answer.headers.contains_key("keep-alive") && !answer.headers.contains_key("connection"));

    let report = proxy.report().await;
    assert_eq!((report.health, report.load, report.scrapes), (Health::Up, three(), 1));
    assert!(report.last_scrape.is_some() && !report.last_scrape_duration.is_zero());
    let metrics = proxy.metrics();
    assert!(metrics.contains("narthex_sidecar_proxy_requests_total{outcome=\"forwarded\"} 1"), "{metrics}");
    assert!(metrics.contains(&format!("narthex_sidecar_proxy_bytes_total {}", BODY.len())), "{metrics}");
    assert!(metrics.contains("narthex_sidecar_proxy_in_flight 0"), "{metrics}");
}

#[tokio::test]
async fn a_compressed_body_stays_compressed_and_is_counted() {
    let mut gzip = GzEncoder::new(vec![], Compression::default());
    gzip.write_all(BODY.as_bytes()).unwrap();
    for (encoding, body) in [("gzip", gzip.finish().unwrap()), ("zstd", zstd::encode_all(BODY.as_bytes(), 0).unwrap())]
    {
        let target = ScriptedTarget::answering(ok(&format!("Content-Encoding: {encoding}\r\n"), &body)).await;
        let proxy = Proxy::start("", &[target.url()]).await;
        let answer = proxy.scrape(&target.url()).await;
        assert_eq!((answer.body, answer.headers["content-encoding"].as_str()), (body, encoding));
        assert_eq!(proxy.report().await.load, three(), "{encoding}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_counted_only_when_needed_where_the_user_wants_that() {
    let gzipped = |text: &str| {
        let mut gzip = GzEncoder::new(vec![], Compression::default());
        gzip.write_all(text.as_bytes()).unwrap();
        gzip.finish().unwrap()
    };
    let grown: String = (0..100).map(|i| format!("grown{{i=\"{i}\"}} {i}\n")).collect();
    let bodies = Arc::new(Mutex::new(gzipped(BODY)));
    let answered = Arc::clone(&bodies);
    let target = ScriptedTarget::start(move |mut stream| {
        let answer = ok("Content-Encoding: gzip\r\nConnection: close\r\n", &answered.lock().unwrap());
        async move { stream.write_all(&answer).await.unwrap() }
    })
    .await;
    for (fields, after_growth) in [("", [3, 100]), ("sample_limit: 1000", [100, 100])] {
        bodies.lock().unwrap().clone_from(&gzipped(BODY));
        let settings = ProxySettings { count_compressed: CountCompressed::WhenNeeded, ..ProxySettings::default() };
        let proxy = Proxy::start_set(fields, &[target.url()], PrometheusVersion::V2_42, settings).await;
        proxy.scrape(&target.url()).await;
        assert_eq!(proxy.report().await.load, three(), "the first one is counted");
        bodies.lock().unwrap().clone_from(&gzipped(&grown));
        for (scrapes, exposed) in (2..).zip(after_growth) {
            assert_eq!(proxy.scrape(&target.url()).await.body, gzipped(&grown));
            let report = proxy.report_once(|report| report.scrapes == scrapes).await;
            assert_eq!((report.health, report.load.unwrap().exposed), (Health::Up, Series(exposed)), "{fields}");
        }
    }
}

#[tokio::test]
async fn a_body_in_chunks_or_up_to_the_end_of_the_connection_goes_through() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n8\r\nb 2\nc 3\n\r\n0\r\n\r\n";
    let until_closed = "HTTP/1.0 200 OK\r\n\r\na 1\nb 2\nc 3\n";
    for answer in [chunked, until_closed] {
        let target = ScriptedTarget::answering(answer).await;
        let proxy = Proxy::start("", &[target.url()]).await;
        let answer = proxy.scrape(&target.url()).await;
        assert_eq!((answer.text(), answer.complete), ("a 1\nb 2\nc 3\n", true));
        assert_eq!(proxy.report().await.load, three());
    }
}

#[tokio::test]
async fn another_status_goes_through_with_its_words_and_body() {
    let target = ScriptedTarget::answering("HTTP/1.1 503 Gone Fishing\r\nContent-Length: 4\r\n\r\nback").await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let answer = proxy.scrape(&target.url()).await;
    assert_eq!((answer.status.as_str(), answer.text()), ("HTTP/1.1 503 Gone Fishing", "back"));
    let report = proxy.report().await;
    assert_eq!(report.last_error, "server returned HTTP status 503 Gone Fishing");
    assert_eq!(report.health, Health::Down);
}

#[tokio::test]
async fn one_connection_carries_many_scrapes() {
    let target = ScriptedTarget::answering(ok("", BODY.as_bytes())).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let credentials = BASE64_STANDARD.encode(format!("{}:{}", proxy.job_id, crate::rig::TOKEN));
    let request = format!("GET {} HTTP/1.1\r\nProxy-Authorization: Basic {credentials}\r\n\r\n", target.url());
    let mut stream = proxy.send("").await;
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(Answer::read(&mut stream).await.text(), BODY);
    }
    assert_eq!(proxy.report_once(|report| report.scrapes == 3).await.load, three());
}

#[tokio::test]
async fn the_jobs_credentials_are_sent_to_the_target_and_to_nobody_else() {
    let with_auth = "basic_auth: {username: user, password: pass}";
    let target = ScriptedTarget::answering(ok("", BODY.as_bytes())).await;
    let proxy = Proxy::start(with_auth, &[target.url()]).await;
    let answer = proxy.scrape(&target.url()).await;
    let basic = |text: &str| format!("authorization: basic {}", BASE64_STANDARD.encode(text).to_lowercase());
    assert!(target.asked().to_lowercase().contains(&basic("user:pass")), "{}", target.asked());
    assert!(!answer.headers.contains_key("authorization"));

    // Go sends the user part of an address as a header; the job's own credentials stand back then.
    let target = ScriptedTarget::answering(ok("", BODY.as_bytes())).await;
    let with_user = format!("http://own:secret@{}/metrics", target.address);
    let proxy = Proxy::start(with_auth, &[with_user]).await;
    let own = format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode("own:secret"));
    Answer::read(&mut proxy.ask(&target.url(), &own).await).await;
    assert!(target.asked().to_lowercase().contains(&basic("own:secret")), "{}", target.asked());
    assert!(!target.asked().to_lowercase().contains(&basic("user:pass")));
}

#[tokio::test]
async fn targets_with_one_url_and_different_labels_take_turns() {
    let target = ScriptedTarget::answering(ok("", BODY.as_bytes())).await;
    let proxy = Proxy::start("", &[target.url(), target.url()]).await;
    for _ in 0..4 {
        proxy.scrape(&target.url()).await;
    }
    proxy.report_once(|_| proxy.table.all().iter().all(|target| target.scrapes == 2)).await;
}

#[tokio::test]
async fn a_scrape_on_its_way_ends_well_when_the_process_ends_and_idle_connections_do_not_hold_it() {
    let asked = Arc::new(Notify::new());
    let signal = Arc::clone(&asked);
    let target = ScriptedTarget::start(move |mut stream| {
        signal.notify_one();
        async move {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stream.write_all(&ok("", BODY.as_bytes())).await.unwrap();
        }
    })
    .await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let idle = proxy.send("").await;
    let mut scrape = proxy.ask(&target.url(), "").await;
    asked.notified().await;
    let (answer, ()) = tokio::join!(Answer::read(&mut scrape), proxy.end());
    assert_eq!((answer.text(), answer.complete), (BODY, true));
    drop(idle);
}
