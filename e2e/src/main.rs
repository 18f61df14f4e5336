//! `narthex-loadgen`: targets to scrape, with everything about them under control.

mod args;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use narthex_e2e::loadgen::{Loadgen, certificates};
use narthex_runtime::{files::write_atomic, shutdown::Shutdown, telemetry};

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            tracing::error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    telemetry::init(&args.log_level, args.log_format.into())?;
    if let Some(directory) = &args.tls_self_signed {
        certificates::write_unless_there(directory)?;
    }
    let config = args.config()?;
    if config.targets.is_empty() {
        return Ok(());
    }
    let shutdown = Shutdown::on_signals().context("listen to signals")?;
    let loadgen = Loadgen::start(config).await?;
    if let Some(path) = &args.ready_file {
        let addresses: String = loadgen.addresses().iter().map(|address| format!("{address}\n")).collect();
        write_atomic(path, addresses.as_bytes(), None).context("write the ready file")?;
    }
    shutdown.wait().await;
    Ok(())
}
