//! What fails, fails visibly: for Prometheus, and in the report, in the words Prometheus has for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use narthex_common::{report::Health, semantics::PrometheusVersion};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::rig::{Proxy, ScriptedTarget, ok};

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_a_502_whose_words_say_why() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = format!("http://{closed}/metrics");
    let proxy = Proxy::start("", std::slice::from_ref(&url)).await;
    let answer = proxy.scrape(&url).await;
    let reason = format!("dial tcp {closed}: connect: connection refused");
    assert_eq!(answer.status, format!("HTTP/1.1 502 {reason}"));
    assert_eq!(answer.text(), format!("{reason}\n"));
    let report = proxy.report().await;
    assert_eq!((report.health, report.last_error), (Health::Down, format!("Get \"{url}\": {reason}")));
    assert!(proxy.metrics().contains("{outcome=\"no_answer\"} 1"));
}

#[tokio::test]
async fn a_body_that_breaks_off_breaks_off_for_prometheus_too() {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n";
    let without_last_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na 1\n\r\n";
    let within_a_chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\na 1\n";
    for broken in [short, without_last_chunk, within_a_chunk] {
        let target = ScriptedTarget::answering(broken).await;
        let proxy = Proxy::start("", &[target.url()]).await;
        let answer = proxy.scrape(&target.url()).await;
        assert!(!answer.complete, "{broken:?} was taken for whole: {answer:?}");
        let report = proxy.report().await;
        assert_eq!((report.health, report.last_error.as_str(), report.load), (Health::Down, "unexpected EOF", None));
    }
}

/// Waits until the other side has hung up.
async fn hung_up(stream: &mut TcpStream) {
    while !matches!(stream.read(&mut [0; 64]).await, Ok(0) | Err(_)) {}
}

#[tokio::test]
async fn when_prometheus_runs_out_of_time_the_target_is_let_go_and_the_scrape_failed() {
    let let_go = Arc::new(Notify::new());
    for (head, words) in [("", true), ("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n", false)] {
        let signal = Arc::clone(&let_go);
        let target = ScriptedTarget::start(move |mut stream| {
            let signal = Arc::clone(&signal);
            async move {
                stream.write_all(head.as_bytes()).await.unwrap();
                hung_up(&mut stream).await;
                signal.notify_one();
            }
        })
        .await;
        let proxy = Proxy::start("", &[target.url()]).await;
        let scrape = proxy.ask(&target.url(), "X-Prometheus-Scrape-Timeout-Seconds: 0.2\r\n").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        drop(scrape);
        let_go.notified().await;
        let get = if words { format!("Get \"{}\": ", target.url()) } else { String::new() };
        assert_eq!(proxy.report().await.last_error, format!("{get}context deadline exceeded"));
    }
}

#[tokio::test]
async fn a_scrape_that_prometheus_drops_before_its_time_says_nothing_of_the_target() {
    let target = ScriptedTarget::start(|mut stream| async move { hung_up(&mut stream).await }).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    drop(proxy.ask(&target.url(), "X-Prometheus-Scrape-Timeout-Seconds: 10\r\n").await);
    while !proxy.metrics().contains("{outcome=\"cancelled\"} 1") {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(proxy.table.all()[0].health, Health::Unknown);
}

/// A target that writes one endless line after the other, as fast as it is read, and counts the bytes.
async fn endless(written: Arc<AtomicUsize>, let_go: Arc<Notify>) -> ScriptedTarget {
    ScriptedTarget::start(move |mut stream| {
        let (written, let_go) = (Arc::clone(&written), Arc::clone(&let_go));
        async move {
            let piece = "some_metric{with=\"labels\"} 1\n".repeat(1_000);
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                written.fetch_add(chunk.len(), Ordering::Relaxed);
            }
            let_go.notify_one();
        }
    })
    .await
}

#[tokio::test]
async fn no_more_of_a_body_is_taken_than_prometheus_reads() {
    let (written, let_go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let target = endless(Arc::clone(&written), Arc::clone(&let_go)).await;
    let proxy = Proxy::start("", &[target.url()]).await;
    let mut scrape = proxy.ask(&target.url(), "").await;
    let mut stood_still_since = (0, Instant::now());
    while stood_still_since.1.elapsed() < Duration::from_millis(300) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = written.load(Ordering::Relaxed);
        if now != stood_still_since.0 {
            stood_still_since = (now, Instant::now());
        }
    }
    // The kernel's socket buffers on both sides hold some megabytes; the proxy itself next to nothing.
    assert!((1..32 << 20).contains(&stood_still_since.0), "{} bytes went out unread", stood_still_since.0);

    scrape.read_exact(&mut vec![0; 40 << 20]).await.unwrap();
    assert!(written.load(Ordering::Relaxed) >= 40 << 20, "reading on lets it go on");
    drop(scrape);
    let_go.notified().await;
}

async fn last_error(fields: &str, version: PrometheusVersion, answer: Vec<u8>) -> String {
    let target = ScriptedTarget::answering(answer).await;
    let proxy = Proxy::start_for(fields, &[target.url()], version).await;
    proxy.scrape(&target.url()).await;
    proxy.report().await.last_error
}

#[tokio::test]
async fn an_answer_that_prometheus_will_not_take_is_a_failed_scrape() {
    let (v2, v3) = (PrometheusVersion::V2_42, PrometheusVersion::V3_5);
    let body = b"a 1\nb 2\nc 3\n";
    assert_eq!(last_error("sample_limit: 2", v2, ok("", body)).await, "sample limit exceeded");
    assert_eq!(last_error("sample_limit: 3", v2, ok("", body)).await, "");

    assert_eq!(last_error("body_size_limit: 12B", v2, ok("", body)).await, "body size limit exceeded");
    assert_eq!(last_error("body_size_limit: 13B", v2, ok("", body)).await, "");

    let open = "Content-Type: application/openmetrics-text\r\n";
    assert_eq!(last_error("", v2, ok(open, body)).await, "data does not end with # EOF");
    assert_eq!(last_error("", v2, ok(open, b"a 1\n# EOF\n")).await, "");

    assert!(last_error("", v3, ok("", body)).await.contains("blank Content-Type"));
    assert_eq!(last_error("", v3, ok("", b"")).await, "", "an empty body is not even looked at");
    assert_eq!(last_error("", v2, ok("", body)).await, "");

    let gzip = "Content-Encoding: gzip\r\n";
    assert_eq!(last_error("", v2, ok(gzip, body)).await, "gzip: invalid header");
    assert_eq!(last_error("", v2, ok(gzip, b"")).await, "EOF");
    assert_eq!(last_error("", v2, ok(gzip, b"\x1f\x8b\x08\0\0\0\0\0\0\xff")).await, "unexpected EOF");
}
