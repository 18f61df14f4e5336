//! Unpacking the copy of a compressed body that is counted, piece by piece.
//!
//! What comes out passes through one buffer that all bodies of a thread share, so that a scrape under way holds only
//! what its format makes it remember: about 40 KiB for gzip.

use std::{cell::RefCell, io};

use flate2::{Decompress, FlushDecompress, Status};
use http::{HeaderMap, header};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

/// How much is unpacked at once.
const BUFFER_BYTES: usize = 64 << 10;

/// The window of every gzip, as a power of two: 32 KiB (RFC 1951, 2).
const GZIP_WINDOW_BITS: u8 = 15;

/// The largest zstd window, as a power of two: 8 MiB, what every decoder must support (RFC 8878, 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_BYTES].into());
}

/// Unpacks one body.
pub(super) enum Unpacker {
    /// Not compressed, or in a way that nobody asked for: taken as it is.
    AsItIs,
    /// Compressed, and not to be looked into.
    Closed,
    Gzip(Gunzip),
    Zstd(ZstdDecoder<'static>),
}

/// Takes the next unpacked bytes of a body, or says why it takes no more.
pub(super) trait Sink {
    fn take(&mut self, bytes: &[u8]) -> Result<(), String>;
}

impl Unpacker {
    /// What unpacks a body with these headers.
    pub(super) fn new(headers: &HeaderMap) -> Self {
        match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
            Some(b"gzip") => Self::Gzip(Gunzip::default()),
            Some(b"zstd") => zstd_decoder().map_or(Self::AsItIs, Self::Zstd),
            Some(_) | None => Self::AsItIs,
        }
    }

    /// Takes the next piece, as the target sent it.
    ///
    /// # Errors
    /// When it cannot be unpacked, in Go's words, or the sink takes no more.
    pub(super) fn feed(&mut self, piece: &[u8], sink: &mut impl Sink) -> Result<(), String> {
        match self {
            Self::AsItIs => sink.take(piece),
            Self::Closed => Ok(()),
            Self::Gzip(gzip) => BUFFER.with_borrow_mut(|buffer| gzip.feed(piece, buffer, sink)),
            Self::Zstd(zstd) => BUFFER.with_borrow_mut(|buffer| feed_zstd(zstd, piece, buffer, sink)),
        }
    }

    /// The body is at its end.
    ///
    /// # Errors
    /// When the packed data is not.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self {
            Self::AsItIs | Self::Closed | Self::Zstd(_) => Ok(()),
            Self::Gzip(gzip) => gzip.finish(),
        }
    }

    /// How many bytes Prometheus may not have unpacked yet of those that were unpacked here: a decoder of gzip gives away
    /// nothing before its window is full or a block is at its end.
    pub(super) const fn lead_bytes(&self) -> u64 {
        match self {
            Self::AsItIs | Self::Closed => 0,
            Self::Gzip(_) => 64 << 10,
            Self::Zstd(_) => u64::MAX,
        }
    }
}

/// Whether a body with these headers is compressed in a way that can be unpacked.
pub(super) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| matches!(encoding.as_bytes(), b"gzip" | b"zstd"))
}

/// One gzip member after the other, as Go reads them.
#[derive(Default)]
pub(super) struct Gunzip {
    /// The member that has begun and not ended.
    member: Option<Box<Decompress>>,
    has_begun: bool,
}

impl Gunzip {
    fn feed(&mut self, mut packed: &[u8], buffer: &mut [u8], sink: &mut impl Sink) -> Result<(), String> {
        while !packed.is_empty() {
            self.has_begun = true;
            let member = self.member.get_or_insert_with(|| Box::new(Decompress::new_gzip(GZIP_WINDOW_BITS)));
            loop {
                let (read, unpacked) = (member.total_in(), member.total_out());
                let status = member
                    .decompress(packed, buffer, FlushDecompress::None)
                    .map_err(|error| as_go_says_it(error.message(), member.total_in()))?;
                packed = packed.get(difference(read, member.total_in())..).unwrap_or_default();
                let unpacked = difference(unpacked, member.total_out());
                sink.take(buffer.get(..unpacked).unwrap_or_default())?;
                match status {
                    Status::StreamEnd => {
                        self.member = None;
                        break;
                    }
                    // There is more to come out if the buffer was too small for it.
                    Status::Ok | Status::BufError if unpacked < buffer.len() => return Ok(()),
                    Status::Ok | Status::BufError => {}
                }
            }
        }
        Ok(())
    }

    fn finish(&self) -> Result<(), String> {
        match (self.has_begun, &self.member) {
            (false, _) => Err("EOF".into()),
            (true, Some(_)) => Err("unexpected EOF".into()),
            (true, None) => Ok(()),
        }
    }
}

/// How far a total has grown.
fn difference(before: u64, after: u64) -> usize {
    usize::try_from(after.saturating_sub(before)).unwrap_or(usize::MAX)
}

/// What Go's gzip reader says where zlib says `message`.
fn as_go_says_it(message: Option<&str>, offset: u64) -> String {
    match message.unwrap_or_default() {
        "incorrect header check"
        | "unknown compression method"
        | "unknown header flags set"
        | "header crc mismatch" => "gzip: invalid header".into(),
        "incorrect data check" | "incorrect length check" => "gzip: invalid checksum".into(),
        _ => format!("flate: corrupt input before offset {offset}"),
    }
}

fn zstd_decoder() -> io::Result<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

fn feed_zstd(
    decoder: &mut ZstdDecoder<'static>,
    mut packed: &[u8],
    buffer: &mut [u8],
    sink: &mut impl Sink,
) -> Result<(), String> {
    loop {
        let done = decoder.run_on_buffers(packed, buffer).map_err(|error| format!("zstd: {error}"))?;
        packed = packed.get(done.bytes_read..).unwrap_or_default();
        sink.take(buffer.get(..done.bytes_written).unwrap_or_default())?;
        if packed.is_empty() && done.bytes_written < buffer.len() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    impl Sink for Vec<u8> {
        fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
            self.extend_from_slice(bytes);
            Ok(())
        }
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut gzip = GzEncoder::new(vec![], Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    }

    /// Hardly compressible, so that a piece is unpacked to less than a buffer, and then very much so.
    fn bytes() -> Vec<u8> {
        let noise = (0_u32..100_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8);
        noise.chain(std::iter::repeat_n(b'x', 1 << 20)).collect()
    }

    fn unpacked(encoding: &str, packed: &[u8], cut: usize) -> Result<Vec<u8>, String> {
        let headers = [(header::CONTENT_ENCODING, encoding.parse().unwrap())].into_iter().collect();
        let (mut unpacker, mut unpacked) = (Unpacker::new(&headers), vec![]);
        packed.chunks(cut).try_for_each(|piece| unpacker.feed(piece, &mut unpacked))?;
        unpacker.finish()?;
        Ok(unpacked)
    }

    #[test]
    fn it_does_not_matter_how_a_body_is_cut() {
        let (body, encodings) = (bytes(), ["gzip", "zstd", "br"]);
        let packed = [gzipped(&body), zstd::encode_all(body.as_slice(), 0).unwrap(), body.clone()];
        for (encoding, packed) in encodings.into_iter().zip(&packed) {
            for cut in [1, 17, 1_000, 64 << 10, 2 << 20] {
                assert!(unpacked(encoding, packed, cut).as_ref() == Ok(&body), "{encoding} cut every {cut} bytes");
            }
        }
        let members = [gzipped(b"a"), gzipped(b""), gzipped(&body)].concat();
        for cut in [1, 30, 1 << 20] {
            assert!(unpacked("gzip", &members, cut) == Ok([b"a", body.as_slice()].concat()), "every {cut} bytes");
        }
    }

    #[test]
    fn what_is_no_gzip_or_ends_early_is_told_in_gos_words() {
        let good = gzipped(&bytes());
        let changed = |place: usize| {
            let mut bad = good.clone();
            bad[place] ^= 0xff;
            unpacked("gzip", &bad, 1_000).unwrap_err()
        };
        assert_eq!(changed(0), "gzip: invalid header");
        assert_eq!(changed(2), "gzip: invalid header");
        assert_eq!(changed(good.len() - 8), "gzip: invalid checksum");
        assert_eq!(changed(good.len() - 1), "gzip: invalid checksum");
        assert_eq!(unpacked("gzip", &good[..good.len() - 1], 1_000).unwrap_err(), "unexpected EOF");
        assert_eq!(unpacked("gzip", b"", 1).unwrap_err(), "EOF");
        assert_eq!(unpacked("gzip", &[&good, b"no gzip".as_slice()].concat(), 99).unwrap_err(), "gzip: invalid header");
        let corrupt = unpacked("gzip", &[&good[..10], &[0xff; 20]].concat(), 99).unwrap_err();
        assert!(corrupt.starts_with("flate: corrupt input before offset "), "{corrupt}");
    }
}
