//! Go's regex dialect (RE2, as `regexp/syntax` parses it with Perl flags), translated to that of Rust's regex crate.
//!
//! Both engines match the same way, leftmost-first and in linear time, but their languages differ: `\d`, `\w`, `\s` and
//! `\b` are ASCII in Go; `[a&&b]` is a set operation in Rust; `/api/{id}`, `\Q…\E`, `\101` and duplicate group names are
//! Go only; `a++`, `(?x)` and `x{1001}` are Rust only. So the pattern is parsed as Go would, with Go's errors, and
//! written out so that Rust cannot mean anything else: every atom carries its own flags, every group is unnamed.

mod class;
mod escape;
#[cfg(test)]
mod tests;

use super::BadRule;

/// A Go pattern in Rust's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Translated {
    /// The pattern for Rust's regex crate. Its groups are numbered as Go's, and unnamed.
    pub(super) pattern: String,
    /// The names of the groups, the whole match first. A name may occur more than once.
    pub(super) group_names: Vec<Option<String>>,
}

/// Translates a pattern.
///
/// # Errors
/// When Go would refuse it, in Go's words: ``error parsing regexp: missing closing ): `(a` ``.
pub(super) fn translate(pattern: &str) -> Result<Translated, BadRule> {
    let mut translator = Translator {
        whole: pattern,
        rest: pattern,
        out: String::with_capacity(pattern.len() * 2),
        flags: Flags::default(),
        levels: vec![Level { start: 0, flags_outside: Flags::default(), atom: None, repeats: 0 }],
        last_repeat: None,
        group_names: vec![None],
    };
    translator.run()?;
    Ok(Translated { pattern: translator.out, group_names: translator.group_names })
}

/// Go allows a thing to be repeated so often at most, nested repetitions multiplied.
const MAX_REPEATS: u32 = 1000;

const BAD_NAME: &str = "invalid named capture";
const BAD_PERL: &str = "invalid or unsupported Perl syntax";
const BAD_REPEAT_COUNT: &str = "invalid repeat count";
const MISSING_ARGUMENT: &str = "missing argument to repetition operator";
const MISSING_PAREN: &str = "missing closing )";
const NESTED_REPEAT: &str = "invalid nested repetition operator";
const UNEXPECTED_PAREN: &str = "unexpected )";

fn error<T>(what: &str, at: &str) -> Result<T, BadRule> {
    Err(BadRule::Invalid(format!("error parsing regexp: {what}: `{at}`")))
}

/// What `(?imsU)` switches.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
    swap_greed: bool,
}

/// A parenthesis that is open, or the whole pattern.
struct Level {
    /// Where it starts in what is written.
    start: usize,
    /// The flags that hold again after it.
    flags_outside: Flags,
    /// What a repetition operator would repeat.
    atom: Option<Atom>,
    /// The most repetitions nested in what comes before that.
    repeats: u32,
}

impl Level {
    /// What is read next is something else: nothing repeats the last atom any more.
    fn pass_atom(&mut self) {
        self.repeats = self.most_repeats();
        self.atom = None;
    }

    /// The most repetitions nested in it.
    fn most_repeats(&self) -> u32 {
        self.atom.map_or(0, |atom| atom.repeats).max(self.repeats)
    }
}

/// The last thing written that can be repeated.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    end: usize,
    repeated: bool,
    repeats: u32,
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    flags: Flags,
    levels: Vec<Level>,
    /// From the repetition operator on, when the last thing read is one.
    last_repeat: Option<&'a str>,
    group_names: Vec<Option<String>>,
}

impl<'a> Translator<'a> {
    fn run(&mut self) -> Result<(), BadRule> {
        while let Some(c) = self.rest.chars().next() {
            let last_repeat = self.last_repeat.take();
            match c {
                '(' if self.rest.starts_with("(?") => self.perl_group()?,
                '(' => {
                    self.group_names.push(None);
                    self.rest = &self.rest[1..];
                    self.open("(");
                }
                ')' => self.close()?,
                '|' => {
                    self.rest = &self.rest[1..];
                    self.out.push('|');
                    self.level().pass_atom();
                }
                '*' | '+' | '?' => self.repeat(1, Repeat::of_operator(c), last_repeat)?,
                '{' => match Repeat::parse(self.rest) {
                    Some((length, repeat)) => self.repeat(length, repeat, last_repeat)?,
                    None => self.take_literal(c),
                },
                '^' => self.take(1, if self.flags.multi_line { "(?m:^)" } else { r"\A" }),
                '$' => self.take(1, if self.flags.multi_line { "(?m:$)" } else { r"\z" }),
                '.' => self.take(1, if self.flags.dot_matches_newline { "(?s:.)" } else { r"[^\n]" }),
                '[' => {
                    let (length, class) = class::bracketed(self.rest)?;
                    self.take_folding(length, &class);
                }
                '\\' => self.escape()?,
                _ => self.take_literal(c),
            }
        }
        if self.levels.len() > 1 { error(MISSING_PAREN, self.whole) } else { Ok(()) }
    }

    /// Reads so many bytes and writes an atom for them.
    fn take(&mut self, length: usize, written: &str) {
        self.rest = &self.rest[length..];
        self.atom(written);
    }

    fn take_folding(&mut self, length: usize, written: &str) {
        if self.flags.ignore_case {
            self.take(length, &format!("(?i:{written})"));
        } else {
            self.take(length, written);
        }
    }

    fn take_literal(&mut self, c: char) {
        self.take_folding(c.len_utf8(), &literal(u32::from(c)));
    }

    fn atom(&mut self, written: &str) {
        let start = self.out.len();
        self.out.push_str(written);
        let end = self.out.len();
        self.put_atom(Atom { start, end, repeated: false, repeats: 0 });
    }

    fn put_atom(&mut self, atom: Atom) {
        let level = self.level();
        level.pass_atom();
        level.atom = Some(atom);
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            // Closing a parenthesis leaves the whole pattern's level alone, so this does not happen.
            self.levels.push(Level { start: 0, flags_outside: self.flags, atom: None, repeats: 0 });
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn open(&mut self, written: &str) {
        self.levels.push(Level { start: self.out.len(), flags_outside: self.flags, atom: None, repeats: 0 });
        self.out.push_str(written);
    }

    fn close(&mut self) -> Result<(), BadRule> {
        if self.levels.len() < 2 {
            return error(UNEXPECTED_PAREN, self.whole);
        }
        self.rest = &self.rest[1..];
        self.out.push(')');
        if let Some(level) = self.levels.pop() {
            self.flags = level.flags_outside;
            let end = self.out.len();
            self.put_atom(Atom { start: level.start, end, repeated: false, repeats: level.most_repeats() });
        }
        Ok(())
    }

    /// `(?:…)`, `(?i)`, `(?i-s:…)`, `(?P<name>…)`, `(?<name>…)`.
    fn perl_group(&mut self) -> Result<(), BadRule> {
        if let Some(name) = self.rest.strip_prefix("(?P<").or_else(|| self.rest.strip_prefix("(?<")) {
            let Some(length) = name.find('>') else { return error(BAD_NAME, self.rest) };
            let (name, after) = (&name[..length], &name[length + 1..]);
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                return error(BAD_NAME, &self.rest[..self.rest.len() - after.len()]);
            }
            self.group_names.push(Some(name.to_owned()));
            self.rest = after;
            self.open("(");
            return Ok(());
        }
        let mut flags = self.flags;
        let (mut on, mut saw_flag) = (true, false);
        for (at, c) in self.rest.char_indices().skip(2) {
            match c {
                'i' => flags.ignore_case = on,
                'm' => flags.multi_line = on,
                's' => flags.dot_matches_newline = on,
                'U' => flags.swap_greed = on,
                '-' if on => {
                    (on, saw_flag) = (false, false);
                    continue;
                }
                ':' | ')' if on || saw_flag => {
                    self.rest = &self.rest[at + 1..];
                    if c == ':' {
                        self.open("(?:");
                    }
                    self.flags = flags;
                    return Ok(());
                }
                _ => return error(BAD_PERL, &self.rest[..at + c.len_utf8()]),
            }
            saw_flag = true;
        }
        error(MISSING_PAREN, self.rest)
    }

    fn escape(&mut self) -> Result<(), BadRule> {
        let escaped = self.rest[1..].chars().next();
        match escaped {
            Some('A') => self.take(2, r"\A"),
            Some('z') => self.take(2, r"\z"),
            Some('b') => self.take(2, r"(?-u:\b)"),
            Some('B') => self.take(2, r"(?-u:\B)"),
            Some('C') => return error(escape::BAD_ESCAPE, &self.rest[..2]),
            Some('Q') => {
                let (quoted, after) = self.rest[2..].split_once(r"\E").unwrap_or((&self.rest[2..], ""));
                for c in quoted.chars() {
                    self.take_folding(0, &literal(u32::from(c)));
                }
                self.rest = after;
            }
            Some('p' | 'P') => {
                let (length, class) = class::unicode(self.rest)?;
                self.take_folding(length, &class);
            }
            Some(c) if class::perl(c).is_some() => self.take_folding(2, class::perl(c).unwrap_or_default()),
            Some(_) | None => {
                let (length, code) = escape::parse(self.rest)?;
                self.take_folding(length, &literal(code));
            }
        }
        Ok(())
    }

    /// A repetition operator of so many bytes, and the `?` behind it.
    fn repeat(&mut self, length: usize, repeat: Repeat, last: Option<&'a str>) -> Result<(), BadRule> {
        let from = self.rest;
        self.rest = &from[length..];
        if !repeat.is_small_enough() {
            return error(BAD_REPEAT_COUNT, &from[..length]);
        }
        let lazy = match self.rest.strip_prefix('?') {
            Some(after) => {
                self.rest = after;
                true
            }
            None => false,
        } != self.flags.swap_greed;
        if let Some(last) = last {
            return error(NESTED_REPEAT, &last[..last.len() - self.rest.len()]);
        }
        let read = &from[..from.len() - self.rest.len()];
        let Some(mut atom) = self.level().atom else { return error(MISSING_ARGUMENT, read) };

        let repeats = repeat.nested(atom.repeats);
        if repeat.is_counted() && repeats > MAX_REPEATS {
            return error(BAD_REPEAT_COUNT, read);
        }
        if atom.repeated {
            // Two operators with flags between them, as in `a*(?i)*`: each needs parentheses of its own in Rust.
            self.out.insert(atom.end, ')');
            self.out.insert_str(atom.start, "(?:");
            atom.end += "(?:)".len();
        }
        let written = repeat.written(lazy);
        self.out.insert_str(atom.end, &written);
        atom = Atom { end: atom.end + written.len(), repeated: true, repeats, ..atom };
        self.level().atom = Some(atom);
        self.last_repeat = Some(from);
        Ok(())
    }
}

/// How often something is repeated; no `max` is any number of times.
#[derive(Clone, Copy)]
struct Repeat {
    min: u32,
    max: Option<u32>,
    operator: Option<char>,
}

impl Repeat {
    const fn of_operator(operator: char) -> Self {
        Self { min: 0, max: None, operator: Some(operator) }
    }

    /// `{2}`, `{2,}` or `{2,3}` with its length; anything else is not a repetition and the brace a literal.
    fn parse(text: &str) -> Option<(usize, Self)> {
        let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
        let (min, max) = match inside.split_once(',') {
            None => (number(inside)?, Some(number(inside)?)),
            Some((min, "")) => (number(min)?, None),
            Some((min, max)) => (number(min)?, Some(number(max)?)),
        };
        Some((inside.len() + 2, Self { min, max, operator: None }))
    }

    fn is_small_enough(self) -> bool {
        self.min <= MAX_REPEATS && self.max.is_none_or(|max| max <= MAX_REPEATS && self.min <= max)
    }

    /// Whether Go counts it against the limit.
    fn is_counted(self) -> bool {
        self.operator.is_none() && (self.min >= 2 || self.max.is_some_and(|max| max >= 2))
    }

    /// The repetitions of something that itself nests so many.
    fn nested(self, inner: u32) -> u32 {
        match self.operator {
            Some(_) => inner,
            None => self.max.unwrap_or(self.min).saturating_mul(inner.max(1)),
        }
    }

    fn written(self, lazy: bool) -> String {
        let mut written = match (self.operator, self.max) {
            (Some(operator), _) => operator.to_string(),
            (None, Some(max)) => format!("{{{},{max}}}", self.min),
            (None, None) => format!("{{{},}}", self.min),
        };
        if lazy {
            written.push('?');
        }
        written
    }
}

/// A number without leading zeros; too large a one is as large as can be.
fn number(text: &str) -> Option<u32> {
    let well_formed = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    (well_formed && !text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX))
}

/// One character of a text, by its code; Go lets one write a surrogate, which no text contains.
fn literal(code: u32) -> String {
    match char::from_u32(code) {
        Some(c) if c.is_ascii_alphanumeric() || !c.is_ascii() => c.to_string(),
        Some(_) => format!(r"\x{{{code:x}}}"),
        None => r"[^\x{0}-\x{10ffff}]".to_owned(),
    }
}
