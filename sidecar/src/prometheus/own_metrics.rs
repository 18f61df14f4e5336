//! The few samples that matter of a Prometheus' own `/metrics`, or a vmagent's, picked out while it streams.

use narthex_common::{load::Series, time::Timestamp};
use prometheus_parse::{Scrape, Value};

use super::{ConfigReads, OwnMetrics};

const HEAD_SERIES: &str = "prometheus_tsdb_head_series";
const AGENT_SERIES: &str = "prometheus_agent_active_series";
const CONFIG_IS_GOOD: &str = "prometheus_config_last_reload_successful";
const CONFIG_LOADED: &str = "prometheus_config_last_reload_success_timestamp_seconds";
/// In whole seconds, and up to one of them late.
const VMAGENT_CONFIG_LOADED: &str = "vm_promscrape_config_last_reload_success_timestamp_seconds";
const VMAGENT_CONFIG_IS_GOOD: &str = "vm_promscrape_config_last_reload_successful";
const VMAGENT_CONFIGS_TAKEN: &str = "vm_promscrape_config_reloads_total";
const VMAGENT_CONFIGS_REFUSED: &str = "vm_promscrape_config_reloads_errors_total";

const NAMES: [&str; 8] = [
    HEAD_SERIES,
    AGENT_SERIES,
    CONFIG_IS_GOOD,
    CONFIG_LOADED,
    VMAGENT_CONFIG_LOADED,
    VMAGENT_CONFIG_IS_GOOD,
    VMAGENT_CONFIGS_TAKEN,
    VMAGENT_CONFIGS_REFUSED,
];

/// No line that matters is longer; what is, is not kept.
const MAX_LINE: usize = 1024;

/// Reads a body piece by piece and keeps the lines that matter.
#[derive(Debug, Default)]
pub(super) struct OwnMetricsReader {
    line: Vec<u8>,
    kept: Vec<String>,
}

impl OwnMetricsReader {
    pub(super) fn take(&mut self, piece: &[u8]) {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + part.len() <= MAX_LINE {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    pub(super) fn finish(mut self) -> OwnMetrics {
        self.end_line();
        let lines = self.kept.into_iter().map(Ok);
        let samples = Scrape::parse(lines).map(|scrape| scrape.samples).unwrap_or_default();
        let value = |name: &str| samples.iter().find(|s| s.metric == name).and_then(|s| number(&s.value));
        let either = |one: &str, other: &str| value(one).or_else(|| value(other));
        let counts = value(VMAGENT_CONFIGS_TAKEN).zip(value(VMAGENT_CONFIGS_REFUSED));
        OwnMetrics {
            head_series: either(HEAD_SERIES, AGENT_SERIES).and_then(count).map(Series),
            config_loaded: either(CONFIG_LOADED, VMAGENT_CONFIG_LOADED).and_then(seconds),
            config_is_good: either(CONFIG_IS_GOOD, VMAGENT_CONFIG_IS_GOOD).map(|good| good != 0.0),
            config_reads: counts
                .and_then(|(taken, refused)| Some(ConfigReads { taken: count(taken)?, refused: count(refused)? })),
        }
    }

    fn end_line(&mut self) {
        let matters = NAMES.iter().any(|name| {
            let after = self.line.strip_prefix(name.as_bytes()).and_then(<[u8]>::first);
            matches!(after, Some(b' ' | b'{'))
        });
        if matters && let Ok(line) = str::from_utf8(&self.line) {
            self.kept.push(line.trim_end().to_owned());
        }
        self.line.clear();
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Counter(number) | Value::Gauge(number) | Value::Untyped(number) => Some(*number),
        Value::Histogram(_) | Value::Summary(_) => None,
    }
}

fn count(value: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, checked to be one")]
    (0.0..1e15).contains(&value).then_some(value as u64)
}

fn seconds(time: f64) -> Option<Timestamp> {
    #[expect(clippy::cast_possible_truncation, reason = "a time within some ten thousand years")]
    (1.0..1e12).contains(&time).then_some(Timestamp((time * 1000.0).ceil() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, piece: usize) -> OwnMetrics {
        let mut reader = OwnMetricsReader::default();
        body.as_bytes().chunks(piece).for_each(|piece| reader.take(piece));
        reader.finish()
    }

    #[test]
    fn head_series_and_the_last_load_are_found_however_the_body_is_cut() {
        let body = "# HELP prometheus_tsdb_head_series Total number of series in the head block.\n\
                    # TYPE prometheus_tsdb_head_series gauge\n\
                    prometheus_tsdb_head_series 1.234567e+06\n\
                    prometheus_tsdb_head_series_created_total 5\n\
                    prometheus_config_last_reload_successful 0\n\
                    prometheus_config_last_reload_success_timestamp_seconds 1.7952623456781e+09\n";
        let expected = OwnMetrics {
            head_series: Some(Series(1_234_567)),
            config_loaded: Some(Timestamp(1_795_262_345_679)),
            config_is_good: Some(false),
            config_reads: None,
        };
        for piece in [1, 7, body.len()] {
            assert_eq!(read(body, piece), expected);
        }
    }

    #[test]
    fn an_agent_has_active_series() {
        assert_eq!(read("prometheus_agent_active_series 12", 64).head_series, Some(Series(12)));
    }

    #[test]
    fn vmagent_tells_of_its_config_and_has_no_series() {
        let body = "vm_promscrape_config_changes_total{type=\"file_sd_configs\"} 5\n\
                    vm_promscrape_config_last_reload_success_timestamp_seconds 1795297775\n\
                    vm_promscrape_config_last_reload_successful 1\n\
                    vm_promscrape_config_reloads_errors_total 2\n\
                    vm_promscrape_config_reloads_total 3\n";
        let expected = OwnMetrics {
            head_series: None,
            config_loaded: Some(Timestamp(1_795_297_775_000)),
            config_is_good: Some(true),
            config_reads: Some(ConfigReads { taken: 3, refused: 2 }),
        };
        assert_eq!(read(body, 64), expected);
    }

    #[test]
    fn a_config_that_was_never_loaded_has_no_time() {
        assert_eq!(read(&format!("{CONFIG_LOADED} 0\n"), 64), OwnMetrics::default());
    }
}
