//! `narthex-coordinator`: see the library for what it does.

use std::process::ExitCode;

use clap::Parser as _;
use narthex_coordinator::{app, args::Cli};

#[tokio::main]
async fn main() -> ExitCode {
    app::main(Cli::parse()).await
}
