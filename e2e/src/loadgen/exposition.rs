//! The text that a target answers with.

use std::io::Write as _;

use url::form_urlencoded;

use super::TargetSettings;

/// The formats there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The one that an `Accept` header prefers.
    pub(super) fn preferred(accept: &str) -> Self {
        let mut best = (0.0, Self::Text);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next() {
                Some("application/openmetrics-text") => Self::OpenMetrics,
                Some("text/plain") => Self::Text,
                Some(_) | None => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            // What comes first wins among equals.
            if weight > best.0 {
                best = (weight, format);
            }
        }
        best.1
    }

    /// Its `Content-Type`.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// What ends a body.
    pub(super) fn end(self) -> &'static str {
        match self {
            Self::Text => "",
            Self::OpenMetrics => "# EOF\n",
        }
    }
}

/// All that does not change from second to second: each line up to its value.
pub(super) struct Lines {
    text: Vec<u8>,
    /// Where each series' value belongs, and how it moves.
    values: Vec<(usize, Movement)>,
}

#[derive(Clone, Copy)]
enum Movement {
    Counter { a_second: u64 },
    Gauge { seed: u64 },
}

impl Lines {
    /// The lines of `count` series of the target with this index. With a larger count come more series; those of the
    /// smaller one stay.
    pub(super) fn new(target: usize, count: u64, settings: &TargetSettings, format: Format) -> Self {
        let mut lines = Self { text: Vec::new(), values: Vec::new() };
        for metric in 0..settings.metrics.min(count) {
            let is_counter = metric.is_multiple_of(2);
            let family = format!("loadgen_metric_{metric:04}");
            let name = if is_counter { format!("{family}_total") } else { family.clone() };
            let described = if format == Format::OpenMetrics { &family } else { &name };
            let kind = if is_counter { "counter" } else { "gauge" };
            lines.push(format_args!("# HELP {described} Made up.\n# TYPE {described} {kind}\n"));
            let of_this_name = (count - metric).div_ceil(settings.metrics);
            for series in 0..of_this_name {
                let seed = mix(mix(mix(target as u64) ^ metric) ^ series);
                lines.push(format_args!("{name}{{series=\"{series}\""));
                for label in 0..settings.labels {
                    // Like real labels, few values each.
                    let value = mix(seed ^ u64::from(label)) % 50;
                    lines.push(format_args!(",label_{label:02}=\"value-{value:02}\""));
                }
                lines.push(format_args!("}} "));
                let movement =
                    if is_counter { Movement::Counter { a_second: 1 + seed % 10 } } else { Movement::Gauge { seed } };
                lines.values.push((lines.text.len(), movement));
                lines.push(format_args!("\n"));
            }
        }
        lines
    }

    fn push(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into memory does not fail.
        drop(self.text.write_fmt(text));
    }

    /// The whole text of a second since the epoch.
    pub(super) fn at(&self, second: u64) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.text.len() + self.values.len() * 12);
        let mut written = 0;
        for (place, movement) in &self.values {
            text.extend_from_slice(&self.text[written..*place]);
            written = *place;
            let value = match movement {
                Movement::Counter { a_second } => second.saturating_mul(*a_second),
                Movement::Gauge { seed } => mix(seed ^ second) % 1000,
            };
            drop(write!(text, "{value}"));
        }
        text.extend_from_slice(&self.text[written..]);
        text
    }
}

/// SplitMix64: spreads numbers that lie close together.
fn mix(number: u64) -> u64 {
    let z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The gauge that shows a request's path and parameters.
pub(super) fn request_info(path: &str, query: &str) -> String {
    let mut labels = format!("path=\"{}\"", escaped(path));
    let mut parameters: Vec<(String, String)> = Vec::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).into_owned() {
        match parameters.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.extend([",", value.as_str()]),
            None => parameters.push((name, value)),
        }
    }
    for (name, value) in parameters {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        labels.extend([",param_", name.as_str(), "=\"", escaped(&value).as_str(), "\""]);
    }
    format!("# TYPE loadgen_request_info gauge\nloadgen_request_info{{{labels}}} 1\n")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn series(lines: &Lines) -> BTreeSet<String> {
        let text = String::from_utf8(lines.at(7)).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    }

    #[test]
    fn there_are_exactly_as_many_series_as_asked_for_and_growth_keeps_the_old_ones() {
        let settings = TargetSettings::default();
        let mut before = BTreeSet::new();
        for count in [0, 1, 2, 99, 100, 101, 250, 10_045] {
            let now = series(&Lines::new(3, count, &settings, Format::Text));
            assert_eq!(now.len() as u64, count);
            assert!(now.is_superset(&before));
            before = now;
        }
        assert_ne!(before, series(&Lines::new(4, 10_045, &settings, Format::Text)));
    }

    #[test]
    fn counters_only_grow() {
        let lines = Lines::new(0, 1, &TargetSettings { labels: 1, ..TargetSettings::default() }, Format::OpenMetrics);
        let value = |second| {
            let text = String::from_utf8(lines.at(second)).unwrap();
            let sample = text.lines().last().unwrap().rsplit_once(' ').unwrap();
            assert!(sample.0.starts_with("loadgen_metric_0000_total{series=\"0\",label_00=\"value-"), "{text}");
            sample.1.parse::<u64>().unwrap()
        };
        assert!(value(100) < value(101));
        let text = String::from_utf8(lines.at(1)).unwrap();
        assert!(
            text.starts_with("# HELP loadgen_metric_0000 Made up.\n# TYPE loadgen_metric_0000 counter\n"),
            "{text}"
        );
    }

    #[test]
    fn the_format_is_the_one_preferred() {
        let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                               q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::preferred(prometheus_2_42), Format::OpenMetrics);
        assert_eq!(Format::preferred("text/plain;version=0.0.4,application/openmetrics-text;q=0.5"), Format::Text);
        assert_eq!(Format::preferred("*/*"), Format::Text);
        assert_eq!(Format::preferred(""), Format::Text);
    }

    #[test]
    fn a_request_is_reflected_in_labels() {
        let info = request_info("/probe", "module=http_2xx&target=https%3A%2F%2Fa%2F%22&target=b");
        let expected = "loadgen_request_info{path=\"/probe\",param_module=\"http_2xx\",\
                        param_target=\"https://a/\\\",b\"} 1\n";
        assert!(info.ends_with(expected), "{info}");
    }
}
