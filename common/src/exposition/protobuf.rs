//! The protobuf format: `io.prometheus.client.MetricFamily` messages, each behind its length. They are walked field by
//! field, so that only one metric at a time is held.

use super::{LONGEST, Tally};

mod metric;

/// Where in a body we are.
#[derive(Debug, Default)]
pub(super) struct Families {
    /// The beginning of what could not be read yet for want of bytes.
    begun: Vec<u8>,
    /// Bytes that do not matter.
    skip: u64,
    /// What is left of the family's message.
    family_left: u64,
    /// The family's name.
    name: String,
    /// Whether something made no sense, so that what follows would not either.
    broken: bool,
}

/// A field of a message: its number and its value.
enum Field<'a> {
    Number(u64, u64),
    Double(u64, f64),
    Bytes(u64, &'a [u8]),
    /// 32 bits, which these messages have not.
    Other,
}

/// What reading a field, or a length, came to.
enum Read<T> {
    Done(T),
    /// More bytes are needed.
    Short,
    Broken,
}

impl Families {
    pub(super) fn feed(&mut self, piece: &[u8], tally: &mut Tally) {
        if self.begun.is_empty() {
            let read = self.walk(piece, tally);
            self.begun.extend_from_slice(&piece[read..]);
            return;
        }
        let mut bytes = std::mem::take(&mut self.begun);
        bytes.extend_from_slice(piece);
        let read = self.walk(&bytes, tally);
        bytes.drain(..read);
        self.begun = bytes;
    }

    /// Reads what it can; returns how many bytes that was.
    fn walk(&mut self, bytes: &[u8], tally: &mut Tally) -> usize {
        let mut rest = bytes;
        loop {
            if self.broken {
                return bytes.len();
            }
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(rest.len());
            rest = &rest[skipped..];
            self.skip -= skipped as u64;
            if rest.is_empty() {
                return bytes.len();
            }
            let step = if self.family_left == 0 { self.start_family(rest) } else { self.field(rest, tally) };
            match step {
                Read::Done(read) => rest = &rest[read..],
                Read::Short => return bytes.len() - rest.len(),
                Read::Broken => self.broken = true,
            }
        }
    }

    fn start_family(&mut self, bytes: &[u8]) -> Read<usize> {
        match varint(bytes) {
            Read::Done((length, read)) => {
                self.family_left = length;
                self.name.clear();
                Read::Done(read)
            }
            Read::Short => Read::Short,
            Read::Broken => Read::Broken,
        }
    }

    /// One field of a family.
    fn field(&mut self, bytes: &[u8], tally: &mut Tally) -> Read<usize> {
        const NAME: u64 = 1;
        const METRIC: u64 = 4;
        if let Some((number, header, length)) = header_of_bytes(bytes) {
            let Some(left) = header.checked_add(length).and_then(|all| self.family_left.checked_sub(all)) else {
                return Read::Broken;
            };
            if !matches!(number, NAME | METRIC) || length > LONGEST as u64 {
                if number == METRIC {
                    tally.exposed += 1;
                    tally.pass_over();
                }
                (self.family_left, self.skip) = (left, length);
                return usize::try_from(header).map_or(Read::Broken, Read::Done);
            }
        }
        match field(bytes) {
            Read::Done((field, read)) => {
                let Some(left) = self.family_left.checked_sub(read as u64) else { return Read::Broken };
                self.family_left = left;
                match field {
                    Field::Bytes(NAME, name) => self.name = String::from_utf8_lossy(name).into_owned(),
                    Field::Bytes(METRIC, metric) => {
                        if metric::count(&self.name, metric, tally).is_none() {
                            return Read::Broken;
                        }
                    }
                    Field::Bytes(..) | Field::Number(..) | Field::Double(..) | Field::Other => {}
                }
                Read::Done(read)
            }
            Read::Short => Read::Short,
            Read::Broken => Read::Broken,
        }
    }
}

/// The number of a field of bytes, and the lengths of its header and of its value.
fn header_of_bytes(bytes: &[u8]) -> Option<(u64, u64, u64)> {
    let Read::Done((tag, tag_length)) = varint(bytes) else { return None };
    let Read::Done((length, length_length)) = varint(&bytes[tag_length..]) else { return None };
    (tag & 7 == 2).then_some((tag >> 3, (tag_length + length_length) as u64, length))
}

/// The field that some bytes start with, and its length.
fn field(bytes: &[u8]) -> Read<(Field<'_>, usize)> {
    let (tag, start) = match varint(bytes) {
        Read::Done(read) => read,
        Read::Short => return Read::Short,
        Read::Broken => return Read::Broken,
    };
    let (number, rest) = (tag >> 3, &bytes[start..]);
    match tag & 7 {
        0 => match varint(rest) {
            Read::Done((value, length)) => Read::Done((Field::Number(number, value), start + length)),
            Read::Short => Read::Short,
            Read::Broken => Read::Broken,
        },
        1 => match rest.first_chunk() {
            Some(double) => Read::Done((Field::Double(number, f64::from_le_bytes(*double)), start + 8)),
            None => Read::Short,
        },
        2 => match varint(rest) {
            Read::Done((length, header)) => {
                let Some(end) = usize::try_from(length).ok().and_then(|length| header.checked_add(length)) else {
                    return Read::Broken;
                };
                match rest.get(header..end) {
                    Some(value) => Read::Done((Field::Bytes(number, value), start + end)),
                    None => Read::Short,
                }
            }
            Read::Short => Read::Short,
            Read::Broken => Read::Broken,
        },
        5 if rest.len() >= 4 => Read::Done((Field::Other, start + 4)),
        5 => Read::Short,
        _ => Read::Broken,
    }
}

/// The fields of a whole message; none for one that makes no sense.
fn fields(mut message: &[u8]) -> impl Iterator<Item = Option<Field<'_>>> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        match field(message) {
            Read::Done((field, read)) => {
                message = &message[read..];
                Some(Some(field))
            }
            Read::Short | Read::Broken => {
                message = &[];
                Some(None)
            }
        }
    })
}

/// A number of up to ten bytes, seven bits each, and its length.
fn varint(bytes: &[u8]) -> Read<(u64, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().enumerate().take(10) {
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            return Read::Done((value, i + 1));
        }
    }
    if bytes.len() < 10 { Read::Short } else { Read::Broken }
}
