//! Logs of a binary: to standard error, so that standard output stays free for what a command prints.

use std::io::{self, IsTerminal as _};

use anyhow::{Context as _, bail};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

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
    let filter = filter(level)?;
    // A line that cannot be written, because the disk of the log is full, is lost; to complain of that on the same
    // standard error would be a panic of whoever logs.
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).log_internal_errors(false);
    let started = match format {
        LogFormat::Logfmt => lines.with_ansi(io::stderr().is_terminal()).compact().try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(|e| anyhow::anyhow!("start logging: {e}"))
}

/// A bare word that is no level, such as `warning`, would be taken for the name of a module, and all others be silent.
fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
    if let Some(word) = level.split(',').find(|word| !word.contains('=') && !is_level(word)) {
        bail!("{word:?} is no log level: expected error, warn, info, debug, trace, off or MODULE=LEVEL");
    }
    EnvFilter::try_new(level).with_context(|| format!("read log level {level:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_is_refused_instead_of_silencing_all() {
        for good in ["info", "WARN", "off", "info,hyper_util=debug", "narthex_sidecar=debug"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for bad in ["warning", "verbose", "info,narthex_sidecar", "info=loud"] {
            assert!(filter(bad).is_err(), "{bad}");
        }
        let refused = filter("warning").unwrap_err().to_string();
        assert!(refused.starts_with("\"warning\" is no log level: expected error, warn"), "{refused}");
    }
}
