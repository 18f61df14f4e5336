//! Whether a value matches a rule's regex, and what its groups are: with the regexes most rules have recognized, so
//! that they cost no more than a comparison.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::{BadRule, expand::Template, go_regex};
use crate::semantics::PrometheusVersion;

/// A regex that the whole value must match.
#[derive(Clone, Debug)]
pub(super) struct Matcher {
    kind: Kind,
    group_names: Vec<Option<String>>,
}

#[derive(Clone, Debug)]
enum Kind {
    /// `(.*)` or `(.+)`: any text of at least `min` bytes. The group, when there is one, is all of it.
    Any { min: usize, newlines: bool },
    /// Plain words between bars: `true`, `Succeeded|Failed`.
    Words(Vec<String>),
    /// Everything else.
    Regex(Regex),
}

/// Go refuses programs above some 128 MiB; large alternations of names need more than the regex crate's 10 MiB.
const SIZE_LIMIT: usize = 64 << 20;

impl Matcher {
    /// Compiles a regex in Go's dialect, anchored at both ends as the version does it.
    pub(super) fn compile(regex: &str, version: PrometheusVersion) -> Result<Self, BadRule> {
        let newlines = version.dot_matches_newline();
        if let Some((kind, groups)) = Kind::simple(regex, newlines) {
            return Ok(Self { kind, group_names: vec![None; groups + 1] });
        }
        let anchored = if newlines { format!("^(?s:{regex})$") } else { format!("^(?:{regex})$") };
        let go_regex::Translated { pattern, group_names } = go_regex::translate(&anchored)?;
        let regex = RegexBuilder::new(&pattern)
            .size_limit(SIZE_LIMIT)
            .build()
            .map_err(|_| BadRule(format!("error parsing regexp: expression too large: `{anchored}`")))?;
        Ok(Self { kind: Kind::Regex(regex), group_names })
    }

    pub(super) fn template(&self, template: &str) -> Template {
        Template::new(template, &self.group_names)
    }

    pub(super) fn is_match(&self, value: &str) -> bool {
        match &self.kind {
            Kind::Any { min, newlines } => value.len() >= *min && (*newlines || !value.contains('\n')),
            Kind::Words(words) => words.iter().any(|word| word == value),
            Kind::Regex(regex) => regex.is_match(value),
        }
    }

    /// A template filled in from a value that matches.
    pub(super) fn expand<'a>(&self, template: &'a Template, value: &'a str) -> Cow<'a, str> {
        if let Some(literal) = template.literal() {
            return Cow::Borrowed(literal);
        }
        match &self.kind {
            Kind::Any { .. } | Kind::Words(_) => Cow::Owned(template.expand(|_| Some(value))),
            Kind::Regex(regex) => match regex.captures(value) {
                Some(captures) => Cow::Owned(template.expand(|i| captures.get(i).map(|group| group.as_str()))),
                None => Cow::Borrowed(""),
            },
        }
    }
}

impl Kind {
    /// A regex that needs no engine, and how many groups it has.
    fn simple(regex: &str, newlines: bool) -> Option<(Self, usize)> {
        match regex {
            ".*" => return Some((Self::Any { min: 0, newlines }, 0)),
            "(.*)" => return Some((Self::Any { min: 0, newlines }, 1)),
            ".+" => return Some((Self::Any { min: 1, newlines }, 0)),
            "(.+)" => return Some((Self::Any { min: 1, newlines }, 1)),
            _ => {}
        }
        let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '/' | ':' | ';' | ',' | '=' | ' ' | '|');
        let words: Vec<String> = regex.split('|').map(str::to_owned).collect();
        // A long list is faster in the engine.
        (words.len() <= 8 && regex.chars().all(plain)).then_some((Self::Words(words), 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(regex: &str, value: &str) -> bool {
        Matcher::compile(regex, PrometheusVersion::V3_5).unwrap().is_match(value)
    }

    #[test]
    fn the_whole_value_must_match() {
        assert!(matches("f|o", "o") && !matches("f|o", "foo"));
        assert!(matches("", "") && !matches("", "a"));
        assert!(matches("^0$", "0") && !matches("^0$", "10"));
        assert!(matches("Succeeded|Failed", "Failed") && !matches("Succeeded|Failed", "Fail"));
        assert!(matches("(.+)", "a") && !matches("(.+)", ""));
    }

    #[test]
    fn a_dot_matches_a_newline_from_3_0_on() {
        for regex in ["(.*)", ".+", "a.*b", "a(.)b"] {
            let matches = |version| Matcher::compile(regex, version).unwrap().is_match("a\nb");
            assert!(matches(PrometheusVersion::V3_5), "{regex}");
            assert!(!matches(PrometheusVersion::V2_42), "{regex}");
        }
    }

    #[test]
    fn a_regex_that_closes_the_anchoring_group_is_taken_as_prometheus_takes_it() {
        assert!(matches("a)|(b", "ax") && matches("a)|(b", "xb") && !matches("a)|(b", "x"));
    }

    #[test]
    fn groups_are_the_same_with_and_without_the_engine() {
        for regex in ["(.*)", "(?:(.*))"] {
            let matcher = Matcher::compile(regex, PrometheusVersion::V3_5).unwrap();
            assert_eq!(matcher.expand(&matcher.template("<$0|$1|$2>"), "x"), "<x|x|>");
        }
    }
}
