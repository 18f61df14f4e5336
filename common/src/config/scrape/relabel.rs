//! Relabeling rules read from the config and tried out.

use super::super::{
    fields::{Fault, Fields, string_in},
    yaml::Node,
};
use crate::{
    relabel::{Action, RelabelConfig, Rules, is_valid_label_name},
    semantics::{NameValidation, PrometheusVersion},
};

/// The rules of a list, with the lines they start at.
pub(super) struct WrittenRules {
    pub(super) rules: Vec<RelabelConfig>,
    lines: Vec<usize>,
}

impl WrittenRules {
    /// Reads a list of rules; `what` names such a rule in errors.
    pub(super) fn read(
        fields: &Fields<'_>,
        name: &'static str,
        what: &str,
        version: PrometheusVersion,
    ) -> Result<Self, Fault> {
        let mut written = Self { rules: Vec::new(), lines: Vec::new() };
        for item in fields.list(name, "[]*relabel.Config")? {
            if item.is_null() {
                return Err(Fault::at(item, format!("empty or null {what} relabeling rule in scrape config")));
            }
            written.rules.push(read_rule(Fields::of(item, "relabel.plain")?, version)?);
            written.lines.push(item.line);
        }
        Ok(written)
    }

    /// Whether Prometheus would take each rule. The regexes were checked when they were read, as Prometheus does.
    pub(super) fn check(&self, names: NameValidation, version: PrometheusVersion) -> Result<(), Fault> {
        for (rule, &line) in self.rules.iter().zip(&self.lines) {
            rule.validate(names, version).map_err(|bad| Fault::new(line, bad))?;
        }
        Ok(())
    }
}

fn read_rule(fields: Fields<'_>, version: PrometheusVersion) -> Result<RelabelConfig, Fault> {
    let default = RelabelConfig::default();
    let mut source_labels = Vec::new();
    for item in fields.list("source_labels", "model.LabelNames")? {
        let name = string_in(item, "source_labels")?;
        if !is_valid_label_name(&name, version.default_name_validation()) {
            return Err(Fault::at(item, format!("{name:?} is not a valid label name")));
        }
        source_labels.push(name);
    }
    // Prometheus tells a regex that is written empty from none, and an action that is written empty likewise.
    let regex = fields.get("regex").map(|node| read_regex(node, version)).transpose()?;
    let action = match fields.get("action") {
        None => default.action,
        Some(node) if node.is_null() => None,
        Some(node) => Some(Action::parse(&string_in(node, "action")?).map_err(|bad| Fault::at(node, bad))?),
    };
    let rule = RelabelConfig {
        source_labels,
        separator: fields.string("separator", &default.separator)?,
        regex,
        modulus: fields.u64("modulus")?,
        target_label: fields.string("target_label", "")?,
        replacement: fields.string("replacement", &default.replacement)?,
        action,
    };
    fields.finish()?;
    Ok(rule)
}

/// A regex, tried out in a rule that cannot be wrong otherwise.
fn read_regex(node: &Node, version: PrometheusVersion) -> Result<String, Fault> {
    let regex = string_in(node, "regex")?;
    let keep = RelabelConfig { action: Some(Action::Keep), regex: Some(regex.clone()), ..RelabelConfig::default() };
    Rules::compile(&[keep], NameValidation::Utf8, version).map_err(|bad| Fault::at(node, bad))?;
    Ok(regex)
}
