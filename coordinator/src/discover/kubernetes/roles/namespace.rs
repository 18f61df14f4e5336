//! What is attached of an object's namespace.

use super::{Surroundings, labels::MetaLabels};

/// Adds what is attached of a namespace, if anything is asked for and the namespace is known.
pub(super) fn attach(labels: &mut MetaLabels, name: &str, surroundings: &Surroundings<'_>) {
    if !surroundings.attach.namespace {
        return;
    }
    if let Some(namespace) = surroundings.cluster.namespace(name) {
        labels.set_labels_and_annotations("namespace", &namespace.metadata);
    }
}
