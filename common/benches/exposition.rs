//! How fast samples are counted, beside counting mere lines: every scraped byte passes here.

#![expect(clippy::unwrap_used, reason = "a benchmark of input that is known to be good")]

use std::{fmt::Write as _, hint::black_box, time::Duration};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narthex_common::{
    exposition::{Format, KeptSamples, SampleCounter},
    labels::{Labels, METRIC_NAME},
    relabel::{Action, RelabelConfig},
    semantics::{NameValidation, PrometheusVersion},
};

/// 10,000 samples as a service mesh exposes them.
fn body() -> String {
    let mut body = String::new();
    for i in 0..10_000 {
        if i % 20 == 0 {
            writeln!(body, "# HELP request_seconds_{i} How long it took.\n# TYPE request_seconds_{i} histogram")
                .unwrap();
        }
        writeln!(
            body,
            "request_seconds_{}_bucket{{method=\"GET\",path=\"/api/v1/things/{i}\",code=\"200\",le=\"0.25\"}} {i}.5",
            i / 20 * 20
        )
        .unwrap();
    }
    body
}

fn counting(criterion: &mut Criterion) {
    let body = body();
    let target: Labels = [("job", "mesh"), ("instance", "10.0.0.1:9100"), ("namespace", "prod")].into_iter().collect();
    let dropping = |label: &str, regex: &str| {
        let rule = RelabelConfig {
            source_labels: vec![label.into()],
            regex: Some(regex.into()),
            action: Some(Action::Drop),
            ..RelabelConfig::default()
        };
        let kept = KeptSamples::from_rules(&[rule], false, NameValidation::Utf8, PrometheusVersion::V3_5).unwrap();
        kept.map(|kept| (kept, target.clone()))
    };

    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.bench_function("lines", |b| b.iter(|| memchr::memchr_iter(b'\n', black_box(body.as_bytes())).count()));
    for (name, kept) in [
        ("samples", None),
        ("samples dropped by name", dropping(METRIC_NAME, "request_seconds_.*0_bucket")),
        ("samples dropped by label", dropping("path", "/api/.*/0")),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let mut counter = SampleCounter::new(Format::Text, kept.clone());
                for piece in body.as_bytes().chunks(16 << 10) {
                    counter.feed(black_box(piece));
                }
                counter.finish()
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    targets = counting
}
criterion_main!(benches);
