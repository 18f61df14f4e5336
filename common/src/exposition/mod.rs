//! Counting the samples of a scrape body while it streams by.

use crate::{
    config::ScrapeConfig,
    labels::Labels,
    load::{Load, Series},
    relabel::BadRule,
    semantics::PrometheusVersion,
};

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
        let _ = content_type;
        todo!()
    }
}

/// Counts the samples of one body, fed in pieces of any size. Memory is bounded by the longest line that is looked at.
#[derive(Debug)]
pub struct SampleCounter(());

/// What metric relabeling of a job leaves of a sample of a target: decides which samples are kept.
#[derive(Clone, Debug)]
pub struct KeptSamples(());

impl KeptSamples {
    /// The judge of a job's samples; none when the job keeps every sample as it is.
    ///
    /// # Errors
    /// When a rule cannot be compiled.
    pub fn new(job: &ScrapeConfig, version: PrometheusVersion) -> Result<Option<Self>, BadRule> {
        let _ = (job, version);
        todo!()
    }
}

impl SampleCounter {
    /// Counts a body of a format. Given `kept` and the target's labels, every sample is relabeled, too; otherwise all
    /// count as kept.
    #[must_use]
    pub fn new(format: Format, kept: Option<(KeptSamples, Labels)>) -> Self {
        let _ = (format, kept);
        todo!()
    }

    /// Takes the next piece of the body, uncompressed.
    pub fn feed(&mut self, piece: &[u8]) {
        let _ = piece;
        todo!()
    }

    /// Samples seen so far that are exposed.
    #[must_use]
    pub fn exposed(&self) -> Series {
        todo!()
    }

    /// The body is at its end: what it brought.
    #[must_use]
    pub fn finish(self) -> Load {
        todo!()
    }
}
