//! What one scrape costs the sidecar when this program scrapes instead of a Prometheus: fit for comparing two builds of it
//! on a machine that others use, too.

use std::time::Duration;

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use narthex_e2e::{
    process::{Workdir, free_ports},
    show,
};

use crate::{
    Args,
    latency::Scraper,
    rig::{Loadgen, Sidecar, config},
    usage::{context_switches, on_cpu},
};

/// As many series as in the scenarios with many targets.
const SERIES: u64 = 5_000;
const TARGETS: usize = 20;
const SCRAPES: usize = 2_000;
/// The first scrapes open connections and count metrics, and are not measured.
const FIRST_SCRAPES: usize = 200;
/// Between two scrapes, so that both sides are idle when one begins, as they mostly are.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) async fn measure(args: &Args) -> anyhow::Result<()> {
    show(format_args!("\n{SCRAPES} scrapes of {SERIES} series, one after the other"));
    for gzip in [false, true] {
        let dir = Workdir::new()?;
        let loadgen = Loadgen::start(dir.path(), TARGETS, SERIES, gzip).await?;
        let config = config(&loadgen.addresses, "10s");
        let nobody = format!("127.0.0.1:{}", free_ports(1)?);
        let sidecar = Sidecar::start(dir.path(), &config, &nobody, &args.sidecar_arg).await?;
        sidecar.assign(&loadgen.addresses, "10s").await?;

        let encoding = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
        let credentials = BASE64_STANDARD.encode(sidecar.credentials()?);
        let request = |address: &String| {
            format!(
                "GET http://{address}/metrics HTTP/1.1\r\nHost: {address}\r\n\
                 Proxy-Authorization: Basic {credentials}\r\n{encoding}\r\n"
            )
        };
        let requests: Vec<String> = loadgen.addresses.iter().map(request).collect();
        let (proxy, id) = (sidecar.proxy.clone(), sidecar.process.id());
        let (cpu, switches) = tokio::task::spawn_blocking(move || scrape(&proxy, &requests, id)).await??;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
        let (scrapes, switches) = (SCRAPES as f64, switches as f64);
        show(format_args!(
            "  {}  {:.3} ms on a CPU, {:.1} context switches for each",
            if gzip { "gzip" } else { "text" },
            cpu.as_secs_f64() * 1e3 / scrapes,
            switches / scrapes
        ));
    }
    Ok(())
}

/// Scrapes; the time that it took the process on a CPU, and its context switches.
fn scrape(proxy: &str, requests: &[String], process: u32) -> anyhow::Result<(Duration, u64)> {
    let mut scraper = Scraper::new(proxy)?;
    let mut requests = requests.iter().cycle();
    let mut scrape = |scrapes: usize| -> anyhow::Result<()> {
        for _ in 0..scrapes {
            scraper.scrape(requests.next().context("a target")?)?;
            #[expect(clippy::disallowed_methods, reason = "a thread of its own that has nothing else to do")]
            std::thread::sleep(PAUSE);
        }
        Ok(())
    };
    scrape(FIRST_SCRAPES)?;
    let before = (on_cpu(process)?, context_switches(process)?);
    scrape(SCRAPES)?;
    Ok((on_cpu(process)?.saturating_sub(before.0), context_switches(process)?.saturating_sub(before.1)))
}
