//! Upper and lower case as Go's `strings.ToUpper` and `strings.ToLower` map it: every letter to one letter, whatever
//! stands around it. Rust's own functions map `ß` to `SS`.

/// Every letter in upper case.
pub(super) fn to_upper(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_uppercase();
    }
    text.chars().map(upper).collect()
}

/// Every letter in lower case.
pub(super) fn to_lower(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.chars().map(lower).collect()
}

fn upper(letter: char) -> char {
    if let Some(one) = only(letter.to_uppercase()) {
        return one;
    }
    match letter {
        // Greek with iota subscript: the letter of title case stands in for upper case.
        '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => {
            char::from_u32(u32::from(letter) + 8).unwrap_or(letter)
        }
        '\u{1fb3}' => '\u{1fbc}',
        '\u{1fc3}' => '\u{1fcc}',
        '\u{1ff3}' => '\u{1ffc}',
        _ => letter,
    }
}

fn lower(letter: char) -> char {
    match letter {
        '\u{130}' => 'i',
        _ => only(letter.to_lowercase()).unwrap_or(letter),
    }
}

fn only(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_becomes_one_letter() {
        assert_eq!(to_upper("bAr123Foo"), "BAR123FOO");
        assert_eq!(to_upper("straße ǆ ﬁ ᾳ ᾀ"), "STRAßE Ǆ ﬁ ᾼ ᾈ");
        assert_eq!(to_lower("ÄÖ İ ΟΔΟΣ"), "äö i οδοσ");
    }
}
