//! Relabel rules: a regex that Go would take is translated into one that Rust takes, a template that Go would expand is
//! expanded, and neither ever panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_common::{
    labels::{Labels, LabelsBuilder},
    relabel::{Action, RelabelConfig, Rules},
    semantics::{NameValidation, PrometheusVersion},
};

const ACTIONS: [Action; 7] = [
    Action::Replace,
    Action::Keep,
    Action::Drop,
    Action::LabelMap,
    Action::LabelDrop,
    Action::LabelKeep,
    Action::HashMod,
];

// `ACTION VERSION` in a byte each, then regex, value and replacement, with a byte 1 between them.
fuzz_target!(|text: &str| {
    let mut choices = text.bytes();
    let (Some(action), Some(version), Some(rest)) = (choices.next(), choices.next(), text.get(2..)) else { return };
    let mut parts = rest.split('\u{1}');
    let mut next = || parts.next().unwrap_or_default();
    let (regex, value, replacement) = (next(), next(), next());
    let action = ACTIONS[usize::from(action) % ACTIONS.len()];
    let rule = RelabelConfig {
        source_labels: match action {
            Action::LabelDrop | Action::LabelKeep | Action::LabelMap => vec![],
            _ => vec!["a".to_owned(), "missing".to_owned()],
        },
        separator: if matches!(action, Action::LabelDrop | Action::LabelKeep) { ";" } else { "" }.to_owned(),
        regex: Some(regex.to_owned()),
        modulus: u64::from(action == Action::HashMod) * 7,
        target_label: match action {
            Action::Replace | Action::HashMod => "b".to_owned(),
            _ => String::new(),
        },
        replacement: match action {
            Action::Replace | Action::LabelMap => replacement.to_owned(),
            _ => "$1".to_owned(),
        },
        action: Some(action),
        unknown: None,
    };
    let version = if version % 2 == 0 { PrometheusVersion::V2_42 } else { PrometheusVersion::V3_5 };
    let rules = match Rules::compile(&[rule], NameValidation::Utf8, version) {
        Ok(rules) => rules,
        Err(error) => {
            let error = error.to_string();
            assert!(!error.contains("rust"), "a reason in Prometheus' words: {error}");
            return;
        }
    };
    let labels = Labels::from_iter([("__name__", "n"), ("a", value), ("job", "j")]);
    let mut relabeled = LabelsBuilder::from(&labels);
    let is_kept = rules.apply(&mut relabeled);
    let mut again = LabelsBuilder::from(&labels);
    assert_eq!(rules.apply(&mut again), is_kept);
    assert_eq!(again.build(), relabeled.build(), "the same every time");
});
