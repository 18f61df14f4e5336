//! The flags of `narthex-loadgen`.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::{Parser, ValueEnum};
use narthex_e2e::loadgen::{Config, Failure, TargetSettings};
use narthex_runtime::telemetry::LogFormat;
use serde_json::Value;

/// Serves targets to scrape, each with exactly as many series as it is told, and changes or breaks them on command.
///
/// Every target answers on every path. The series of a target are the same after every restart, their values change
/// once a second. Text format or OpenMetrics, gzip or not, follow from the request's headers.
#[derive(Debug, Parser)]
#[command(name = "narthex-loadgen", version, after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// Where the first target listens; the others take the ports after it (any free ones when it is 0).
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9400")]
    listen: String,
    /// How many targets there are. Unless given, as many as --target-config lists, or one; 0 only writes the certificates
    /// of --tls-self-signed.
    #[arg(long, value_name = "N")]
    targets: Option<usize>,
    /// Where the control API listens: GET /targets, GET and PATCH /targets/{i}. Off unless given.
    #[arg(long, value_name = "HOST:PORT")]
    control: Option<String>,

    /// Series of each target.
    #[arg(long, value_name = "N", default_value_t = 10_045, help_heading = "Every target")]
    series: u64,
    /// Metric names the series are spread over; counters and gauges take turns.
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Every target")]
    metrics: u64,
    /// Labels of each series, besides the one that tells it from the others of its metric name.
    #[arg(long, value_name = "N", default_value_t = 4, help_heading = "Every target")]
    labels: u32,
    /// Series that each target gains in a minute.
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Every target")]
    growth_per_minute: u64,
    /// Milliseconds before an answer.
    #[arg(long, value_name = "MS", default_value_t = 0, help_heading = "Every target")]
    delay_ms: u64,
    /// What goes wrong: none, status:CODE, refuse (the port is closed), breakOff (in the middle of the body), endless
    /// (a body without end), garbage (a body that is no exposition).
    #[arg(long, value_name = "FAILURE", default_value = "none", help_heading = "Every target")]
    failure: Failure,
    /// Never compress, even when asked to. By default answers are gzipped for those who accept that.
    #[arg(long, help_heading = "Every target")]
    no_gzip: bool,
    /// Values never change: a body is made once, and serving it costs next to nothing. For benchmarks.
    #[arg(long, help_heading = "Every target")]
    fixed_values: bool,
    /// On paths other than /metrics, add a gauge `loadgen_request_info` with path and parameters as labels. Off unless
    /// given.
    #[arg(long, help_heading = "Every target")]
    reflect: bool,

    /// A JSON list with an object per target, in their order, that changes what the flags say for it: the fields of
    /// PATCH, and `tls` (cert, key, clientCa: paths).
    #[arg(long, value_name = "FILE.json")]
    target_config: Option<PathBuf>,
    /// Writes ca.pem, server.pem, server.key (for 127.0.0.1, ::1 and localhost), client.pem and client.key into this
    /// directory, unless they are there.
    #[arg(long, value_name = "DIR")]
    pub(crate) tls_self_signed: Option<PathBuf>,
    /// Written once everything listens: the targets' addresses, one a line. Nothing is written unless given.
    #[arg(long, value_name = "PATH")]
    pub(crate) ready_file: Option<PathBuf>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as narthex_e2e=debug.
    #[arg(long, value_name = "LEVEL", default_value = "info", help_heading = "Log")]
    pub(crate) log_level: String,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t, help_heading = "Log")]
    pub(crate) log_format: Format,
}

const EXAMPLES: &str = "\
Examples:
  Six targets of 10,045 series each on 127.0.0.1:9400 to 9405:
    narthex-loadgen --targets 6 --control 127.0.0.1:9399
  Let the first grow, break the second, heal it:
    curl -X PATCH 127.0.0.1:9399/targets/0 -d '{\"growthPerMinute\": 500}'
    curl -X PATCH 127.0.0.1:9399/targets/1 -d '{\"failure\": \"status:500\"}'
    curl -X PATCH 127.0.0.1:9399/targets/1 -d '{\"failure\": \"none\"}'
  Fields of PATCH and of --target-config (null sets a field back to its default):
    series, metrics, labels, growthPerMinute, delayMs, failure, gzip, fixedValues,
    reflect, body (served as it is, instead of series), contentType (of that body),
    basicAuth {username, password}, bearer
  One target with TLS that wants a client certificate:
    echo '[{\"tls\": {\"cert\": \"t/server.pem\", \"key\": \"t/server.key\", \"clientCa\": \"t/ca.pem\"}}]' > one.json
    narthex-loadgen --tls-self-signed t --target-config one.json";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum Format {
    /// `key=value` lines.
    #[default]
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl From<Format> for LogFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Logfmt => Self::Logfmt,
            Format::Json => Self::Json,
        }
    }
}

impl Args {
    /// What is to be served.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        ensure!(self.metrics > 0, "--metrics must be at least 1");
        let every = TargetSettings {
            series: self.series,
            metrics: self.metrics,
            labels: self.labels,
            growth_per_minute: self.growth_per_minute,
            delay_ms: self.delay_ms,
            failure: self.failure,
            gzip: !self.no_gzip,
            fixed_values: self.fixed_values,
            reflect: self.reflect,
            ..TargetSettings::default()
        };
        let changes = self.target_changes()?;
        let count = self.targets.unwrap_or(changes.len().max(1));
        ensure!(changes.len() <= count, "--target-config lists {} targets, --targets is {count}", changes.len());
        let mut targets = vec![every; count];
        for (i, (target, change)) in targets.iter_mut().zip(&changes).enumerate() {
            *target = target.changed(change).with_context(|| format!("--target-config: target {i}"))?;
        }
        Ok(Config { listen: self.listen.clone(), control: self.control.clone(), targets })
    }

    fn target_changes(&self) -> anyhow::Result<Vec<Value>> {
        let Some(path) = &self.target_config else { return Ok(Vec::new()) };
        let text = fs::read_to_string(path).with_context(|| format!("read --target-config {}", path.display()))?;
        match serde_json::from_str(&text).with_context(|| format!("parse --target-config {}", path.display()))? {
            Value::Array(changes) => Ok(changes),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                bail!("--target-config {}: not a list", path.display())
            }
        }
    }
}
