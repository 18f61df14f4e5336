//! A target that exposes more series than it may is cut off, says why, and comes back when it has shrunk.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use narthex_common::{
    load::{Load, Series},
    report::Health,
    semantics::PrometheusVersion,
    series_limit::{JobLimit, SeriesLimits},
};
use rstest::rstest;
use tokio::io::AsyncWriteExt as _;

use crate::rig::{JOB, Proxy, ScriptedTarget, ok};

const REASON: &str = "target exposes more than 100 series (--target.max-series); cut off";

/// How a target sends its body.
#[derive(Clone, Copy, Debug)]
enum Sends {
    Whole,
    Chunked,
    Gzipped,
    Zstd,
}

/// A target of as many series as it is told to have.
struct Growing {
    series: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
    target: ScriptedTarget,
}

impl Growing {
    async fn start(sends: Sends, answer_after: Duration) -> Self {
        let (series, asked) = (Arc::new(AtomicUsize::new(100)), Arc::new(AtomicUsize::new(0)));
        let (has, count) = (Arc::clone(&series), Arc::clone(&asked));
        let target = ScriptedTarget::start(move |mut stream| {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer(sends, has.load(Ordering::Relaxed));
            async move {
                tokio::time::sleep(answer_after).await;
                // Whoever has seen enough hangs up.
                drop(stream.write_all(&answer).await);
                drop(stream.shutdown().await);
            }
        })
        .await;
        Self { series, asked, target }
    }

    fn has(&self, series: usize) {
        self.series.store(series, Ordering::Relaxed);
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::Relaxed)
    }
}

fn answer(sends: Sends, series: usize) -> Vec<u8> {
    let body: String = (0..series).map(|i| format!("growing{{i=\"{i}\"}} 1\n")).collect();
    match sends {
        Sends::Whole => ok("", body.as_bytes()),
        Sends::Chunked => {
            let chunks: String = body.lines().map(|line| format!("{:x}\r\n{line}\n\r\n", line.len() + 1)).collect();
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into_bytes()
        }
        Sends::Gzipped => {
            let mut gzip = GzEncoder::new(vec![], Compression::default());
            gzip.write_all(body.as_bytes()).unwrap();
            ok("Content-Encoding: gzip\r\n", &gzip.finish().unwrap())
        }
        Sends::Zstd => ok("Content-Encoding: zstd\r\n", &zstd::encode_all(body.as_bytes(), 0).unwrap()),
    }
}

async fn limited(urls: &[String], of_all: u64, of_job: Option<&str>) -> Proxy {
    let of_job = of_job.map(|limit| format!("{JOB}={limit}").parse::<JobLimit>().unwrap());
    let limits = SeriesLimits::new(Series(of_all), of_job.as_slice()).unwrap();
    Proxy::start_limited("", urls, PrometheusVersion::V2_42, limits).await
}

fn guarded(proxy: &Proxy) -> i64 {
    let metrics = proxy.metrics();
    let line = metrics.lines().find_map(|line| line.strip_prefix("narthex_sidecar_guarded_targets "));
    line.unwrap().parse().unwrap()
}

fn load(series: u64) -> Option<Load> {
    Some(Load { exposed: Series(series), kept: Series(series) })
}

#[rstest]
#[case(Sends::Whole)]
#[case(Sends::Chunked)]
#[case(Sends::Gzipped)]
#[case(Sends::Zstd)]
#[tokio::test]
async fn a_target_that_explodes_is_cut_off_and_comes_back_in_the_scrape_in_which_it_has_shrunk(#[case] sends: Sends) {
    let target = Growing::start(sends, Duration::ZERO).await;
    let proxy = limited(&[target.target.url()], 100, None).await;
    let scrape = || async { proxy.scrape(&target.target.url()).await };

    assert!(scrape().await.complete, "a hundred series are allowed");
    target.has(101);
    assert!(!scrape().await.complete, "Prometheus takes nothing of a body that breaks off");
    let report = proxy.report().await;
    assert_eq!((report.health, report.last_error.as_str(), report.load), (Health::Down, REASON, load(100)));
    assert_eq!((guarded(&proxy), target.asked()), (1, 2));

    target.has(5_000);
    let refused = scrape().await;
    assert_eq!((refused.status, target.asked()), (format!("HTTP/1.1 502 {REASON}"), 1));
    let report = proxy.report().await;
    assert_eq!((report.health, report.last_error.as_str(), report.load), (Health::Down, REASON, load(100)));
    assert!(proxy.metrics().contains("{outcome=\"cut_off\"} 2"), "{}", proxy.metrics());

    target.has(70);
    let back = scrape().await;
    assert_eq!((back.status.as_str(), back.complete), ("HTTP/1.1 200 OK", true));
    assert!(answer(sends, 70).ends_with(&back.body) || matches!(sends, Sends::Chunked));
    let report = proxy.report().await;
    assert_eq!((report.health, report.last_error.as_str(), report.load), (Health::Up, "", load(70)));
    assert_eq!((guarded(&proxy), target.asked()), (0, 2), "it was counted, and asked for again");
    assert!(scrape().await.complete);
    assert_eq!(target.asked(), 1, "from then on it is asked once");
}

#[tokio::test]
async fn a_target_of_which_nothing_is_known_is_taken_to_be_as_large_as_it_may_be() {
    let target = Growing::start(Sends::Whole, Duration::ZERO).await;
    let proxy = limited(&[target.target.url()], 100, None).await;
    target.has(5_000);
    proxy.scrape(&target.target.url()).await;
    assert_eq!(proxy.report().await.load, load(100));
}

#[tokio::test]
async fn a_guarded_body_is_read_no_further_than_to_the_limit() {
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    let target = ScriptedTarget::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let piece = "endless 1\n".repeat(1_000);
            let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
            while stream.write_all(chunk.as_bytes()).await.is_ok() {
                count.fetch_add(chunk.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let proxy = limited(&[target.url()], 100_000, None).await;
    assert!(!proxy.scrape(&target.url()).await.complete);
    for _ in 0..3 {
        written.store(0, Ordering::Relaxed);
        assert!(proxy.scrape(&target.url()).await.status.starts_with("HTTP/1.1 502 target exposes more than 100000"));
        // A megabyte is what the limit allows; the rest is what was on its way.
        assert!(written.load(Ordering::Relaxed) < 32 << 20, "{written:?}");
    }
}

#[tokio::test]
async fn what_a_guarded_target_does_wrong_is_told_as_ever_and_it_stays_guarded() {
    let broken = Arc::new(AtomicUsize::new(0));
    let step = Arc::clone(&broken);
    let target = ScriptedTarget::start(move |mut stream| {
        let answer = match step.fetch_add(1, Ordering::Relaxed) {
            0 => answer(Sends::Whole, 101),
            1 => b"HTTP/1.1 500 Oh No\r\nContent-Length: 0\r\n\r\n".to_vec(),
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na 1\n".to_vec(),
        };
        async move {
            drop(stream.write_all(&answer).await);
            drop(stream.shutdown().await);
        }
    })
    .await;
    let proxy = limited(&[target.url()], 100, None).await;
    proxy.scrape(&target.url()).await;
    assert_eq!(proxy.scrape(&target.url()).await.status, "HTTP/1.1 500 Oh No");
    assert_eq!(proxy.report().await.last_error, "server returned HTTP status 500 Oh No");
    assert_eq!(proxy.scrape(&target.url()).await.status, "HTTP/1.1 502 unexpected EOF");
    assert_eq!((proxy.report().await.last_error.as_str(), guarded(&proxy)), ("unexpected EOF", 1));
}

#[tokio::test]
async fn a_target_that_shrinks_too_late_in_a_scrape_is_back_in_the_next() {
    let target = Growing::start(Sends::Whole, Duration::from_millis(300)).await;
    let url = target.target.url();
    let proxy = limited(std::slice::from_ref(&url), 100, None).await;
    target.has(101);
    proxy.scrape(&url).await;
    target.has(100);
    let mut late = proxy.ask(&url, "X-Prometheus-Scrape-Timeout-Seconds: 0.5\r\n").await;
    let late = crate::rig::Answer::read(&mut late).await;
    assert!(late.status.contains("502 target was cut off, and exposes few enough series again"), "{}", late.status);
    assert_eq!(guarded(&proxy), 0);
    assert!(proxy.scrape(&url).await.complete);
}

#[rstest]
#[case::own_limit("10", Some("target exposes more than 10 series (--target.max-series-of-job); cut off"))]
#[case::no_limit("0", None)]
#[tokio::test]
async fn a_job_may_have_a_limit_of_its_own_or_none(#[case] of_job: &str, #[case] reason: Option<&str>) {
    let target = Growing::start(Sends::Whole, Duration::ZERO).await;
    target.has(101);
    let proxy = limited(&[target.target.url()], 100, Some(of_job)).await;
    assert_eq!(proxy.scrape(&target.target.url()).await.complete, reason.is_none());
    assert_eq!(proxy.report().await.last_error, reason.unwrap_or_default());
}
