//! Measuring a scrape body while it passes: what it brings, and whether Prometheus will take it.
//!
//! The body goes through as it is; an unpacked copy is counted here, piece by piece. Memory is bounded by what the
//! format makes its reader remember, whatever the body holds.

use http::{HeaderMap, header};
use narthex_common::{
    exposition::{Format, KeptSamples, MetricCounts, SampleCounter},
    labels::Labels,
    load::{Load, Series},
};

use super::{
    content_type,
    routes::JobRoute,
    unpack::{Sink, Unpacker},
};

/// Beyond this many bytes, unpacked, a body is no longer counted: a few kilobytes that unpack to terabytes would keep a
/// core busy. A million series are about 100 MB.
const COUNTED_AT_MOST: u64 = 2 << 30;

/// Measures one body.
pub(super) struct Measurement {
    unpacker: Unpacker,
    counter: Counter,
    /// How much has passed, as it came.
    bytes: u64,
    /// Why the rest is not counted.
    stopped: Option<String>,
    /// Why Prometheus cannot read a body of this content type.
    unreadable: Option<String>,
    open_metrics: bool,
    body_size_limit: u64,
    sample_limit: u64,
}

/// What the uncompressed body runs through.
struct Counter {
    /// None once it has been asked for the sum.
    samples: Option<SampleCounter>,
    /// What each metric brought, once it has been asked for the sum.
    by_metric: Option<MetricCounts>,
    bytes: u64,
    bytes_at_most: u64,
    /// The last bytes, to see whether OpenMetrics ends as it must.
    tail: Tail,
}

impl Measurement {
    /// Measures a body with these headers. Samples are relabeled, too, when `kept` is given, and counted by metric if so
    /// wanted.
    pub(super) fn new(
        headers: &HeaderMap,
        job: &JobRoute,
        kept: Option<(KeptSamples, Labels)>,
        by_metric: bool,
    ) -> Self {
        let announced = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let content_type = content_type::as_prometheus_reads_it(&announced.unwrap_or_default(), job);
        let format = Format::of_content_type(content_type.as_deref().unwrap_or_default());
        let unpacker = Unpacker::new(headers);
        let samples = SampleCounter::new(format, kept);
        let counter = Counter {
            samples: Some(if by_metric { samples.by_metric() } else { samples }),
            by_metric: None,
            bytes: 0,
            bytes_at_most: match job.body_size_limit {
                0 => COUNTED_AT_MOST,
                limit => limit.saturating_add(unpacker.lead_bytes()).min(COUNTED_AT_MOST.max(limit)),
            },
            tail: Tail::default(),
        };
        Self {
            unpacker,
            counter,
            bytes: 0,
            stopped: None,
            unreadable: content_type.err(),
            open_metrics: format == Format::OpenMetrics,
            body_size_limit: job.body_size_limit,
            sample_limit: job.sample_limit,
        }
    }

    /// Measures only how large a compressed body is.
    pub(super) fn of_size(headers: &HeaderMap, job: &JobRoute) -> Self {
        Self { unpacker: Unpacker::Closed, ..Self::new(headers, job, None, false) }
    }

    /// How much of the body has passed, as the target sent it.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the next piece of the body, as the target sent it.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if self.stopped.is_none() {
            self.stopped = self.unpacker.feed(piece, &mut self.counter).err();
        }
    }

    /// Series seen so far, before relabeling.
    pub(super) fn exposed(&self) -> Series {
        self.counter.samples.as_ref().map(SampleCounter::exposed).unwrap_or_default()
    }

    /// Whether the rest of the body is not counted.
    pub(super) const fn has_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether the body is larger than the job allows: Prometheus stops reading there.
    pub(super) fn is_too_large(&self) -> bool {
        self.body_size_limit > 0 && self.counter.bytes >= self.body_size_limit
    }

    /// Whether what has passed is enough for Prometheus to see that the body is too large.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_too_large() && self.counter.bytes - self.body_size_limit >= self.unpacker.lead_bytes()
    }

    /// The body is at its end: what it brought, if that was counted, or why Prometheus fails the scrape, in its words.
    pub(super) fn finish(&mut self) -> Result<Option<Load>, String> {
        match self.unpacker {
            Unpacker::Closed if self.bytes == 0 => Err("EOF".into()),
            Unpacker::Closed => self.unreadable.take().map_or(Ok(None), Err),
            Unpacker::AsItIs | Unpacker::Gzip(_) | Unpacker::Zstd(_) => self.counted().map(Some),
        }
    }

    fn counted(&mut self) -> Result<Load, String> {
        if self.is_too_large() {
            return Err(TOO_LARGE.into());
        }
        if self.counter.bytes >= COUNTED_AT_MOST {
            return Ok(self.counter.sum());
        }
        if let Some(error) = self.stopped.take() {
            return Err(error);
        }
        self.unpacker.finish()?;
        if self.counter.bytes == 0 {
            // Prometheus parses nothing then, so it finds nothing wrong either.
            return Ok(Load::ZERO);
        }
        if let Some(error) = self.unreadable.take() {
            return Err(error);
        }
        if self.open_metrics && !self.counter.tail.ends_open_metrics() {
            return Err("data does not end with # EOF".into());
        }
        let load = self.counter.sum();
        if self.sample_limit > 0 && load.kept > Series(self.sample_limit) {
            return Err("sample limit exceeded".into());
        }
        Ok(load)
    }

    /// What each metric of a good scrape brought, if that was wanted.
    pub(super) fn by_metric(&mut self) -> Option<MetricCounts> {
        self.counter.by_metric.take()
    }
}

/// Prometheus' words for a body of at least `body_size_limit` bytes.
pub(super) const TOO_LARGE: &str = "body size limit exceeded";

impl Counter {
    fn sum(&mut self) -> Load {
        let Some(samples) = self.samples.take() else { return Load::ZERO };
        let (load, by_metric) = samples.finish_by_metric();
        self.by_metric = by_metric;
        load
    }
}

impl Sink for Counter {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes >= self.bytes_at_most {
            return Err("too large to be counted".into());
        }
        if let Some(samples) = &mut self.samples {
            samples.feed(bytes);
        }
        self.tail.feed(bytes);
        Ok(())
    }
}

/// The last bytes of a body.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    /// What OpenMetrics ends with; a newline may follow.
    const END: &[u8] = b"# EOF";
    const LENGTH: usize = Self::END.len() + 1;

    fn feed(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(&piece[piece.len().saturating_sub(Self::LENGTH)..]);
        self.0.drain(..self.0.len().saturating_sub(Self::LENGTH));
    }

    fn ends_open_metrics(&self) -> bool {
        self.0.strip_suffix(b"\n").unwrap_or(&self.0).ends_with(Self::END)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// Measures a body of some encoding that may have so many bytes.
    fn measurement(encoding: &str, body_size_limit: u64) -> Measurement {
        let headers = [(header::CONTENT_ENCODING, encoding.parse().unwrap())].into_iter().collect();
        let unpacker = Unpacker::new(&headers);
        let samples = Some(SampleCounter::new(Format::Text, None));
        let bytes_at_most = body_size_limit.saturating_add(unpacker.lead_bytes());
        Measurement {
            unpacker,
            counter: Counter { samples, by_metric: None, bytes: 0, bytes_at_most, tail: Tail::default() },
            bytes: 0,
            stopped: None,
            unreadable: None,
            open_metrics: false,
            body_size_limit,
            sample_limit: 0,
        }
    }

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(vec![], Compression::fast());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn it_does_not_matter_how_a_body_is_cut_or_out_of_how_many_gzip_members_it_is() {
        let body = [gzipped(b"a 1\nb"), gzipped(b" 2\nc 3\n")].concat();
        for cut in 1..body.len() {
            let mut measured = measurement("gzip", 1_000);
            body.chunks(cut).for_each(|piece| measured.feed(piece));
            assert_eq!(measured.finish().map(|load| load.unwrap().exposed), Ok(Series(3)), "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_body_that_unpacks_to_more_than_is_allowed_is_unpacked_no_further() {
        let limit = 1 << 20;
        for (encoding, bomb) in [("gzip", gzipped(&vec![b'\n'; 64 << 20])), ("identity", vec![b'\n'; 4 << 20])] {
            let mut measured = measurement(encoding, limit);
            bomb.chunks(1_000).for_each(|piece| measured.feed(piece));
            assert!(measured.is_too_large() && measured.is_hopeless());
            assert!(measured.counter.bytes <= limit + (128 << 10), "{} bytes", measured.counter.bytes);
            assert_eq!(measured.finish(), Err(TOO_LARGE.into()));
        }
    }

    #[test]
    fn a_compressed_body_is_hopeless_only_once_prometheus_has_unpacked_as_much() {
        let limit = 100_000;
        let mut measured = measurement("gzip", limit);
        measured.feed(&gzipped(&vec![b'\n'; 120_000]));
        assert!(measured.is_too_large() && !measured.is_hopeless());
    }

    #[test]
    fn the_tail_is_the_end_of_a_body_however_it_was_cut() {
        for (body, ends) in [("a 1\n# EOF\n", true), ("# EOF", true), ("a 1\n", false), ("# EOF\n\n", false)] {
            for cut in 1..=body.len() {
                let mut tail = Tail::default();
                body.as_bytes().chunks(cut).for_each(|piece| tail.feed(piece));
                assert_eq!(tail.ends_open_metrics(), ends, "{body:?} cut every {cut} bytes");
            }
        }
    }
}
