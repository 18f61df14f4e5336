//! The dry commands, which scrape nothing and change nothing: `check config` and `check targets`.

mod config;
mod promtool;
mod table;
pub mod targets;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::args::CheckCommand;

/// What a dry command has to say: to be printed, and whether it is good.
struct Verdict {
    output: String,
    complaints: Vec<String>,
    success: bool,
}

impl Verdict {
    fn refused(complaints: Vec<String>) -> Self {
        Self { output: String::new(), complaints, success: false }
    }
}

/// Runs a dry command: its result goes to standard output, what is wrong to standard error. The exit code is 1 when the
/// config cannot be used.
pub async fn run(command: CheckCommand) -> ExitCode {
    let verdict = match command {
        CheckCommand::Config { file, prometheus_version } => config::check(&file, prometheus_version),
        CheckCommand::Targets(args) => targets::check(&args).await,
    };
    for complaint in &verdict.complaints {
        #[expect(clippy::print_stderr, reason = "a dry command talks to whoever called it")]
        {
            eprintln!("narthex-coordinator: {complaint}");
        }
    }
    match print(&verdict.output) {
        Ok(()) if verdict.success => ExitCode::SUCCESS,
        Ok(()) | Err(_) => ExitCode::FAILURE,
    }
}

/// Writes to standard output. It fails when nobody reads to the end, which `| head` does.
fn print(output: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(output.as_bytes())?;
    stdout.flush()
}
