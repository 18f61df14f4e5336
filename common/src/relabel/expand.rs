//! Templates such as `ch${1}-$name`, filled in as Go's `Regexp.Expand` does.

use std::sync::LazyLock;

use regex::Regex;

/// A template, taken apart once.
#[derive(Clone, Debug)]
pub(super) struct Template {
    parts: Vec<Part>,
    literal: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// The groups that may stand here: the first of them that took part in the match does.
    Groups(Vec<usize>),
}

/// The longest name a `$` may be followed by: Go's `unicode.IsLetter`, `unicode.IsDigit` and the underscore.
static NAME: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\A[\p{L}\p{Nd}_]+").ok());

impl Template {
    /// Takes a template apart; `group_names` are the names of the regex' groups, the whole match first.
    pub(super) fn new(template: &str, group_names: &[Option<String>]) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('$') {
            text.push_str(before);
            if let Some(after) = after.strip_prefix('$') {
                text.push('$');
                rest = after;
            } else if let Some((name, after)) = split_name(after) {
                if !text.is_empty() {
                    parts.push(Part::Literal(std::mem::take(&mut text)));
                }
                parts.push(Part::Groups(groups(name, group_names)));
                rest = after;
            } else {
                // Malformed: the dollar stands for itself.
                text.push('$');
                rest = after;
            }
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Literal(text));
        }
        // A group that does not exist is empty, and so is a template without parts.
        parts.retain(|part| *part != Part::Groups(Vec::new()));
        let literal = match parts.as_slice() {
            [] => Some(String::new()),
            [Part::Literal(text)] => Some(text.clone()),
            [Part::Groups(_)] | [_, _, ..] => None,
        };
        Self { parts, literal }
    }

    /// The text, when it is the same for every match.
    pub(super) fn literal(&self) -> Option<&str> {
        self.literal.as_deref()
    }

    /// The text of one match, given its groups by number.
    pub(super) fn expand<'a>(&'a self, group: impl Fn(usize) -> Option<&'a str>) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Groups(groups) => text.push_str(groups.iter().find_map(|i| group(*i)).unwrap_or_default()),
            }
        }
        text
    }
}

/// The name behind a `$`, braces taken off, and what follows.
fn split_name(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('{');
    let text = braced.unwrap_or(text);
    let end = NAME.as_ref()?.find(text)?.end();
    let (name, rest) = text.split_at(end);
    match braced {
        Some(_) => Some((name, rest.strip_prefix('}')?)),
        None => Some((name, rest)),
    }
}

/// The groups that a name stands for: one by its number, or all of that name.
fn groups(name: &str, group_names: &[Option<String>]) -> Vec<usize> {
    let is_number = name.bytes().all(|b| b.is_ascii_digit()) && (name.len() == 1 || !name.starts_with('0'));
    if is_number {
        return name.parse().ok().filter(|i| *i < group_names.len()).into_iter().collect();
    }
    (0..group_names.len()).filter(|i| group_names[*i].as_deref() == Some(name)).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("ch${1}-ch$1", "chA-chA")]
    #[case::longest_name("$1x", "")]
    #[case::letters_of_any_script("$1é.", ".")]
    #[case::braces_end_a_name("${1}x", "Ax")]
    #[case::whole_match("<$0>", "<A-B>")]
    #[case::named("$second ${second}", "B B")]
    #[case::first_of_a_name_that_matched("$twice", "B")]
    #[case::dollar("$$1 $", "$1 $")]
    #[case::malformed("${1 $- ${} ${-}", "${1 $- ${} ${-}")]
    #[case::unknown_group("a${7}b${no}c", "abc")]
    #[case::leading_zero_is_a_name("${01}", "")]
    #[case::group_without_part_in_the_match("[$3]", "[]")]
    fn a_template_is_filled_in_as_go_does(#[case] template: &str, #[case] expected: &str) {
        let names = [None, None, Some("second".into()), Some("twice".into()), Some("twice".into())];
        let groups = [Some("A-B"), Some("A"), Some("B"), None, Some("B")];
        assert_eq!(Template::new(template, &names).expand(|i| groups[i]), expected);
    }

    #[test]
    fn a_template_without_groups_is_literal() {
        assert_eq!(Template::new("a$$b", &[None]).literal(), Some("a$b"));
        assert_eq!(Template::new("${9}", &[None]).literal(), Some(""));
        assert_eq!(Template::new("$0", &[None]).literal(), None);
    }
}
