//! What a sidecar costs: the same scrapes by the same Prometheus directly and through a sidecar, each a process of its
//! own, and the CPU time, the latency and the memory of both. `CONTRIBUTING.md` has the command.
//!
//! CPU seconds come from `/proc`, so that others on the same machine disturb them little.

mod latency;
mod memory;
mod rig;
mod scrape;
mod usage;
mod work;

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, ValueEnum};
use narthex_e2e::show;

use work::{Encoding, Work};

/// Measures what a sidecar costs beside its Prometheus.
#[derive(Debug, Parser)]
#[command(name = "overhead")]
struct Args {
    /// The Prometheus to measure beside.
    #[arg(long, value_name = "PATH", default_value = "prometheus")]
    prometheus: PathBuf,
    /// How long each scenario is measured, in seconds, after as many seconds' warming up as --warm-up says.
    #[arg(long, value_name = "S", default_value_t = 40)]
    seconds: u64,
    /// How long each scenario runs before it is measured, in seconds.
    #[arg(long, value_name = "S", default_value_t = 20)]
    warm_up: u64,
    /// What to measure; everything unless given. May be repeated.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Scrape every so many seconds instead: for machines on which a Prometheus cannot scrape that much.
    #[arg(long, value_name = "S")]
    interval: Option<u64>,
    /// A further flag for the sidecar; may be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    sidecar_arg: Vec<String>,
    /// Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 200 targets of 5,000 series every 2 seconds, text.
    ManyText,
    /// The same with gzip.
    ManyGzip,
    /// One target of 1,000,000 series every 10 seconds, text.
    HugeText,
    /// The same with gzip.
    HugeGzip,
    /// What a scrape of 5,000 series costs the sidecar, without a Prometheus.
    Scrape,
    /// What the sidecar adds to the time a small scrape takes.
    Latency,
    /// The sidecar's memory, idle and for each scrape that is under way.
    Memory,
}

impl Part {
    /// The work that is measured in CPU seconds; none for the other parts.
    fn work(self) -> Option<Work> {
        let many = |encoding| Work { targets: 200, series: 5_000, interval_s: 2, encoding };
        let huge = |encoding| Work { targets: 1, series: 1_000_000, interval_s: 10, encoding };
        match self {
            Self::ManyText => Some(many(Encoding::Text)),
            Self::ManyGzip => Some(many(Encoding::Gzip)),
            Self::HugeText => Some(huge(Encoding::Text)),
            Self::HugeGzip => Some(huge(Encoding::Gzip)),
            Self::Scrape | Self::Latency | Self::Memory => None,
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let parts = if args.only.is_empty() { Part::value_variants() } else { &args.only };
    for part in parts {
        match (part.work(), part) {
            (Some(work), _) => work::measure(work, &args).await.with_context(|| format!("measure {part:?}"))?,
            (None, Part::Scrape) => scrape::measure(&args).await.context("measure a scrape")?,
            (None, Part::Latency) => latency::measure(&args).await.context("measure latency")?,
            (None, _) => memory::measure(&args).await.context("measure memory")?,
        }
    }
    show("");
    Ok(())
}
