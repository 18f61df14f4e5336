//! The few samples that matter of a Prometheus' own `/metrics`, picked out while it streams.

use narthex_common::{load::Series, time::Timestamp};
use prometheus_parse::{Scrape, Value};

use super::OwnMetrics;

const HEAD_SERIES: &str = "prometheus_tsdb_head_series";
const AGENT_SERIES: &str = "prometheus_agent_active_series";
const CONFIG_IS_GOOD: &str = "prometheus_config_last_reload_successful";
const CONFIG_LOADED: &str = "prometheus_config_last_reload_success_timestamp_seconds";

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
        OwnMetrics {
            head_series: value(HEAD_SERIES).or_else(|| value(AGENT_SERIES)).and_then(series),
            config_loaded: value(CONFIG_LOADED).and_then(seconds),
            config_is_good: value(CONFIG_IS_GOOD).map(|good| good != 0.0),
        }
    }

    fn end_line(&mut self) {
        let matters = [HEAD_SERIES, AGENT_SERIES, CONFIG_LOADED, CONFIG_IS_GOOD].iter().any(|name| {
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

fn series(count: f64) -> Option<Series> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count, checked to be one")]
    (0.0..1e15).contains(&count).then_some(Series(count as u64))
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
    fn a_config_that_was_never_loaded_has_no_time() {
        assert_eq!(read(&format!("{CONFIG_LOADED} 0\n"), 64), OwnMetrics::default());
    }
}
