//! The text formats, line by line: a line that is neither blank nor a comment is a sample.

use memchr::memchr;

use super::{LONGEST, Tally, sample};

/// Where in a body we are.
#[derive(Debug, Default)]
pub(super) struct Lines {
    place: Place,
    /// The beginning of the line, when it is to be looked at and came in an earlier piece.
    begun: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    /// Nothing but blanks so far.
    #[default]
    LineStart,
    /// In a sample that must be read.
    Sample,
    /// In a line whose rest does not matter.
    Rest,
}

impl Lines {
    pub(super) fn feed(&mut self, mut piece: &[u8], tally: &mut Tally) {
        while !piece.is_empty() {
            match self.place {
                Place::LineStart => {
                    let Some(start) = piece.iter().position(|b| !matches!(b, b' ' | b'\t')) else { return };
                    piece = &piece[start..];
                    match piece[0] {
                        b'\n' => piece = &piece[1..],
                        b'#' => self.place = Place::Rest,
                        _ => {
                            tally.exposed += 1;
                            self.place = if tally.looks_at_samples() { Place::Sample } else { Place::Rest };
                        }
                    }
                }
                Place::Rest => {
                    let Some(end) = memchr(b'\n', piece) else { return };
                    piece = &piece[end + 1..];
                    self.place = Place::LineStart;
                }
                Place::Sample => match memchr(b'\n', piece) {
                    Some(end) => {
                        self.end_sample(&piece[..end], tally);
                        piece = &piece[end + 1..];
                    }
                    None if self.begun.len() + piece.len() > LONGEST => {
                        tally.pass_over();
                        self.begun = Vec::new();
                        self.place = Place::Rest;
                    }
                    None => {
                        self.begun.extend_from_slice(piece);
                        return;
                    }
                },
            }
        }
    }

    pub(super) fn finish(mut self, tally: &mut Tally) {
        match self.place {
            Place::Sample => self.end_sample(&[], tally),
            Place::LineStart | Place::Rest => {}
        }
    }

    /// A sample's line is complete.
    fn end_sample(&mut self, rest: &[u8], tally: &mut Tally) {
        self.place = Place::LineStart;
        let line = if self.begun.is_empty() {
            rest
        } else {
            self.begun.extend_from_slice(rest);
            &self.begun
        };
        // A line that is too long counts as kept, however it was cut into pieces.
        if line.len() > LONGEST {
            tally.pass_over();
        } else {
            let kept = tally.judge.as_mut().is_none_or(|judge| sample::is_kept(line, judge));
            tally.kept += u64::from(kept);
            if let Some(names) = &mut tally.names {
                if names.goes_on_in(line) {
                    names.count_on(kept);
                } else {
                    names.count(&sample::metric(line).unwrap_or_default(), kept);
                }
            }
        }
        self.begun.clear();
    }
}
