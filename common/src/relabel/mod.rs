//! Relabeling as Prometheus does it: rules, their validation, and their application to label sets.

use crate::{
    labels::LabelsBuilder,
    semantics::{NameValidation, PrometheusVersion},
};

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
}

impl Default for RelabelConfig {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".into(),
            regex: None,
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".into(),
            action: Some(Action::Replace),
        }
    }
}

/// Why a rule was refused, in Prometheus' words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRule(pub String);

impl Action {
    /// The action of a word, whatever its case.
    ///
    /// # Errors
    /// When there is no such action: `unknown relabel action "x"`.
    pub fn parse(word: &str) -> Result<Self, BadRule> {
        let _ = word;
        todo!()
    }
}

impl RelabelConfig {
    /// Whether Prometheus would take this rule.
    ///
    /// # Errors
    /// When it would not; the regex is checked by [`Rules::compile`].
    pub fn validate(&self, names: NameValidation) -> Result<(), BadRule> {
        let _ = names;
        todo!()
    }
}

/// Rules, compiled.
#[derive(Clone, Debug)]
pub struct Rules(());

impl Rules {
    /// Compiles rules.
    ///
    /// # Errors
    /// When a rule is invalid or its regex is.
    pub fn compile(
        configs: &[RelabelConfig],
        names: NameValidation,
        version: PrometheusVersion,
    ) -> Result<Self, BadRule> {
        let _ = (configs, names, version);
        todo!()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        todo!()
    }

    /// Applies the rules in order; false when the label set is dropped.
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let _ = labels;
        todo!()
    }
}
