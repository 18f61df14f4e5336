//! `narthex-sidecar`: see the library for what it does.

use std::{io::Write as _, process::ExitCode, thread::available_parallelism};

use clap::Parser as _;
use narthex_runtime::{http_client::install_tls_provider, listen::Passed, telemetry};
use narthex_sidecar::{
    app,
    args::{Cli, Command},
    render_command,
    succession::SOCKETS,
};

/// For how many CPUs there is a thread that serves scrapes. A Prometheus that keeps all of them busy keeps a tenth of
/// them busy here, and of several threads those that have nothing to do cost more than they help: each scrape would wake
/// them a dozen times.
const CPUS_PER_THREAD: usize = 4;

fn main() -> ExitCode {
    install_tls_provider();
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // When standard error is closed there is nobody to tell.
            drop(writeln!(std::io::stderr(), "narthex-sidecar: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Some(Command::Render(args)) => render_command::run(&args),
        None => {
            telemetry::init(&cli.run.log_level, cli.run.log_format.into())?;
            let passed = Passed::from_env(&SOCKETS)?;
            let threads = (available_parallelism().map_or(1, usize::from) / CPUS_PER_THREAD).max(1);
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
            runtime.block_on(app::run(cli.run, passed))
        }
    }
}
