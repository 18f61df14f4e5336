//! How fast samples are counted, beside counting mere lines: every scraped byte passes here. Prints a table.

#![expect(clippy::unwrap_used, reason = "a benchmark of input that is known to be good")]
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::{
    fmt::Write as _,
    hint::black_box,
    time::{Duration, Instant},
};

use narthex_common::{
    exposition::{Format, KeptSamples, SampleCounter},
    labels::{Labels, METRIC_NAME},
    relabel::{Action, RelabelConfig},
    semantics::{NameValidation, PrometheusVersion},
};

const SAMPLES: usize = 10_000;
/// Samples of one metric name.
const OF_ONE_NAME: usize = 20;
/// As large a piece as a proxy reads at once.
const PIECE: usize = 16 << 10;
/// How often something is measured; the fastest counts, as others on the machine can only slow it down.
const ROUNDS: u32 = 200;

/// Samples as a service mesh exposes them.
fn text(end: &str) -> Vec<u8> {
    let mut body = String::new();
    for i in 0..SAMPLES {
        if i % OF_ONE_NAME == 0 {
            writeln!(body, "# HELP request_seconds_{i} How long it took.\n# TYPE request_seconds_{i} gauge").unwrap();
        }
        let name = i / OF_ONE_NAME * OF_ONE_NAME;
        let labels = format!("method=\"GET\",path=\"/api/v1/things/{i}\",code=\"200\",le=\"0.25\"");
        writeln!(body, "request_seconds_{name}{{{labels}}} {i}.5").unwrap();
    }
    body.push_str(end);
    body.into_bytes()
}

/// A field of bytes, as protobuf writes it.
fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend(varint(value.len()));
    field.extend(value);
    field
}

fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = vec![];
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// The same samples as protobuf.
fn protobuf() -> Vec<u8> {
    let label = |name: &str, value: &str| field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat());
    let mut body = vec![];
    for first in (0..SAMPLES).step_by(OF_ONE_NAME) {
        let name = format!("request_seconds_{first}");
        let mut family = [field(1, name.as_bytes()), field(2, b"How long it took."), vec![3 << 3, 1]].concat();
        for i in first..first + OF_ONE_NAME {
            let labels = [
                label("method", "GET"),
                label("path", &format!("/api/v1/things/{i}")),
                label("code", "200"),
                label("le", "0.25"),
            ];
            let gauge = field(2, &[[1 << 3 | 1].as_slice(), &(i as f64).to_le_bytes()].concat());
            family.extend(field(4, &[labels.concat(), gauge].concat()));
        }
        body.extend(varint(family.len()));
        body.extend(family);
    }
    body
}

type Kept = Option<(KeptSamples, Labels)>;

fn dropping(label: &str, regex: &str) -> Kept {
    let rule = RelabelConfig {
        source_labels: vec![label.into()],
        regex: Some(regex.into()),
        action: Some(Action::Drop),
        ..RelabelConfig::default()
    };
    let kept = KeptSamples::from_rules(&[rule], false, NameValidation::Utf8, PrometheusVersion::V3_5).unwrap();
    let target = [("job", "mesh"), ("instance", "10.0.0.1:9100"), ("namespace", "prod")];
    kept.map(|kept| (kept, target.into_iter().collect()))
}

fn fastest(mut run: impl FnMut()) -> Duration {
    let took = (0..ROUNDS).map(|_| {
        let began = Instant::now();
        run();
        began.elapsed()
    });
    took.min().unwrap()
}

fn show(what: &str, bytes: usize, took: Duration, lines_mb_s: f64) -> f64 {
    let mb_s = bytes as f64 / took.as_secs_f64() / 1e6;
    let ratio = if lines_mb_s > 0.0 { mb_s / lines_mb_s } else { 1.0 };
    let of_one_sample = took.as_secs_f64() * 1e9 / SAMPLES as f64;
    println!("{what:<44} {mb_s:>9.0} MB/s {of_one_sample:>9.1} ns a sample {ratio:>8.3} of lines");
    mb_s
}

fn main() {
    let body = text("");
    let lines = fastest(|| {
        black_box(memchr::memchr_iter(b'\n', black_box(&body)).count());
    });
    let lines_mb_s = show("lines, memchr", body.len(), lines, 0.0);
    for (format, name, body) in [
        (Format::Text, "text", text("")),
        (Format::OpenMetrics, "OpenMetrics", text("# EOF\n")),
        (Format::Protobuf, "protobuf", protobuf()),
    ] {
        for (how, kept) in [
            ("counted", None),
            ("metric relabeling by name", dropping(METRIC_NAME, "request_seconds_.*0")),
            ("metric relabeling by label", dropping("path", "/api/.*/0")),
        ] {
            let took = fastest(|| {
                let mut counter = SampleCounter::new(format, kept.clone());
                black_box(&body).chunks(PIECE).for_each(|piece| counter.feed(piece));
                assert_eq!(counter.finish().exposed.0, SAMPLES as u64);
            });
            show(&format!("{name}, {how}"), body.len(), took, lines_mb_s);
        }
    }
}
