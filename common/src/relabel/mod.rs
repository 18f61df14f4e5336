//! Relabeling as Prometheus does it: rules, their validation, and their application to label sets.

mod config;
mod expand;
mod explain;
mod go_case;
mod go_regex;
mod matcher;
mod names;
pub mod operator_sharding;
mod relabeled_by;
mod rules;

pub use config::{Action, BadRule, RelabelConfig};
pub use explain::Step;
pub use names::is_valid as is_valid_label_name;
pub use relabeled_by::{BY_SHARDS_LABEL, RelabeledBy};
pub use rules::Rules;
