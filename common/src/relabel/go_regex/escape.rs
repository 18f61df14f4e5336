//! Escapes that stand for one character: `\n`, `\.`, `\101`, `\x{10FFFF}`.

use super::error;
use crate::relabel::BadRule;

pub(super) const BAD_ESCAPE: &str = "invalid escape sequence";

/// The length and the character code of the escape that a text starts with.
pub(super) fn parse(text: &str) -> Result<(usize, u32), BadRule> {
    let mut rest = text[1..].chars();
    let Some(c) = rest.next() else {
        return error("trailing backslash at end of expression", "");
    };
    let after = rest.as_str();
    let code = match c {
        // A single digit but zero would be a back-reference, which Go has not.
        '1'..='7' if !after.starts_with(is_octal) => None,
        '0'..='7' => {
            let digits = 1 + after.bytes().take(2).take_while(|b| is_octal(char::from(*b))).count();
            rest = text[1 + digits..].chars();
            u32::from_str_radix(&text[1..=digits], 8).ok()
        }
        'x' => hexadecimal(&mut rest),
        'a' => Some(0x07),
        'f' => Some(0x0c),
        'n' => Some(0x0a),
        'r' => Some(0x0d),
        't' => Some(0x09),
        'v' => Some(0x0b),
        _ if c.is_ascii() && !c.is_ascii_alphanumeric() => Some(u32::from(c)),
        _ => None,
    };
    let length = text.len() - rest.as_str().len();
    match code {
        Some(code) => Ok((length, code)),
        None => error(BAD_ESCAPE, &text[..length]),
    }
}

/// What follows `\x`: two digits, or any number of them in braces.
fn hexadecimal(rest: &mut std::str::Chars<'_>) -> Option<u32> {
    let first = rest.next()?;
    if first != '{' {
        let high = first.to_digit(16);
        let low = rest.next()?.to_digit(16)?;
        return Some(high? * 16 + low);
    }
    let mut code = None;
    loop {
        match rest.next()? {
            '}' => return code,
            digit => {
                let next = code.unwrap_or(0) * 16 + digit.to_digit(16)?;
                code = Some(next).filter(|code| *code <= u32::from(char::MAX));
                code?;
            }
        }
    }
}

fn is_octal(c: char) -> bool {
    ('0'..='7').contains(&c)
}
