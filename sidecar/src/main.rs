//! `narthex-sidecar`: see the library for what it does.

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;
use narthex_runtime::{http_client::install_tls_provider, listen::Passed, telemetry};
use narthex_sidecar::{
    app,
    args::{Cli, Command},
    render_command,
    succession::SOCKETS,
};

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
            tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(app::run(cli.run, passed))
        }
    }
}
