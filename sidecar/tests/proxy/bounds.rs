//! However large a body is, the proxy holds next to nothing of it; and it takes no more of it than it takes Prometheus to
//! make up its mind.

use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use narthex_common::{load::Series, report::Health};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::rig::{Proxy, ScriptedTarget};

/// The most memory, in bytes, that this test process may take more than before, half of what goes through: the tests
/// beside this one need some hundred megabytes.
const SOME_MEMORY: u64 = 1 << 30;
/// The kernel's socket buffers between a target, the proxy and its client hold some megabytes.
const SOCKET_BUFFERS: u64 = 32 << 20;

/// A target that writes the same piece again and again, and what became of it.
struct Tireless {
    target: ScriptedTarget,
    written: Arc<AtomicU64>,
    let_go: Arc<tokio::sync::Notify>,
}

impl Tireless {
    /// Writes `head`, and then `piece` so many times.
    async fn start(head: String, piece: Vec<u8>, times: u64) -> Self {
        let (written, let_go) = (Arc::<AtomicU64>::default(), Arc::<tokio::sync::Notify>::default());
        let (count, signal, piece) = (Arc::clone(&written), Arc::clone(&let_go), Arc::<[u8]>::from(piece));
        let target = ScriptedTarget::start(move |mut stream| {
            let (count, signal, piece, head) =
                (Arc::clone(&count), Arc::clone(&signal), Arc::clone(&piece), head.clone());
            async move {
                stream.write_all(head.as_bytes()).await.unwrap();
                for _ in 0..times {
                    if stream.write_all(&piece).await.is_err() {
                        signal.notify_one();
                        return;
                    }
                    count.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
            }
        })
        .await;
        Self { target, written, let_go }
    }

    fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

fn lines(bytes: usize) -> Vec<u8> {
    let mut lines =
        b"some_metric{with=\"labels\",and=\"a long value so that there are not that many lines\"} 1\n".repeat(500);
    lines.truncate(lines.len().min(bytes));
    lines
}

/// The most memory this process has ever held, in bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Reads until the end, or so many bytes.
async fn read(stream: &mut TcpStream, most: u64) -> u64 {
    let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
    while total < most {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => total += read as u64,
            Ok(_) | Err(_) => break,
        }
    }
    total
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_two_gigabytes_goes_through_in_little_memory_and_is_counted() {
    const LENGTH: u64 = 2 << 30;
    // A comment of a megabyte and a sample: what has many lines takes a debug build too long.
    let piece = [b"# ".as_slice(), &[b'x'; (1 << 20) - 8], b"\na 1\n\n"].concat();
    assert_eq!(piece.len(), 1 << 20);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
    let tireless = Tireless::start(head, piece, LENGTH >> 20).await;
    let proxy = Proxy::start("", &[tireless.target.url()]).await;
    let before = peak_memory();
    let mut scrape =
        proxy.ask(&tireless.target.url(), "Connection: close\r\nX-Prometheus-Scrape-Timeout-Seconds: 600\r\n").await;
    assert!(read(&mut scrape, u64::MAX).await > LENGTH);
    let grown = peak_memory() - before;
    assert!(grown < SOME_MEMORY, "{grown} bytes");
    let report = proxy.report().await;
    assert_eq!((report.health, report.last_error.as_str()), (Health::Up, ""));
    // The last of the 2 GiB is what is too much to be counted.
    assert!((2_046..=2_048).contains(&report.load.unwrap().exposed.0), "{:?}", report.load);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_ends_ends_with_prometheus_patience() {
    let head = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let tireless = Tireless::start(head, lines(usize::MAX), u64::MAX).await;
    let proxy = Proxy::start("", &[tireless.target.url()]).await;
    let mut scrape = proxy.ask(&tireless.target.url(), "").await;
    read(&mut scrape, 64 << 20).await;
    drop(scrape);
    tokio::time::timeout(Duration::from_secs(1), tireless.let_go.notified()).await.expect("let go within a second");
    assert!(tireless.written() < (64 << 20) + SOCKET_BUFFERS, "{}", tireless.written());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_larger_than_the_job_allows_is_not_pulled_in_full_even_if_nobody_hangs_up() {
    const LIMIT: u64 = 1 << 20;
    let gzip = {
        let mut gzip = GzEncoder::new(vec![], Compression::fast());
        gzip.write_all(&lines(usize::MAX)).unwrap();
        gzip.finish().unwrap()
    };
    let announced = "Content-Length: 1000000000\r\n";
    for (headers, piece) in
        [(announced, lines(usize::MAX)), ("", lines(usize::MAX)), ("Content-Encoding: gzip\r\n", gzip)]
    {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{headers}\r\n");
        let tireless = Tireless::start(head, piece, u64::MAX).await;
        let proxy = Proxy::start("body_size_limit: 1MiB", &[tireless.target.url()]).await;
        let mut scrape = proxy.ask(&tireless.target.url(), "").await;
        let received = tokio::spawn(async move { read(&mut scrape, LIMIT * 1_000).await });
        tokio::time::timeout(Duration::from_secs(20), tireless.let_go.notified()).await.expect("the target is let go");
        assert!(tireless.written() < LIMIT + SOCKET_BUFFERS, "{} bytes were sent", tireless.written());
        let report = proxy.report().await;
        assert_eq!(
            (report.health, report.last_error.as_str()),
            (Health::Down, "body size limit exceeded"),
            "{headers}"
        );
        assert!(!received.is_finished(), "Prometheus is left to hang up by itself, having read what is too much");
        received.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fits_exactly_is_counted() {
    let target = ScriptedTarget::answering(crate::rig::ok("", &lines(9_100))).await;
    let proxy = Proxy::start("body_size_limit: 9101B", &[target.url()]).await;
    proxy.scrape(&target.url()).await;
    assert_eq!(proxy.report().await.load.unwrap().exposed, Series(106));
}
