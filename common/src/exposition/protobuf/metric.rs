//! One metric of a protobuf body: the samples Prometheus makes of it (`model/textparse/protobufparse.go`).

use compact_str::CompactString;

use super::{Field, fields};
use crate::exposition::{Tally, kept::Judge};

/// What a metric holds.
enum Value<'a> {
    /// A counter, a gauge or an untyped value.
    One,
    Summary(&'a [u8]),
    Histogram(&'a [u8]),
}

/// Counts the samples of a metric; none when its message makes no sense.
pub(super) fn count(name: &str, metric: &[u8], tally: &mut Tally) -> Option<()> {
    const LABEL: u64 = 1;
    const SUMMARY: u64 = 4;
    const HISTOGRAM: u64 = 7;
    let mut labels = Vec::new();
    let mut value = Value::One;
    for field in fields(metric) {
        match field? {
            Field::Bytes(LABEL, label) if tally.judge.is_some() => labels.push(label_pair(label)?),
            Field::Bytes(SUMMARY, summary) => value = Value::Summary(summary),
            Field::Bytes(HISTOGRAM, histogram) => value = Value::Histogram(histogram),
            Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other => {}
        }
    }
    let mut sample = |suffix: &str, label: Option<(&str, f64)>| {
        tally.exposed += 1;
        if !tally.looks_at_samples() {
            return;
        }
        let metric = [name, suffix].concat();
        let kept = tally.judge.as_mut().is_none_or(|judge| keeps(judge, &metric, &labels, label));
        tally.kept += u64::from(kept);
        if let Some(names) = &mut tally.names {
            names.count(&metric, kept);
        }
    };
    match value {
        Value::One => sample("", None),
        Value::Summary(summary) => {
            sample("_count", None);
            sample("_sum", None);
            for quantile in doubles(summary, Bound::Quantile) {
                sample("", Some(("quantile", quantile?)));
            }
        }
        Value::Histogram(histogram) if is_native(histogram)? => sample("", None),
        Value::Histogram(histogram) => {
            sample("_count", None);
            sample("_sum", None);
            let mut has_infinity = false;
            for bound in doubles(histogram, Bound::OfBucket) {
                let bound = bound?;
                has_infinity |= bound == f64::INFINITY;
                sample("_bucket", Some(("le", bound)));
            }
            if !has_infinity {
                sample("_bucket", Some(("le", f64::INFINITY)));
            }
        }
    }
    Some(())
}

fn keeps(
    judge: &mut Judge,
    metric: &str,
    labels: &[(CompactString, CompactString)],
    label: Option<(&str, f64)>,
) -> bool {
    judge.begin();
    judge.set_name(metric);
    for (name, value) in labels {
        judge.set(name, value);
    }
    if let Some((name, value)) = label {
        judge.set(name, &open_metrics_float(value));
    }
    judge.keeps()
}

fn label_pair(message: &[u8]) -> Option<(CompactString, CompactString)> {
    let (mut name, mut value) = (CompactString::default(), CompactString::default());
    for field in fields(message) {
        match field? {
            Field::Bytes(1, text) => name = CompactString::from_utf8(text).ok()?,
            Field::Bytes(2, text) => value = CompactString::from_utf8(text).ok()?,
            Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other => {}
        }
    }
    Some((name, value))
}

/// A double in the list that is field 3 of a summary and of a histogram, by its number in the list's items.
#[derive(Clone, Copy)]
enum Bound {
    Quantile = 1,
    OfBucket = 2,
}

fn doubles(message: &[u8], bound: Bound) -> impl Iterator<Item = Option<f64>> {
    const LIST: u64 = 3;
    fields(message).filter_map(move |field| match field {
        None => Some(None),
        Some(Field::Bytes(LIST, item)) => Some(double(item, bound as u64)),
        Some(Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other) => None,
    })
}

/// A field that is a double; one that is not there is zero.
fn double(message: &[u8], wanted: u64) -> Option<f64> {
    let mut double = 0.0;
    for field in fields(message) {
        match field? {
            Field::Double(number, value) if number == wanted => double = value,
            Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other => {}
        }
    }
    Some(double)
}

/// Whether a histogram has native buckets.
fn is_native(histogram: &[u8]) -> Option<bool> {
    const ZERO_THRESHOLD: u64 = 6;
    const ZERO_COUNT: u64 = 7;
    const NEGATIVE_SPAN: u64 = 9;
    const POSITIVE_SPAN: u64 = 12;
    let mut native = false;
    for field in fields(histogram) {
        native |= match field? {
            Field::Double(ZERO_THRESHOLD, threshold) => threshold > 0.0,
            Field::Number(ZERO_COUNT, count) => count > 0,
            Field::Bytes(NEGATIVE_SPAN | POSITIVE_SPAN, _) => true,
            Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other => false,
        };
    }
    Some(native)
}

/// A bound as the value of a label: the shortest decimal, always with a dot or an exponent. Go's format `g`.
fn open_metrics_float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    if value.is_nan() || value == 0.0 {
        return if value == 0.0 { "0.0" } else { "NaN" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    match exponent.parse::<i32>() {
        Ok(exponent @ (6.. | ..=-5)) => {
            format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.unsigned_abs())
        }
        Ok(_) | Err(_) => format!("{value:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_written_as_prometheus_writes_it() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (0.25, "0.25"),
            (-0.000_48, "-0.00048"),
            (0.000_01, "1e-05"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (1.5e21, "1.5e+21"),
            (100_000.0, "100000.0"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(open_metrics_float(value), text);
        }
    }
}
