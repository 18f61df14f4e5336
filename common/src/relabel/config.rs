//! One relabeling rule as the user wrote it, and whether Prometheus would take it.

use std::fmt;

use super::names;
use crate::semantics::{NameValidation, PrometheusVersion};

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Sets `target_label` from a match.
    Replace,
    /// Keeps what matches.
    Keep,
    /// Drops what matches.
    Drop,
    /// Keeps what equals `target_label`.
    KeepEqual,
    /// Drops what equals `target_label`.
    DropEqual,
    /// Sets `target_label` to a hash of the source, modulo `modulus`.
    HashMod,
    /// Copies labels whose names match.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
    /// Sets `target_label` to the source in lower case.
    Lowercase,
    /// Sets `target_label` to the source in upper case.
    Uppercase,
}

/// One rule as the user wrote it, with defaults applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelabelConfig {
    /// `source_labels`
    pub source_labels: Vec<String>,
    /// `separator`, `;` by default
    pub separator: String,
    /// `regex`; none is the default `(.*)` that was not written, which Prometheus tells from one that was.
    pub regex: Option<String>,
    /// `modulus`
    pub modulus: u64,
    /// `target_label`
    pub target_label: String,
    /// `replacement`, `$1` by default
    pub replacement: String,
    /// `action`; none is one that was written empty.
    pub action: Option<Action>,
    /// What of the rule is not known, where the version is newer than any that is: a field, or an action.
    pub unknown: Option<String>,
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: DEFAULT_SEPARATOR.into(),
            regex: None,
            modulus: 0,
            target_label: String::new(),
            replacement: DEFAULT_REPLACEMENT.into(),
            action: Some(Action::Replace),
            unknown: None,
        }
    }
}

const DEFAULT_SEPARATOR: &str = ";";
const DEFAULT_REPLACEMENT: &str = "$1";

/// Why a rule cannot be applied here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// Prometheus refuses it as well; in its words.
    #[error("{0}")]
    Invalid(String),
    /// Prometheus may well take it: that what is done here is what it does cannot be proved.
    #[error("{0}")]
    NotProvable(String),
}

impl Action {
    const ALL: [Self; 11] = [
        Self::Replace,
        Self::Keep,
        Self::Drop,
        Self::KeepEqual,
        Self::DropEqual,
        Self::HashMod,
        Self::LabelMap,
        Self::LabelDrop,
        Self::LabelKeep,
        Self::Lowercase,
        Self::Uppercase,
    ];

    /// The action of a word, whatever its case.
    ///
    /// # Errors
    /// When there is no such action: `unknown relabel action "x"`.
    pub fn parse(word: &str) -> Result<Self, BadRule> {
        Self::ALL
            .into_iter()
            .find(|action| action.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| BadRule::Invalid(format!("unknown relabel action {word:?}")))
    }

    /// The word of this action.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl RelabelConfig {
    /// Whether Prometheus would take this rule (`model/relabel/relabel.go`, `Config.Validate`).
    ///
    /// # Errors
    /// When it would not; the regex is checked by [`Rules::compile`](super::Rules::compile).
    pub fn validate(&self, names: NameValidation, version: PrometheusVersion) -> Result<(), BadRule> {
        if let Some(unknown) = &self.unknown {
            return Err(BadRule::NotProvable(unknown.clone()));
        }
        let refuse = |why: String| Err(BadRule::Invalid(why));
        let Some(action) = self.action else {
            return refuse("relabel action cannot be empty".into());
        };
        if action == Action::HashMod && self.modulus == 0 {
            return refuse("relabel configuration for hashmod requires non-zero modulus".into());
        }
        self.validate_target(action, names, version)?;
        match action {
            Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
                if self.replacement != DEFAULT_REPLACEMENT =>
            {
                refuse(format!("'replacement' can not be set for {action} action"))
            }
            // What makes a regex the default one is that none was written: `regex: (.*)` is refused as well.
            Action::KeepEqual | Action::DropEqual
                if self.regex.is_some() || self.modulus != 0 || self.separator != DEFAULT_SEPARATOR =>
            {
                refuse(format!("{action} action requires only 'source_labels' and `target_label`, and no other fields"))
            }
            Action::LabelMap if !names::is_valid_template(&self.replacement, names) => {
                refuse(format!("{:?} is invalid 'replacement' for {action} action", self.replacement))
            }
            Action::LabelDrop | Action::LabelKeep if self.has_more_than_a_regex() => {
                refuse(format!("{action} action requires only 'regex', and no other fields"))
            }
            Action::Replace
            | Action::Keep
            | Action::Drop
            | Action::KeepEqual
            | Action::DropEqual
            | Action::HashMod
            | Action::LabelMap
            | Action::LabelDrop
            | Action::LabelKeep
            | Action::Lowercase
            | Action::Uppercase => Ok(()),
        }
    }

    fn validate_target(
        &self,
        action: Action,
        names: NameValidation,
        version: PrometheusVersion,
    ) -> Result<(), BadRule> {
        let target = &self.target_label;
        let valid = match action {
            Action::Keep | Action::Drop | Action::LabelMap | Action::LabelDrop | Action::LabelKeep => return Ok(()),
            Action::Replace
            | Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
            | Action::KeepEqual
            | Action::DropEqual
                if target.is_empty() =>
            {
                return Err(BadRule::Invalid(format!(
                    "relabel configuration for {action} action requires 'target_label' value"
                )));
            }
            Action::Replace if target.contains('$') => names::is_valid_template(target, names),
            Action::Lowercase | Action::Uppercase | Action::KeepEqual | Action::DropEqual
                if version.confuses_templates_and_targets() =>
            {
                names::is_valid_template(target, names)
            }
            Action::Replace
            | Action::HashMod
            | Action::Lowercase
            | Action::Uppercase
            | Action::KeepEqual
            | Action::DropEqual => names::is_valid(target, names),
        };
        if valid {
            Ok(())
        } else {
            Err(BadRule::Invalid(format!("{target:?} is invalid 'target_label' for {action} action")))
        }
    }

    fn has_more_than_a_regex(&self) -> bool {
        !self.source_labels.is_empty()
            || !self.target_label.is_empty()
            || self.modulus != 0
            || self.separator != DEFAULT_SEPARATOR
            || self.replacement != DEFAULT_REPLACEMENT
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rule(action: &str) -> RelabelConfig {
        RelabelConfig { action: Some(Action::parse(action).unwrap()), ..RelabelConfig::default() }
    }

    #[test]
    fn an_action_is_known_in_any_case() {
        assert_eq!(Action::parse("LabelMap"), Ok(Action::LabelMap));
        assert_eq!(Action::parse("sharded").unwrap_err().to_string(), "unknown relabel action \"sharded\"");
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Ok(action));
        }
    }

    #[rstest]
    #[case::no_action(
        RelabelConfig { action: None, ..rule("replace") },
        "relabel action cannot be empty"
    )]
    #[case::no_modulus(
        RelabelConfig { target_label: "t".into(), ..rule("hashmod") },
        "relabel configuration for hashmod requires non-zero modulus"
    )]
    #[case::no_target(rule("replace"), "relabel configuration for replace action requires 'target_label' value")]
    #[case::bad_target(
        RelabelConfig { target_label: "a-b".into(), ..rule("uppercase") },
        "\"a-b\" is invalid 'target_label' for uppercase action"
    )]
    #[case::bad_template(
        RelabelConfig { target_label: "a-${1}".into(), ..rule("replace") },
        "\"a-${1}\" is invalid 'target_label' for replace action"
    )]
    #[case::template_where_a_name_must_be(
        RelabelConfig { target_label: "${1}".into(), modulus: 2, ..rule("hashmod") },
        "\"${1}\" is invalid 'target_label' for hashmod action"
    )]
    #[case::replacement_for_lowercase(
        RelabelConfig { target_label: "t".into(), replacement: "x".into(), ..rule("lowercase") },
        "'replacement' can not be set for lowercase action"
    )]
    #[case::bad_replacement(
        RelabelConfig { replacement: "-".into(), ..rule("labelmap") },
        "\"-\" is invalid 'replacement' for labelmap action"
    )]
    #[case::written_default_regex(
        RelabelConfig { target_label: "t".into(), regex: Some("(.*)".into()), ..rule("keepequal") },
        "keepequal action requires only 'source_labels' and `target_label`, and no other fields"
    )]
    #[case::sources_of_labeldrop(
        RelabelConfig { source_labels: vec!["a".into()], ..rule("labeldrop") },
        "labeldrop action requires only 'regex', and no other fields"
    )]
    fn a_bad_rule_is_refused_in_prometheus_words(#[case] rule: RelabelConfig, #[case] why: &str) {
        assert_eq!(rule.validate(NameValidation::Legacy, PrometheusVersion::V3_5), Err(BadRule::Invalid(why.into())));
    }

    #[test]
    fn utf8_names_need_only_not_be_empty() {
        let mut rule = rule("replace");
        rule.target_label = "ä-$1".into();
        assert_eq!(rule.validate(NameValidation::Utf8, PrometheusVersion::V3_5), Ok(()));
        rule.target_label = "ä-".into();
        assert_eq!(rule.validate(NameValidation::Utf8, PrometheusVersion::V3_5), Ok(()));
        assert!(rule.validate(NameValidation::Legacy, PrometheusVersion::V3_5).is_err());
    }

    #[test]
    fn version_2_takes_templates_where_it_does_not_fill_them_in() {
        for action in ["lowercase", "uppercase", "keepequal", "dropequal"] {
            let rule = RelabelConfig { target_label: "${1}_x".into(), ..rule(action) };
            assert_eq!(rule.validate(NameValidation::Legacy, PrometheusVersion::V2_42), Ok(()), "{action}");
            assert!(rule.validate(NameValidation::Legacy, PrometheusVersion::V3_5).is_err(), "{action}");
        }
    }
}
