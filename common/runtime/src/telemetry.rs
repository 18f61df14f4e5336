//! Logs of a binary.

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
    let _ = (level, format);
    todo!()
}
