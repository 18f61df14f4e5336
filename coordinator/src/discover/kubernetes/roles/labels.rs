//! Meta labels: their names, and sets of them while they grow.

use compact_str::{CompactString, CompactStringExt as _};
use narthex_common::labels::Labels;

use crate::discover::kubernetes::objects::{Meta, Pairs};

/// The namespace of an object.
pub(super) const NAMESPACE: &str = "__meta_kubernetes_namespace";

/// Labels of a group or a target, in whatever order they come; of two with one name, the later wins.
#[derive(Clone, Debug, Default)]
pub(super) struct MetaLabels(Vec<(CompactString, CompactString)>);

impl MetaLabels {
    /// Adds a label. Its name, being part of the program, takes no memory.
    pub(super) fn set(&mut self, name: &'static str, value: impl Into<CompactString>) {
        self.0.push((CompactString::const_new(name), value.into()));
    }

    /// Adds a label whose name is made.
    pub(super) fn set_named(&mut self, name: CompactString, value: impl Into<CompactString>) {
        self.0.push((name, value.into()));
    }

    /// Adds what a truth value says, if it says something.
    pub(super) fn set_bool(&mut self, name: &'static str, value: Option<bool>) {
        if let Some(value) = value {
            self.set(name, if value { "true" } else { "false" });
        }
    }

    /// Adds all labels of another set.
    pub(super) fn merge(&mut self, others: &Self) {
        self.0.extend_from_slice(&others.0);
    }

    /// Adds the labels and annotations of an object, and says of each that it is there.
    pub(super) fn set_labels_and_annotations(&mut self, role: &str, meta: &Meta) {
        self.set_labels(role, meta);
        self.set_pairs(role, "annotation", &meta.annotations);
    }

    /// Adds the labels of an object, and says of each that it is there.
    pub(super) fn set_labels(&mut self, role: &str, meta: &Meta) {
        self.set_pairs(role, "label", &meta.labels);
    }

    fn set_pairs(&mut self, role: &str, what: &str, pairs: &Pairs) {
        self.0.reserve(2 * pairs.iter().len());
        for (key, value) in pairs.iter() {
            let key = sanitized(key);
            self.set_named(["__meta_kubernetes_", role, "_", what, "_", &key].concat_compact(), value.clone());
            let present = ["__meta_kubernetes_", role, "_", what, "present_", &key].concat_compact();
            self.set_named(present, CompactString::const_new("true"));
        }
    }

    /// The finished set.
    pub(super) fn build(mut self) -> Labels {
        // Stable: of two labels with one name, the later must stay the later.
        self.0.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.0.into_iter().collect()
    }
}

/// A text as a part of a label's name: every character that is no letter, digit or underscore becomes an underscore.
pub(super) fn sanitized(text: &str) -> CompactString {
    text.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '_' }).collect()
}
