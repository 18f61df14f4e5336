//! CPU time: Prometheus scraping directly, then the same through a sidecar.

use std::{fmt, time::Duration};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    process::{Workdir, free_ports},
    show,
};

use crate::{
    Args,
    rig::{Loadgen, Prometheus, Sidecar, config},
    usage::{cpu_seconds, peak_kib, resident_kib},
};

/// What Prometheus has to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) targets: usize,
    pub(crate) series: u64,
    pub(crate) interval_s: u64,
    pub(crate) encoding: Encoding,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Text,
    Gzip,
}

impl Encoding {
    /// The most CPU time the sidecar may take, in percent of Prometheus'.
    const fn goal_percent(self) -> f64 {
        match self {
            Self::Text => 5.0,
            Self::Gzip => 10.0,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let encoding = match self.encoding {
            Encoding::Text => "text",
            Encoding::Gzip => "gzip",
        };
        write!(f, "{} targets x {} series every {} s, {encoding}", self.targets, self.series, self.interval_s)
    }
}

/// What was used so far, or over the time that is measured.
struct Used {
    prometheus_cpu_s: f64,
    sidecar_cpu_s: f64,
    /// What Prometheus says that it has stored.
    samples: f64,
}

impl Used {
    /// CPU time for a million samples, in seconds.
    fn a_million(&self, cpu_s: f64) -> f64 {
        cpu_s / self.samples * 1e6
    }
}

pub(crate) async fn measure(work: Work, args: &Args) -> anyhow::Result<()> {
    let work = Work { interval_s: args.interval.unwrap_or(work.interval_s), ..work };
    let dir = Workdir::new()?;
    let loadgen = Loadgen::start(dir.path(), work.targets, work.series, work.encoding == Encoding::Gzip).await?;
    let interval = format!("{}s", work.interval_s);
    let config = config(&loadgen.addresses, &interval);
    let address = format!("127.0.0.1:{}", free_ports(1)?);

    let file = dir.write("direct.yml", &config)?;
    let prometheus = Prometheus::start(&args.prometheus, dir.path(), &file, &address).await?;
    let direct = run(&work, args, &prometheus, None).await.context("directly")?;
    drop(prometheus);

    let sidecar = Sidecar::start(dir.path(), &config, &address, &args.sidecar_arg).await?;
    sidecar.assign(&loadgen.addresses, &interval).await?;
    let prometheus = Prometheus::start(&args.prometheus, dir.path(), &sidecar.generated_config, &address).await?;
    let through = run(&work, args, &prometheus, Some(&sidecar)).await.context("through the sidecar")?;

    show(format_args!("\n{work}: CPU seconds in {} s, and for a million samples", args.seconds));
    let line = |who: &str, used: &Used, cpu_s: f64| {
        show(format_args!("  {who:<33} {cpu_s:>7.2} {:>7.3}", used.a_million(cpu_s)));
    };
    line("Prometheus, directly", &direct, direct.prometheus_cpu_s);
    line("Prometheus, through the sidecar", &through, through.prometheus_cpu_s);
    line("sidecar", &through, through.sidecar_cpu_s);
    let ratio = through.a_million(through.sidecar_cpu_s) / direct.a_million(direct.prometheus_cpu_s);
    let goal = work.encoding.goal_percent();
    show(format_args!("  sidecar / Prometheus, directly    {:>6.1} % (goal: {goal} %)", 100.0 * ratio));
    let id = sidecar.process.id();
    show(format_args!("  the sidecar's memory              {} KiB, at most {}", resident_kib(id)?, peak_kib(id)?));
    Ok(())
}

/// Lets Prometheus scrape, and says what that used. Fails when it did not scrape nearly everything.
async fn run(work: &Work, args: &Args, prometheus: &Prometheus, sidecar: Option<&Sidecar>) -> anyhow::Result<Used> {
    tokio::time::sleep(Duration::from_secs(args.warm_up)).await;
    let now = async || -> anyhow::Result<Used> {
        Ok(Used {
            prometheus_cpu_s: cpu_seconds(prometheus.process.id())?,
            sidecar_cpu_s: sidecar.map_or(Ok(0.0), |sidecar| cpu_seconds(sidecar.process.id()))?,
            samples: prometheus.appended().await?,
        })
    };
    let before = now().await?;
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    let after = now().await?;
    let samples = after.samples - before.samples;

    #[expect(clippy::cast_precision_loss, reason = "a ratio for display")]
    let expected = (work.targets as u64 * work.series * (args.seconds / work.interval_s)) as f64;
    ensure!(
        samples >= 0.9 * expected,
        "only {samples} of {expected} samples were scraped: the machine is too slow; try a longer --interval"
    );
    Ok(Used {
        prometheus_cpu_s: after.prometheus_cpu_s - before.prometheus_cpu_s,
        sidecar_cpu_s: after.sidecar_cpu_s - before.sidecar_cpu_s,
        samples,
    })
}
