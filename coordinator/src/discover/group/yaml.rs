//! Lists of target groups in YAML, read as Go's `yaml.UnmarshalStrict` reads them.

use narthex_common::config::yaml::{self, Node};

use super::ListedGroup;

/// Reads a list; none is an item that was written `null`.
pub(super) fn read(text: &str) -> Result<Vec<Option<ListedGroup>>, String> {
    let document = yaml::read(text).map_err(|error| error.to_string())?;
    let items = document.as_list().ok_or_else(|| mismatch(&document, "[]*targetgroup.Group"))?;
    items.iter().map(group).collect()
}

fn group(item: &Node) -> Result<Option<ListedGroup>, String> {
    if item.is_null() {
        return Ok(None);
    }
    let mut group = ListedGroup::default();
    for (field, value) in item.as_map().ok_or_else(|| mismatch(item, "targetgroup.Group"))? {
        match field.text.as_str() {
            "targets" => {
                let addresses = value.as_list().ok_or_else(|| mismatch(value, "[]string"))?;
                group.targets = addresses.iter().map(text).collect::<Result<_, _>>()?;
            }
            "labels" => {
                let labels = value.as_map().ok_or_else(|| mismatch(value, "model.LabelSet"))?.iter();
                group.labels =
                    labels.map(|(name, value)| Ok((name.text.clone(), text(value)?))).collect::<Result<_, String>>()?;
            }
            unknown => return Err(format!("line {}: field {unknown} not found in type targetgroup.Group", value.line)),
        }
    }
    Ok(Some(group))
}

/// The text of a scalar as it was written (`1.10` stays `1.10`); `null` is the empty text.
fn text(value: &Node) -> Result<String, String> {
    value.as_str().map(str::to_owned).map_err(|error| format!("line {}: {error}", value.line))
}

fn mismatch(node: &Node, wanted: &'static str) -> String {
    format!("line {}: {}", node.line, node.mismatch(wanted))
}
