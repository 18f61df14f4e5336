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

/// Large alternations of names need more than the regex crate's 10 MiB. Go allows some 128 MiB, and needs less for the
/// same: a class of letters is one instruction there. What is larger is Prometheus' own to match.
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
            .map_err(|error| BadRule::NotProvable(too_much(&error, regex)))?;
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

/// What is wrong with a regex that Go takes: its size, or mostly that it has more than the 250 levels of parentheses that
/// the regex crate can take without a deep stack.
fn too_much(error: &regex::Error, regex: &str) -> String {
    /// More of a regex is no help to anybody.
    const SHOWN: usize = 60;
    let is_large = matches!(error, regex::Error::CompiledTooBig(_));
    let what = if is_large { "is too large" } else { "is too deeply nested, or otherwise beyond Narthex" };
    let cut = if regex.chars().nth(SHOWN).is_some() { "…" } else { "" };
    format!("the regex `{}{cut}` {what}", regex.chars().take(SHOWN).collect::<String>())
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
    fn a_regex_that_is_too_large_here_is_not_said_to_be_wrong() {
        let large = r"\pL{1000}".repeat(8);
        let refused = Matcher::compile(&large, PrometheusVersion::V3_5).unwrap_err();
        let BadRule::NotProvable(why) = refused else { panic!("{refused:?}") };
        assert_eq!(why, format!("the regex `{}…` is too large", &large[..60]));
        let deep = format!("{}a{}", "(".repeat(300), ")".repeat(300));
        let refused = Matcher::compile(&deep, PrometheusVersion::V3_5).unwrap_err();
        assert!(matches!(refused, BadRule::NotProvable(_)), "Go takes a thousand levels: {refused:?}");
    }

    #[test]
    fn groups_are_the_same_with_and_without_the_engine() {
        for regex in ["(.*)", "(?:(.*))"] {
            let matcher = Matcher::compile(regex, PrometheusVersion::V3_5).unwrap();
            assert_eq!(matcher.expand(&matcher.template("<$0|$1|$2>"), "x"), "<x|x|>");
        }
    }
}
