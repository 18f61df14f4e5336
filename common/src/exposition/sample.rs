//! The labels of one sample of a text format: `name{label="value"} 1`, `{"utf8.name", label="value"} 1`.

use std::borrow::Cow;

use memchr::memchr2;

use super::kept::Judge;

/// Whether the sample of a line is kept. One that is malformed counts as kept.
pub(super) fn is_kept(line: &[u8], judge: &mut Judge) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return true };
    let (name, _) = split_name(line);
    let by_name = if name.is_empty() { None } else { judge.keeps_all_of(name) };
    by_name.unwrap_or_else(|| read_labels(line, judge).is_none() || judge.keeps())
}

/// The metric of a line's sample; none when that is malformed.
pub(super) fn metric(line: &[u8]) -> Option<Cow<'_, str>> {
    let (name, rest) = split_name(std::str::from_utf8(line).ok()?);
    if !name.is_empty() {
        return Some(name.into());
    }
    // A name that is not a plain one stands in quotes among the labels, first unless someone wrote it by hand.
    let quoted = skip_blanks(rest.strip_prefix('{')?).strip_prefix('"')?;
    let (name, after) = split_quoted(quoted)?;
    (!skip_blanks(after).starts_with('=')).then_some(name)
}

/// Reads the labels of a line's sample; none when it is malformed.
pub(super) fn read_labels(line: &str, judge: &mut Judge) -> Option<()> {
    judge.begin();
    let (name, rest) = split_name(line);
    if !name.is_empty() {
        judge.set_name(name);
    }
    let Some(mut rest) = skip_blanks(rest).strip_prefix('{') else { return Some(()) };
    loop {
        rest = skip_blanks(rest);
        if rest.starts_with('}') {
            return Some(());
        }
        let quoted = rest.strip_prefix('"');
        let (name, after) = match quoted {
            Some(quoted) => split_quoted(quoted)?,
            None => {
                let (name, after) = rest.split_at(rest.find(['=', ' ', '\t'])?);
                (name.into(), after)
            }
        };
        rest = skip_blanks(after);
        if let Some(value) = rest.strip_prefix('=') {
            let (value, after) = split_quoted(skip_blanks(value).strip_prefix('"')?)?;
            judge.set(&name, &value);
            rest = skip_blanks(after);
        } else if quoted.is_some() {
            // A quoted name without a value is the metric's.
            judge.set_name(&name);
        } else {
            return None;
        }
        // Prometheus does not insist on the comma.
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}

/// The metric's name, when it stands before the labels, and what follows it.
fn split_name(line: &str) -> (&str, &str) {
    let line = skip_blanks(line);
    line.split_at(line.find([' ', '\t', '{']).unwrap_or(line.len()))
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// The text up to the closing quote, unescaped, and what follows the quote. An escape that is none stays as it is.
fn split_quoted(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let bytes = text.as_bytes();
    let mut end = memchr2(b'"', b'\\', bytes)?;
    if bytes[end] == b'"' {
        return Some((text[..end].into(), &text[end + 1..]));
    }
    let mut unescaped = String::new();
    let mut start = 0;
    while bytes[end] == b'\\' {
        let (character, from) = match bytes.get(end + 1)? {
            b'n' => ("\n", end + 2),
            b'"' => ("\"", end + 2),
            b'\\' => ("\\", end + 2),
            _ => ("\\", end + 1),
        };
        unescaped.push_str(&text[start..end]);
        unescaped.push_str(character);
        start = from;
        end = from + memchr2(b'"', b'\\', &bytes[from..])?;
    }
    unescaped.push_str(&text[start..end]);
    Some((unescaped.into(), &text[end + 1..]))
}
