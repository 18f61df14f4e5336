//! Character classes: `[a-z]`, `[[:alpha:]]`, `\d`, `\pL`, `\p{Greek}`.

use std::fmt::Write as _;

use super::{error, escape};
use crate::relabel::BadRule;

const BAD_RANGE: &str = "invalid character class range";
const MISSING_BRACKET: &str = "missing closing ]";

/// `\d` and its like, which are ASCII in Go; `\s` is without the vertical tab.
pub(super) fn perl(letter: char) -> Option<&'static str> {
    Some(match letter {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\x0c\r\x20]",
        'S' => r"[^\t\n\x0c\r\x20]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// The class between brackets that a text starts with: its length, and the class in Rust's words.
pub(super) fn bracketed(text: &str) -> Result<(usize, String), BadRule> {
    let mut rest = &text[1..];
    let mut written = String::from("[");
    if let Some(after) = rest.strip_prefix('^') {
        rest = after;
        written.push('^');
    }
    let mut first = true;
    // A bracket that comes first is a member of the class.
    while first || !rest.starts_with(']') {
        first = false;
        if let Some((length, class)) = posix(rest)? {
            written.push_str(&class);
            rest = &rest[length..];
            continue;
        }
        if rest.starts_with(r"\p") || rest.starts_with(r"\P") {
            let (length, class) = unicode(rest)?;
            written.push_str(&class);
            rest = &rest[length..];
            continue;
        }
        if let Some(class) = rest.strip_prefix('\\').and_then(|escaped| perl(escaped.chars().next()?)) {
            written.push_str(class);
            rest = &rest[2..];
            continue;
        }
        let range_from = rest;
        let (length, low) = member(rest, text)?;
        rest = &rest[length..];
        let mut high = low;
        // `[a-]` is an `a` or a dash.
        if rest.starts_with('-') && rest.len() >= 2 && !rest.starts_with("-]") {
            let (length, code) = member(&rest[1..], text)?;
            rest = &rest[1 + length..];
            high = code;
            if high < low {
                return error(BAD_RANGE, &range_from[..range_from.len() - rest.len()]);
            }
        }
        push_range(&mut written, low, high);
    }
    written.push(']');
    if written == "[]" {
        // Nothing but surrogates, which no text contains.
        written = super::literal(0xd800);
    } else if written == "[^]" {
        written = "(?s:.)".to_owned();
    }
    Ok((text.len() - rest.len() + 1, written))
}

/// One member of a class: its length and code.
fn member(rest: &str, class: &str) -> Result<(usize, u32), BadRule> {
    match rest.chars().next() {
        None => error(MISSING_BRACKET, class),
        Some('\\') => escape::parse(rest),
        Some(c) => Ok((c.len_utf8(), u32::from(c))),
    }
}

/// Writes a range, without the surrogates that Go lets one name.
fn push_range(written: &mut String, low: u32, high: u32) {
    const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;
    let low = if SURROGATES.contains(&low) { 0xe000 } else { low };
    let high = if SURROGATES.contains(&high) { 0xd7ff } else { high };
    if low <= high {
        // Writing to a string does not fail.
        write!(written, r"\x{{{low:x}}}-\x{{{high:x}}}").unwrap_or_default();
    }
}

/// `[:alpha:]` or `[:^alpha:]`, when the text starts with one.
fn posix(text: &str) -> Result<Option<(usize, String)>, BadRule> {
    let Some(length) = text.strip_prefix("[:").and_then(|after| after.find(":]")) else { return Ok(None) };
    let (name, length) = (&text[2..2 + length], length + 4);
    let (not, name) = match name.strip_prefix('^') {
        Some(name) => ("^", name),
        None => ("", name),
    };
    let members = match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "ascii" => r"\x00-\x7f",
        "blank" => r"\t\x20",
        "cntrl" => r"\x00-\x1f\x7f",
        "digit" => "0-9",
        "graph" => r"\x21-\x7e",
        "lower" => "a-z",
        "print" => r"\x20-\x7e",
        "punct" => r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
        "space" => r"\t\n\x0b\x0c\r\x20",
        "upper" => "A-Z",
        "word" => "0-9A-Za-z_",
        "xdigit" => "0-9A-Fa-f",
        _ => return error(BAD_RANGE, &text[..length]),
    };
    Ok(Some((length, format!("[{not}{members}]"))))
}

/// The Unicode class that a text starts with: `\pL`, `\p{Greek}`, `\P{^Greek}`. Go knows general categories and
/// scripts, but neither other properties nor `Script=Greek`.
pub(super) fn unicode(text: &str) -> Result<(usize, String), BadRule> {
    let Some(letter) = text[2..].chars().next() else { return error(BAD_RANGE, text) };
    let (name, length) = if letter == '{' {
        let Some(end) = text.find('}') else { return error(BAD_RANGE, text) };
        (&text[3..end], end + 1)
    } else {
        (&text[2..2 + letter.len_utf8()], 2 + letter.len_utf8())
    };
    let (negated, name) = match name.strip_prefix('^') {
        Some(name) => (text.starts_with(r"\p"), name),
        None => (text.starts_with(r"\P"), name),
    };
    let Some(members) = unicode_members(name) else { return error(BAD_RANGE, &text[..length]) };
    Ok((length, format!("[{}{members}]", if negated { "^" } else { "" })))
}

fn unicode_members(name: &str) -> Option<String> {
    const CATEGORIES: &[&str] = &[
        "L", "Ll", "Lm", "Lo", "Lt", "Lu", "M", "Mc", "Me", "Mn", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Pe", "Pf",
        "Pi", "Po", "Ps", "S", "Sc", "Sk", "Sm", "So", "Z", "Zl", "Zp", "Zs", "Cc", "Cf", "Co",
    ];
    match name {
        "Any" => Some(r"\x{0}-\x{10ffff}".to_owned()),
        // Without the codes that are not assigned, which Rust counts to it.
        "C" => Some(r"\p{Cc}\p{Cf}\p{Co}".to_owned()),
        // Surrogates, which no text contains.
        "Cs" => Some(r"a&&b".to_owned()),
        _ if CATEGORIES.contains(&name) => Some(format!(r"\p{{{name}}}")),
        _ => {
            let script = format!(r"\p{{Script={name}}}");
            let may_be_script = name.len() > 2 && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            (may_be_script && regex::Regex::new(&script).is_ok()).then_some(script)
        }
    }
}
