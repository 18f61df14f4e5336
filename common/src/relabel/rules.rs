//! Rules, compiled once and applied to many label sets (`model/relabel/relabel.go`, `ProcessBuilder`).

use std::sync::Arc;

use compact_str::CompactString;
use md5::{Digest as _, Md5};

use super::{Action, BadRule, RelabelConfig, expand::Template, go_case, matcher::Matcher, names};
use crate::{
    labels::LabelsBuilder,
    semantics::{NameValidation, PrometheusVersion},
};

/// Rules, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rules(Arc<[Rule]>);

/// One rule, compiled.
#[derive(Debug)]
pub(super) struct Rule {
    source_labels: Vec<String>,
    separator: String,
    deed: Deed,
}

/// An action with what it needs.
#[derive(Debug)]
enum Deed {
    Replace { regex: Matcher, target: Template, replacement: Template, names: NameValidation, removes: Option<String> },
    Keep { regex: Matcher },
    Drop { regex: Matcher },
    KeepEqual { target: String },
    DropEqual { target: String },
    HashMod { target: String, modulus: u64 },
    LabelMap { regex: Matcher, replacement: Template },
    LabelDrop { regex: Matcher },
    LabelKeep { regex: Matcher },
    Case { target: String, map: fn(&str) -> String },
}

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
        configs.iter().map(|config| Rule::compile(config, names, version)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Rule> {
        self.0.iter()
    }

    /// Whether label sets are kept that have this value of a label, when that is all the rules look at. None when it is
    /// not, and [`apply`](Self::apply) must tell.
    #[must_use]
    pub fn keep_all_with(&self, label: &str, value: &str) -> Option<bool> {
        for rule in self.iter() {
            let keeps = match &rule.deed {
                Deed::Keep { regex } if rule.source_labels == [label] => regex.is_match(value),
                Deed::Drop { regex } if rule.source_labels == [label] => !regex.is_match(value),
                Deed::Keep { .. }
                | Deed::Drop { .. }
                | Deed::Replace { .. }
                | Deed::KeepEqual { .. }
                | Deed::DropEqual { .. }
                | Deed::HashMod { .. }
                | Deed::LabelMap { .. }
                | Deed::LabelDrop { .. }
                | Deed::LabelKeep { .. }
                | Deed::Case { .. } => return None,
            };
            if !keeps {
                return Some(false);
            }
        }
        Some(true)
    }

    /// Applies the rules in order; false when the label set is dropped.
    #[must_use]
    pub fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let mut joined = String::new();
        self.iter().all(|rule| rule.apply(labels, &mut joined))
    }
}

impl Rule {
    fn compile(config: &RelabelConfig, names: NameValidation, version: PrometheusVersion) -> Result<Self, BadRule> {
        const DEFAULT_REGEX: &str = "(.*)";
        config.validate(names, version)?;
        let regex = || Matcher::compile(config.regex.as_deref().unwrap_or(DEFAULT_REGEX), version);
        // The regex of a rule that does not use it must be valid nonetheless.
        let checked = |deed| regex().map(|_| deed);
        let target = config.target_label.clone();
        let deed = match config.action.unwrap_or(Action::Replace) {
            Action::Replace => {
                let regex = regex()?;
                Deed::Replace {
                    target: regex.template(&target),
                    replacement: regex.template(&config.replacement),
                    regex,
                    names,
                    removes: version.confuses_templates_and_targets().then_some(target),
                }
            }
            Action::Keep => Deed::Keep { regex: regex()? },
            Action::Drop => Deed::Drop { regex: regex()? },
            Action::KeepEqual => checked(Deed::KeepEqual { target })?,
            Action::DropEqual => checked(Deed::DropEqual { target })?,
            Action::HashMod => checked(Deed::HashMod { target, modulus: config.modulus })?,
            Action::LabelMap => {
                let regex = regex()?;
                Deed::LabelMap { replacement: regex.template(&config.replacement), regex }
            }
            Action::LabelDrop => Deed::LabelDrop { regex: regex()? },
            Action::LabelKeep => Deed::LabelKeep { regex: regex()? },
            Action::Lowercase => checked(Deed::Case { target, map: go_case::to_lower })?,
            Action::Uppercase => checked(Deed::Case { target, map: go_case::to_upper })?,
        };
        Ok(Self { source_labels: config.source_labels.clone(), separator: config.separator.clone(), deed })
    }

    /// Applies one rule; `joined` is room for the values of several source labels.
    pub(super) fn apply(&self, labels: &mut LabelsBuilder, joined: &mut String) -> bool {
        let value = self.source(labels, joined);
        let change = match &self.deed {
            Deed::Keep { regex } => return regex.is_match(value),
            Deed::Drop { regex } => return !regex.is_match(value),
            Deed::KeepEqual { target } => return labels.get(target).unwrap_or_default() == value,
            Deed::DropEqual { target } => return labels.get(target).unwrap_or_default() != value,
            Deed::Replace { regex, target, replacement, names, removes } => {
                if !regex.is_match(value) {
                    return true;
                }
                let target = regex.expand(target, value);
                if !names::is_valid(&target, *names) {
                    return true;
                }
                let replacement = regex.expand(replacement, value);
                if let Some(name) = removes.as_deref().filter(|_| replacement.is_empty()) {
                    labels.remove(name);
                    return true;
                }
                (CompactString::from(target), CompactString::from(replacement))
            }
            Deed::HashMod { target, modulus } => (target.into(), hash_mod(value, *modulus).into()),
            Deed::Case { target, map } => (target.into(), map(value).into()),
            Deed::LabelMap { regex, replacement } => {
                // All labels are looked at before the first is copied. Where two names become one, the last wins.
                let copies: Vec<_> = labels
                    .iter()
                    .filter(|(name, _)| regex.is_match(name))
                    .map(|(name, value)| {
                        (CompactString::from(regex.expand(replacement, name)), CompactString::from(value))
                    })
                    .collect();
                for (name, value) in copies {
                    labels.set(name, value);
                }
                return true;
            }
            Deed::LabelDrop { regex } => {
                labels.retain(|name, _| !regex.is_match(name));
                return true;
            }
            Deed::LabelKeep { regex } => {
                labels.retain(|name, _| regex.is_match(name));
                return true;
            }
        };
        labels.set(change.0, change.1);
        true
    }

    /// The values of the source labels, joined; a label that does not exist is empty.
    fn source<'a>(&self, labels: &'a LabelsBuilder, joined: &'a mut String) -> &'a str {
        match self.source_labels.as_slice() {
            [] => "",
            [one] => labels.get(one).unwrap_or_default(),
            [first, others @ ..] => {
                joined.clear();
                joined.push_str(labels.get(first).unwrap_or_default());
                for name in others {
                    joined.push_str(&self.separator);
                    joined.push_str(labels.get(name).unwrap_or_default());
                }
                joined
            }
        }
    }
}

/// The last eight bytes of the MD5 hash, modulo.
fn hash_mod(value: &str, modulus: u64) -> String {
    let hash = Md5::digest(value.as_bytes());
    let last = hash[8..].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
    last.checked_rem(modulus).unwrap_or_default().to_string()
}
