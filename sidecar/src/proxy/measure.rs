//! Measuring a scrape body while it passes: what it brings, and whether Prometheus will take it.
//!
//! The body goes through as it is; a decompressing copy is counted here, piece by piece. Memory is bounded by the
//! decompressor's window, whatever the body holds.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;
use http::{HeaderMap, header};
use narthex_common::{
    exposition::{Format, KeptSamples, SampleCounter},
    labels::Labels,
    load::{Load, Series},
};

use super::{content_type, routes::JobRoute};

/// Beyond this many bytes, uncompressed, a body is no longer counted: a few kilobytes that unpack to terabytes would
/// keep a core busy. A million series are about 100 MB.
const COUNTED_AT_MOST: u64 = 2 << 30;

/// The largest zstd window, as a power of two: 8 MiB, what every decoder must support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

/// Measures one body.
pub(super) struct Measurement {
    copy: Copy,
    /// Why the rest is not counted.
    stopped: Option<String>,
    /// Why Prometheus cannot read a body of this content type.
    unreadable: Option<String>,
    open_metrics: bool,
    received: bool,
    body_size_limit: u64,
    sample_limit: u64,
}

/// The copy of the body on its way to the counter.
enum Copy {
    Plain(Counter),
    Gzip(Box<MultiGzDecoder<Counter>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Counter>>),
}

/// What the uncompressed body runs through.
struct Counter {
    /// None once it has been asked for the sum.
    samples: Option<SampleCounter>,
    bytes: u64,
    bytes_at_most: u64,
    /// The last bytes, to see whether OpenMetrics ends as it must.
    tail: Tail,
}

impl Measurement {
    /// Measures a body with these headers. Samples are relabeled, too, when `kept` is given.
    pub(super) fn new(headers: &HeaderMap, job: &JobRoute, kept: Option<(KeptSamples, Labels)>) -> Self {
        let announced = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let content_type = content_type::as_prometheus_reads_it(&announced.unwrap_or_default(), job);
        let format = Format::of_content_type(content_type.as_deref().unwrap_or_default());
        // What exceeds the job's limit fails there: nobody asks how many samples it would have been.
        let bytes_at_most = if job.body_size_limit > 0 { job.body_size_limit } else { COUNTED_AT_MOST };
        let samples = Some(SampleCounter::new(format, kept));
        let counter = Counter { samples, bytes: 0, bytes_at_most, tail: Tail::default() };
        Self {
            copy: Copy::new(counter, headers),
            stopped: None,
            unreadable: content_type.err(),
            open_metrics: format == Format::OpenMetrics,
            received: false,
            body_size_limit: job.body_size_limit,
            sample_limit: job.sample_limit,
        }
    }

    /// Takes the next piece of the body, as the target sent it.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.received |= !piece.is_empty();
        if self.stopped.is_none() {
            self.stopped = self.copy.feed(piece).err();
        }
    }

    /// Series seen so far, before relabeling.
    pub(super) fn exposed(&self) -> Series {
        self.copy.counter().samples.as_ref().map(SampleCounter::exposed).unwrap_or_default()
    }

    /// Whether the rest of the body is not counted.
    pub(super) const fn has_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// Whether the body is larger than the job allows: Prometheus stops reading there.
    pub(super) fn is_too_large(&self) -> bool {
        self.body_size_limit > 0 && self.copy.counter().bytes >= self.body_size_limit
    }

    /// The body is at its end: what it brought, or why Prometheus fails the scrape, in its words.
    pub(super) fn finish(mut self) -> Result<Load, String> {
        if self.is_too_large() {
            return Err(TOO_LARGE.into());
        }
        if self.copy.counter().bytes >= COUNTED_AT_MOST {
            return Ok(self.copy.counter_mut().sum());
        }
        if let Some(error) = self.stopped {
            return Err(error);
        }
        self.copy.end(self.received)?;
        let counter = self.copy.counter_mut();
        if counter.bytes == 0 {
            // Prometheus parses nothing then, so it finds nothing wrong either.
            return Ok(Load::ZERO);
        }
        if let Some(error) = self.unreadable {
            return Err(error);
        }
        if self.open_metrics && !counter.tail.ends_open_metrics() {
            return Err("data does not end with # EOF".into());
        }
        let load = counter.sum();
        if self.sample_limit > 0 && load.kept > Series(self.sample_limit) {
            return Err("sample limit exceeded".into());
        }
        Ok(load)
    }
}

/// Prometheus' words for a body of at least `body_size_limit` bytes.
pub(super) const TOO_LARGE: &str = "body size limit exceeded";

impl Copy {
    fn new(counter: Counter, headers: &HeaderMap) -> Self {
        match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
            Some(b"gzip") => Self::Gzip(Box::new(MultiGzDecoder::new(counter))),
            Some(b"zstd") => Self::zstd(counter),
            Some(_) | None => Self::Plain(counter),
        }
    }

    fn zstd(counter: Counter) -> Self {
        let decoder = zstd::stream::raw::Decoder::new().and_then(|mut decoder| {
            decoder.set_parameter(zstd::stream::raw::DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
            Ok(decoder)
        });
        match decoder {
            Ok(decoder) => Self::Zstd(Box::new(zstd::stream::write::Decoder::with_decoder(counter, decoder))),
            Err(_) => Self::Plain(counter),
        }
    }

    fn feed(&mut self, piece: &[u8]) -> Result<(), String> {
        match self {
            Self::Plain(counter) => counter.write_all(piece).map_err(|e| e.to_string()),
            Self::Gzip(decoder) => decoder.write_all(piece).map_err(|e| gzip_error(decoder, &e)),
            Self::Zstd(decoder) => decoder.write_all(piece).map_err(|e| format!("zstd: {e}")),
        }
    }

    /// Brings what the decompressor still holds to the counter.
    fn end(&mut self, received: bool) -> Result<(), String> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(_) if !received => Err("EOF".into()),
            Self::Gzip(decoder) => decoder.try_finish().map_err(|e| match gzip_error(decoder, &e).as_str() {
                wrong @ "gzip: invalid checksum" => wrong.to_owned(),
                _incomplete => "unexpected EOF".to_owned(),
            }),
            Self::Zstd(decoder) => decoder.flush().map_err(|e| format!("zstd: {e}")),
        }
    }

    fn counter(&self) -> &Counter {
        match self {
            Self::Plain(counter) => counter,
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn counter_mut(&mut self) -> &mut Counter {
        match self {
            Self::Plain(counter) => counter,
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }
}

impl Counter {
    fn sum(&mut self) -> Load {
        self.samples.take().map(SampleCounter::finish).unwrap_or_default()
    }
}

/// What Go's gzip reader says.
fn gzip_error(decoder: &MultiGzDecoder<Counter>, error: &io::Error) -> String {
    match decoder.header() {
        None => "gzip: invalid header".into(),
        // flate2 has one kind of error for all; only its words tell them apart.
        Some(_) if error.to_string().contains("checksum") => "gzip: invalid checksum".into(),
        Some(_) if error.to_string().contains("deflate") => "flate: corrupt input".into(),
        Some(_) => format!("gzip: {error}"),
    }
}

impl Write for Counter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.bytes >= self.bytes_at_most {
            return Err(io::Error::other("too large to be counted"));
        }
        if let Some(samples) = &mut self.samples {
            samples.feed(piece);
        }
        self.tail.feed(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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
    use flate2::{Compression, write::GzEncoder};
    use narthex_common::load::Series;

    use super::*;

    fn counter(bytes_at_most: u64) -> Counter {
        let samples = Some(SampleCounter::new(Format::Text, None));
        Counter { samples, bytes: 0, bytes_at_most, tail: Tail::default() }
    }

    fn measurement(copy: Copy, body_size_limit: u64) -> Measurement {
        Measurement {
            copy,
            stopped: None,
            unreadable: None,
            open_metrics: false,
            received: false,
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
            let mut measured = measurement(Copy::Gzip(Box::new(MultiGzDecoder::new(counter(COUNTED_AT_MOST)))), 0);
            body.chunks(cut).for_each(|piece| measured.feed(piece));
            assert_eq!(measured.finish().map(|load| load.exposed), Ok(Series(3)), "cut every {cut} bytes");
        }
    }

    #[test]
    fn a_body_that_unpacks_to_more_than_is_allowed_is_unpacked_no_further() {
        let bomb = gzipped(&vec![b'\n'; 2 << 20]);
        let limit = 1 << 20;
        let copies = [Copy::Gzip(Box::new(MultiGzDecoder::new(counter(limit)))), Copy::zstd(counter(limit))];
        let bombs = [bomb, zstd::encode_all([b'\n'; 2 << 20].as_slice(), 0).unwrap()];
        for (copy, bomb) in copies.into_iter().zip(bombs) {
            let mut measured = measurement(copy, limit);
            bomb.chunks(1_000).for_each(|piece| measured.feed(piece));
            assert!(measured.is_too_large() && measured.copy.counter().bytes < limit + (1 << 18));
            assert_eq!(measured.finish(), Err(TOO_LARGE.into()));
        }
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
