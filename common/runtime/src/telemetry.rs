//! Logs of a binary: to standard error, so that standard output stays free for what a command prints.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `key=value` lines for people.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error: `level` is a filter such as `info` or `narthex_sidecar=debug`.
///
/// # Errors
/// When the filter is malformed, or logging was started before.
pub fn init(level: &str, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(level).with_context(|| format!("read log level {level:?}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Logfmt => lines.with_ansi(io::stderr().is_terminal()).compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("start logging: {e}"))
}
