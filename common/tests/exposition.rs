//! Counting samples: the documents of Prometheus' own tests, and our own.

#![expect(clippy::unwrap_used, reason = "what tests share fails the test")]

#[cfg(test)]
mod conformance;

use narthex_common::{
    exposition::{Format, KeptSamples, MetricCounts, SampleCounter},
    labels::{Labels, METRIC_NAME},
    load::{Load, Series},
    relabel::{Action, RelabelConfig},
    semantics::{NameValidation, PrometheusVersion},
};
use proptest::prelude::*;
use rstest::rstest;

fn kept(action: Action, source: &str, regex: &str) -> Option<(KeptSamples, Labels)> {
    let rule = RelabelConfig {
        source_labels: vec![source.into()],
        regex: Some(regex.into()),
        action: Some(action),
        ..RelabelConfig::default()
    };
    let kept = KeptSamples::from_rules(&[rule], false, NameValidation::Utf8, PrometheusVersion::V3_5).unwrap();
    kept.map(|kept| (kept, [("job", "j")].into_iter().collect()))
}

fn count(format: Format, kept: Option<(KeptSamples, Labels)>, pieces: &[&[u8]]) -> Load {
    let mut counter = SampleCounter::new(format, kept);
    for piece in pieces {
        counter.feed(piece);
    }
    counter.finish()
}

/// What each metric of a body brought.
fn by_metric(format: Format, kept: Option<(KeptSamples, Labels)>, pieces: &[&[u8]]) -> (Load, MetricCounts) {
    let mut counter = SampleCounter::new(format, kept).by_metric();
    for piece in pieces {
        counter.feed(piece);
    }
    let (load, counts) = counter.finish_by_metric();
    (load, counts.unwrap())
}

fn load(exposed: u64, kept: u64) -> Load {
    Load { exposed: Series(exposed), kept: Series(kept) }
}

#[test]
fn documents_have_the_samples_prometheus_finds() {
    let Some(data) = conformance::read("textparse.json") else { return };
    let documents = data["documents"].as_array().unwrap().iter();
    for document in documents.chain(data["benchmark_files"].as_array().unwrap()) {
        let format = Format::of_content_type(document["content_type"].as_str().unwrap());
        let lines = document["sample_lines"].as_u64().unwrap();
        let body = document["input"].as_str().unwrap().as_bytes();
        assert_eq!(count(format, None, &[body]), load(lines, lines), "{}", document["name"]);
        // Every sample can be read: none is kept by a rule that drops whatever has a name.
        assert_eq!(
            count(format, kept(Action::Drop, METRIC_NAME, ".+"), &[body]),
            load(lines, 0),
            "{}",
            document["name"]
        );
    }
}

#[test]
fn labels_are_those_prometheus_reads() {
    let Some(data) = conformance::read("textparse.json") else { return };
    for document in &data["documents"].as_array().unwrap()[..2] {
        for entry in document["expected_entries"].as_array().unwrap() {
            let Some(line) = entry["raw"].as_str() else { continue };
            for (name, value) in entry["labels"].as_object().into_iter().flatten() {
                // Prometheus normalizes these two, which Narthex leaves as they are.
                if matches!(name.as_str(), "le" | "quantile") {
                    continue;
                }
                let exactly = format!(r"\Q{}\E", value.as_str().unwrap());
                let load = count(Format::Text, kept(Action::Keep, name, &exactly), &[format!("{line} 1").as_bytes()]);
                assert_eq!(load.kept, Series(1), "{name} of {line}");
            }
        }
    }
}

#[test]
fn a_protobuf_body_has_the_samples_prometheus_finds() {
    use base64::Engine as _;
    let Some(data) = conformance::read("textparse.json") else { return };
    let protobuf = &data["protobuf"];
    let body = base64::engine::general_purpose::STANDARD.decode(protobuf["input_base64"].as_str().unwrap()).unwrap();
    let scenario = &protobuf["scenarios"][0];
    let samples = scenario["expected_samples"].as_u64().unwrap() + scenario["expected_histograms"].as_u64().unwrap();
    assert_eq!(count(Format::Protobuf, None, &[&body]), load(samples, samples));

    for series in scenario["expected_series"].as_array().unwrap() {
        for (name, value) in series["labels"].as_object().unwrap() {
            let exactly = format!(r"\Q{}\E", value.as_str().unwrap());
            let load = count(Format::Protobuf, kept(Action::Keep, name, &exactly), &[&body]);
            assert_eq!(load.exposed, Series(samples));
            let expected = scenario["expected_series"].as_array().unwrap().iter();
            let expected = expected.filter(|s| s["labels"][name].as_str().unwrap_or_default() == value).count();
            assert_eq!(load.kept, Series(expected as u64), "{name}={value}");
        }
    }
}

const BODY: &str = "# HELP m A metric\n# TYPE m counter\nm 1\n\n \t\n  m{a=\"#\"} 2 # {id=\"1\"} 1\nn{a=\"\\n\"} 1 1234\n\
    \t# comment\n{\"a.b\", x=\"y\"} 1\n# EOF\nlast 1";

#[test]
fn a_line_is_a_sample_unless_it_is_blank_or_a_comment() {
    assert_eq!(count(Format::Text, None, &[BODY.as_bytes()]), load(5, 5));
    assert_eq!(count(Format::OpenMetrics, None, &[]), Load::ZERO);
}

#[test]
fn samples_are_counted_by_their_metric_whether_or_not_they_are_relabeled() {
    let all = |counts: &MetricCounts| -> Vec<(String, Load)> {
        counts.by_name.iter().map(|(name, load)| (name.to_string(), *load)).collect()
    };
    let expected = |m_kept| {
        [("a.b", load(1, 1)), ("last", load(1, 1)), ("m", load(2, m_kept)), ("n", load(1, 1))]
            .map(|(name, load)| (name.to_owned(), load))
            .to_vec()
    };
    let (sum, counts) = by_metric(Format::Text, None, &[BODY.as_bytes()]);
    assert_eq!((sum, all(&counts)), (load(5, 5), expected(2)));
    let (sum, counts) = by_metric(Format::Text, kept(Action::Drop, METRIC_NAME, "m"), &[BODY.as_bytes()]);
    assert_eq!((sum, all(&counts)), (load(5, 3), expected(0)));
    assert_eq!(counts.other, Load::ZERO);
    let (_, counts) = by_metric(Format::Text, None, &[b"{a=\"b\"} 1\n\xff 1\n"]);
    assert_eq!((all(&counts), counts.other), (vec![], load(2, 2)), "samples of no metric, or of one nobody can read");
}

#[test]
fn protobuf_samples_are_counted_under_the_names_that_their_series_have() {
    let (sum, counts) = by_metric(Format::Protobuf, kept(Action::Drop, METRIC_NAME, "h_.*"), &[&families()]);
    assert_eq!(sum, load(9, 5));
    let dropped: Vec<&str> =
        counts.by_name.iter().filter(|(_, load)| load.kept == Series(0)).map(|(name, _)| name.as_str()).collect();
    assert_eq!(dropped, ["h_bucket", "h_count", "h_sum"]);
    assert_eq!(counts.by_name.values().copied().sum::<Load>(), sum);
}

#[test]
fn a_sample_counts_from_its_first_byte_on() {
    let mut counter = SampleCounter::new(Format::Text, None);
    counter.feed(b"a 1\n b");
    assert_eq!(counter.exposed(), Series(2));
}

#[rstest]
#[case::by_name(METRIC_NAME, "m", 3)]
#[case::by_quoted_name(METRIC_NAME, "a.b", 4)]
#[case::by_label("x", "y", 4)]
#[case::by_label_of_the_target("job", "j", 0)]
fn dropped_samples_are_exposed_but_not_kept(#[case] label: &str, #[case] regex: &str, #[case] left: u64) {
    assert_eq!(count(Format::Text, kept(Action::Drop, label, regex), &[BODY.as_bytes()]), load(5, left));
}

#[test]
fn a_sample_that_cannot_be_read_counts_as_kept() {
    let body = b"m{a 1\n\xff 1\nm 1\n";
    assert_eq!(count(Format::Text, kept(Action::Drop, "job", "j"), &[body]), load(3, 2));
}

#[test]
fn a_line_that_is_too_long_counts_as_kept_however_it_is_cut() {
    let long = format!("m{{a=\"{}\"}} 1\nm 1\n", "x".repeat(2 << 20));
    for size in [1000, 1 << 20, 3 << 20] {
        let pieces: Vec<_> = long.as_bytes().chunks(size).collect();
        assert_eq!(count(Format::Text, kept(Action::Drop, METRIC_NAME, "m"), &pieces), load(2, 1), "{size}");
    }
}

/// Some protobuf: a gauge with a label, a summary of two quantiles, and a histogram of two buckets, one infinite.
fn families() -> Vec<u8> {
    fn bytes(number: u8, value: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat()
    }
    fn double(number: u8, value: f64) -> Vec<u8> {
        [[number << 3 | 1].as_slice(), &value.to_le_bytes()].concat()
    }
    let label = bytes(1, &[bytes(1, b"a"), bytes(2, b"b")].concat());
    let gauge = bytes(4, &[label, bytes(2, &double(1, 1.0))].concat());
    let quantiles = [bytes(3, &double(1, 0.5)), bytes(3, &double(1, 0.9))].concat();
    let summary = bytes(4, &bytes(4, &quantiles));
    let buckets = [bytes(3, &double(2, 0.1)), bytes(3, &double(2, f64::INFINITY))].concat();
    let histogram = bytes(4, &bytes(7, &buckets));
    [("g", gauge), ("s", summary), ("h", histogram)]
        .into_iter()
        .flat_map(|(name, metric)| {
            let family = [bytes(1, name.as_bytes()), bytes(2, b"help"), vec![3 << 3, 1], metric].concat();
            [vec![u8::try_from(family.len()).unwrap()], family].concat()
        })
        .collect()
}

#[test]
fn a_protobuf_metric_is_as_many_samples_as_prometheus_makes_of_it() {
    let body = families();
    assert_eq!(count(Format::Protobuf, None, &[&body]), load(1 + 4 + 4, 9));
    assert_eq!(count(Format::Protobuf, kept(Action::Drop, "a", "b"), &[&body]), load(9, 8));
    assert_eq!(count(Format::Protobuf, kept(Action::Keep, METRIC_NAME, "h_bucket|s"), &[&body]), load(9, 4));
    assert_eq!(count(Format::Protobuf, kept(Action::Keep, "le", r"0\.1"), &[&body]), load(9, 1));
}

#[test]
fn a_body_that_is_no_protobuf_ends_the_count() {
    let body = [families(), vec![0xff; 20], families()].concat();
    assert_eq!(count(Format::Protobuf, None, &[&body]).exposed, Series(9));
}

proptest! {
    #[test]
    fn pieces_of_any_size_bring_the_same(
        lines in prop::collection::vec("[ \t]{0,2}(#.{0,8}|[a-z]{1,3}(\\{a=\"[a-c]{0,2}\"\\})? 1|\\{\"é.b\"\\} 1)?", 0..12),
        cuts in prop::collection::vec(0..400_usize, 0..20),
        judged: bool,
    ) {
        let body = lines.join("\n").into_bytes();
        let judge = || judged.then(|| kept(Action::Drop, "a", "[ab]+").unwrap());
        let whole = count(Format::Text, judge(), &[&body]);
        prop_assert_eq!(count(Format::Text, judge(), &cut(&body, &cuts)), whole);
        prop_assert!(whole.kept <= whole.exposed);
        let (load, counts) = by_metric(Format::Text, judge(), &cut(&body, &cuts));
        prop_assert_eq!((load, counts.by_name.values().copied().sum::<Load>().plus(counts.other)), (whole, whole));
    }

    #[test]
    fn pieces_of_protobuf_of_any_size_bring_the_same(cuts in prop::collection::vec(0..150_usize, 0..20)) {
        let judge = || kept(Action::Drop, METRIC_NAME, "h_.*");
        prop_assert_eq!(count(Format::Protobuf, judge(), &cut(&families(), &cuts)), load(9, 5));
    }

    #[test]
    fn any_bytes_can_be_counted(body: Vec<u8>, cuts in prop::collection::vec(0..100_usize, 0..5)) {
        for format in [Format::Text, Format::Protobuf] {
            let whole = count(format, kept(Action::Drop, "a", "b"), &[&body]);
            prop_assert_eq!(count(format, kept(Action::Drop, "a", "b"), &cut(&body, &cuts)), whole);
        }
    }
}

/// A body cut at some places.
fn cut<'a>(mut body: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for at in cuts {
        let (piece, rest) = body.split_at((*at).min(body.len()));
        pieces.push(piece);
        body = rest;
    }
    pieces.push(body);
    pieces
}
