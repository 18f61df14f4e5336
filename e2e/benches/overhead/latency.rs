//! What the sidecar adds to the time that a small scrape takes.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use narthex_e2e::{
    process::{Workdir, free_ports},
    show,
};

use crate::{
    Args,
    rig::{Loadgen, Sidecar, config},
};

/// As many series as a small exporter has.
const SERIES: u64 = 50;
const SCRAPES: usize = 5_000;
/// The first scrapes open connections and are not measured.
const FIRST_SCRAPES: usize = 50;
/// Between two scrapes, so that both sides are idle when one begins, as they mostly are.
const PAUSE: Duration = Duration::from_millis(1);

const MEDIAN_GOAL_MS: f64 = 0.3;
const P99_GOAL_MS: f64 = 2.0;

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    for gzip in [false, true] {
        let dir = Workdir::new()?;
        let loadgen = Loadgen::start(dir.path(), 1, SERIES, gzip).await?;
        let config = config(&loadgen.addresses, "10s");
        let nobody = format!("127.0.0.1:{}", free_ports(1)?);
        let sidecar = Sidecar::start(dir.path(), &config, &nobody, &args.sidecar_arg).await?;
        sidecar.assign(&loadgen.addresses, "10s").await?;

        let address = loadgen.addresses.first().context("a target")?.clone();
        let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let credentials = BASE64_STANDARD.encode(sidecar.credentials()?);
        let directly = format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\n{encoding}\r\n");
        let through = format!(
            "GET http://{address}/metrics HTTP/1.1\r\nHost: {address}\r\n\
             Proxy-Authorization: Basic {credentials}\r\n{encoding}\r\n"
        );
        let proxy = sidecar.proxy.clone();
        let [mut direct, mut proxied] = tokio::task::spawn_blocking(move || {
            take_turns([(Scraper::new(&address)?, directly), (Scraper::new(&proxy)?, through)])
        })
        .await??;
        direct.sort_unstable();
        proxied.sort_unstable();
        show(format_args!(
            "\n{SCRAPES} scrapes of {SERIES} series, one after the other, {}",
            if gzip { "gzip" } else { "text" }
        ));
        for (name, percent, goal) in [("median", 50, MEDIAN_GOAL_MS), ("p99", 99, P99_GOAL_MS)] {
            let (direct, proxied) = (quantile(&direct, percent)?, quantile(&proxied, percent)?);
            let added = proxied - direct;
            show(format_args!(
                "  {name:<8} directly {direct:.3} ms, through the sidecar {proxied:.3} ms: {added:.3} ms added \
                 (goal: {goal} ms)"
            ));
        }
    }
    Ok(())
}

/// A connection that is kept.
pub(crate) struct Scraper(BufReader<TcpStream>);

impl Scraper {
    pub(crate) fn new(address: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::with_capacity(1 << 16, stream)))
    }

    /// Sends a request and reads the whole answer; how long that took.
    pub(crate) fn scrape(&mut self, request: &str) -> anyhow::Result<Duration> {
        let began = Instant::now();
        self.0.get_mut().write_all(request.as_bytes())?;
        let (mut line, mut length) = (String::new(), 0);
        self.0.read_line(&mut line)?;
        ensure!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            self.0.read_line(&mut line)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(began.elapsed())
    }
}

/// The two scrape alternately, so that whatever else the machine does disturbs both alike.
fn take_turns(mut scrapers: [(Scraper, String); 2]) -> anyhow::Result<[Vec<Duration>; 2]> {
    let mut took = [Vec::with_capacity(SCRAPES), Vec::with_capacity(SCRAPES)];
    for scrape in 0..FIRST_SCRAPES + SCRAPES {
        for ((scraper, request), took) in scrapers.iter_mut().zip(&mut took) {
            let time = scraper.scrape(request)?;
            if scrape >= FIRST_SCRAPES {
                took.push(time);
            }
            #[expect(clippy::disallowed_methods, reason = "a thread of its own that has nothing else to do")]
            std::thread::sleep(PAUSE);
        }
    }
    Ok(took)
}

/// A quantile of sorted times, in milliseconds.
fn quantile(sorted: &[Duration], percent: usize) -> anyhow::Result<f64> {
    let place = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    Ok(sorted.get(place).context("no scrapes")?.as_secs_f64() * 1e3)
}
