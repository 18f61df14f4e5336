//! Counting the samples of a scrape body while it streams by.
//!
//! Nothing here decides whether a body is well formed: Prometheus does, and a scrape it refuses is not a load. What
//! cannot be understood counts as kept.

mod kept;
mod names;
mod protobuf;
mod sample;
mod text;

use crate::{
    labels::Labels,
    load::{Load, Series},
};

use kept::Judge;
pub use kept::KeptSamples;
pub use names::MetricCounts;
use names::NameCounter;

/// The format of a body, from its `Content-Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `text/plain`, and whatever has no or another type.
    Text,
    /// `application/openmetrics-text`
    OpenMetrics,
    /// `application/vnd.google.protobuf`
    Protobuf,
}

impl Format {
    /// The format of a `Content-Type` header.
    #[must_use]
    pub fn of_content_type(content_type: &str) -> Self {
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/openmetrics-text") {
            Self::OpenMetrics
        } else if media_type.eq_ignore_ascii_case("application/vnd.google.protobuf") {
            Self::Protobuf
        } else {
            Self::Text
        }
    }
}

/// The most bytes of one line or of one protobuf metric that are held to be looked at. What is longer counts as one
/// sample that is kept.
const LONGEST: usize = 1 << 20;

/// Counts the samples of one body, fed in pieces of any size. Memory is bounded by the longest line that is looked at,
/// 1 MiB; a body whose samples are only counted needs none.
#[derive(Debug)]
pub struct SampleCounter {
    body: Body,
    tally: Tally,
}

#[derive(Debug)]
enum Body {
    Text(text::Lines),
    Protobuf(protobuf::Families),
}

/// What was counted, and who decides what is kept.
#[derive(Debug)]
struct Tally {
    exposed: u64,
    kept: u64,
    judge: Option<Box<Judge>>,
    names: Option<Box<NameCounter>>,
}

impl Tally {
    /// Whether it matters what a sample looks like.
    const fn looks_at_samples(&self) -> bool {
        self.judge.is_some() || self.names.is_some()
    }

    /// A sample that is too long to be looked at.
    fn pass_over(&mut self) {
        self.kept += 1;
        if let Some(names) = &mut self.names {
            names.count("", true);
        }
    }
}

impl SampleCounter {
    /// Counts a body of a format. Given `kept` and the target's labels, every sample is relabeled, too; otherwise all
    /// count as kept.
    ///
    /// Of a protobuf histogram with native buckets, these count as one sample, and classic buckets beside them as none:
    /// what Prometheus does when it asks for protobuf, unless `always_scrape_classic_histograms` is set.
    #[must_use]
    pub fn new(format: Format, kept: Option<(KeptSamples, Labels)>) -> Self {
        let body = match format {
            Format::Text | Format::OpenMetrics => Body::Text(text::Lines::default()),
            Format::Protobuf => Body::Protobuf(protobuf::Families::default()),
        };
        let judge = kept.map(|(kept, target)| Box::new(Judge::new(kept, &target)));
        Self { body, tally: Tally { exposed: 0, kept: 0, judge, names: None } }
    }

    /// Counts by metric, too.
    #[must_use]
    pub fn by_metric(mut self) -> Self {
        self.tally.names = Some(Box::default());
        self
    }

    /// Takes the next piece of the body, uncompressed.
    pub fn feed(&mut self, piece: &[u8]) {
        match &mut self.body {
            Body::Text(lines) => lines.feed(piece, &mut self.tally),
            Body::Protobuf(families) => families.feed(piece, &mut self.tally),
        }
    }

    /// Samples seen so far that are exposed.
    #[must_use]
    pub fn exposed(&self) -> Series {
        Series(self.tally.exposed)
    }

    /// The body is at its end: what it brought.
    #[must_use]
    pub fn finish(self) -> Load {
        self.finish_by_metric().0
    }

    /// The same, and what each metric brought if that was [asked for](Self::by_metric).
    #[must_use]
    pub fn finish_by_metric(mut self) -> (Load, Option<MetricCounts>) {
        match self.body {
            Body::Text(lines) => lines.finish(&mut self.tally),
            // What is not complete is no metric.
            Body::Protobuf(_) => {}
        }
        let kept = if self.tally.judge.is_some() { self.tally.kept } else { self.tally.exposed };
        let names = self.tally.names.map(|names| names.finish());
        (Load { exposed: Series(self.tally.exposed), kept: Series(kept) }, names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_told_by_the_media_type() {
        assert_eq!(Format::of_content_type("text/plain; version=0.0.4"), Format::Text);
        assert_eq!(Format::of_content_type(""), Format::Text);
        assert_eq!(Format::of_content_type("Application/OpenMetrics-Text;version=1.0.0"), Format::OpenMetrics);
        assert_eq!(Format::of_content_type("application/vnd.google.protobuf; encoding=delimited"), Format::Protobuf);
    }
}
