//! Who relabels a job's targets: it follows from the config alone, so that coordinator and sidecars agree.

use super::{Action, RelabelConfig};

/// The label that nobody has: a rule which drops it changes nothing in Prometheus, and has the job relabeled by its
/// shards.
pub const BY_SHARDS_LABEL: &str = "__narthex_relabel_by_shards";

/// Who relabels a job's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelabeledBy {
    /// The coordinator: it knows each target's final labels and URL.
    Coordinator,
    /// The Prometheus of the shard that a target is assigned to, by the rules as they are written: the coordinator knows
    /// the labels that were discovered, and no more.
    Shards {
        /// The line of the rule that is the reason, counted from 1.
        line: usize,
        /// What of it is the reason.
        why: String,
    },
}

impl RelabeledBy {
    /// Whether it is the shards.
    #[must_use]
    pub const fn is_shards(&self) -> bool {
        matches!(self, Self::Shards { .. })
    }
}

impl RelabelConfig {
    /// Whether the user wants the job of this rule relabeled by its shards.
    #[must_use]
    pub fn asks_for_shards(&self) -> bool {
        self.action == Some(Action::LabelDrop) && self.regex.as_deref() == Some(BY_SHARDS_LABEL)
    }
}
