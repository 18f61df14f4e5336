//! The dry commands: `check config` and `check targets`.

use std::process::ExitCode;

use crate::args::CheckCommand;

/// Runs a dry command: prints what it found, and says how it went.
pub async fn run(command: CheckCommand) -> ExitCode {
    let _ = command;
    todo!()
}
