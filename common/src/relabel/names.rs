//! Which label names, and templates of label names, are valid.

use crate::semantics::NameValidation;

/// Whether this is a label name.
#[must_use]
pub fn is_valid(name: &str, names: NameValidation) -> bool {
    match names {
        NameValidation::Utf8 => !name.is_empty(),
        NameValidation::Legacy => {
            name.bytes().enumerate().all(|(i, b)| is_word(b) && (i > 0 || !b.is_ascii_digit())) && !name.is_empty()
        }
    }
}

/// Whether this is a label name in which `$1`, `${1}` or `${name}` may stand. UTF-8 names need no rule of their own,
/// because `$`, `{` and `}` may be part of them.
pub(super) fn is_valid_template(template: &str, names: NameValidation) -> bool {
    match names {
        NameValidation::Utf8 => !template.is_empty(),
        NameValidation::Legacy => is_legacy_template(template.as_bytes()),
    }
}

/// Whether `^(?:(?:[a-zA-Z_]|\$(?:\{\w+\}|\w+))+\w*)+$` matches: a name whose letters may be variables.
fn is_legacy_template(template: &[u8]) -> bool {
    let mut rest = template;
    let mut may_start_with_digit = false;
    while let Some((&first, after)) = rest.split_first() {
        rest = match first {
            b'$' => match after.split_first() {
                Some((b'{', name)) => match skip_word(name) {
                    Some([b'}', after @ ..]) => after,
                    Some(_) | None => return false,
                },
                Some(_) | None => match skip_word(after) {
                    Some(after) => after,
                    None => return false,
                },
            },
            digit if digit.is_ascii_digit() && !may_start_with_digit => return false,
            letter if is_word(letter) => after,
            _ => return false,
        };
        may_start_with_digit = true;
    }
    !template.is_empty()
}

/// What follows a word of at least one letter, digit or underscore.
fn skip_word(text: &[u8]) -> Option<&[u8]> {
    let length = text.iter().take_while(|b| is_word(**b)).count();
    (length > 0).then(|| &text[length..])
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_legacy_name_is_letters_digits_and_underscores() {
        for (name, valid) in [("a_1", true), ("_", true), ("1a", false), ("a.b", false), ("", false), ("ä", false)] {
            assert_eq!(is_valid(name, NameValidation::Legacy), valid, "{name:?}");
        }
    }

    #[test]
    fn a_template_is_a_name_with_variables() {
        for (template, valid) in [
            ("label", true),
            ("label${1}", true),
            ("${1}label", true),
            ("$1", true),
            ("a$1$b", true),
            ("${1}2", true),
            ("foo${bar}foo", true),
            ("-label", false),
            ("1label", false),
            ("$", false),
            ("$-", false),
            ("${", false),
            ("${}", false),
            ("foo${", false),
            ("-foo${1}bar-", false),
            ("bar.foo${1}bar", false),
            ("", false),
        ] {
            assert_eq!(is_valid_template(template, NameValidation::Legacy), valid, "{template:?}");
        }
    }
}
