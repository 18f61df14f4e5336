//! `static_configs`

use super::super::{
    super::{
        fields::{Fault, Fields, string_in},
        yaml::Node,
    },
    StaticConfig,
};
use crate::{redact::without_password, relabel::is_valid_label_name, semantics::NameValidation};

pub(super) fn read(node: &Node, names: NameValidation) -> Result<StaticConfig, Fault> {
    let fields = Fields::of(node, "targetgroup.Group")?;
    let targets = fields.strings("targets")?;
    let mut labels = Vec::new();
    for (name, value) in fields.map("labels", "model.LabelSet")? {
        if !is_valid_label_name(&name.text, names) {
            return Err(Fault::at(value, format!("{:?} is not a valid label name", name.text)));
        }
        labels.push((name.text.as_str(), string_in(value, "labels")?));
    }
    fields.finish()?;
    Ok(StaticConfig { targets, labels: labels.into_iter().collect() })
}

/// A job without relabeling cannot mend addresses, so a URL in their place is certainly a mistake.
pub(in super::super) fn check_addresses(fields: &Fields<'_>) -> Result<(), Fault> {
    for group in fields.list("static_configs", "")? {
        for target in group.get("targets").map_or(&[][..], Node::items) {
            if let Some(text) = target.text().filter(|text| text.contains('/')) {
                let shown = without_password(text);
                return Err(Fault::at(target, format!("{shown:?} is not a valid hostname")));
            }
        }
    }
    Ok(())
}
