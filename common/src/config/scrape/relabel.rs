//! Relabeling rules read from the config and tried out.

use super::super::{
    fields::{Fault, Fields, string_in},
    yaml::Node,
};
use crate::{
    relabel::{Action, BY_SHARDS_LABEL, BadRule, RelabelConfig, RelabeledBy, Rules, is_valid_label_name},
    semantics::{NameValidation, PrometheusVersion},
};

/// The rules of a list, with the lines they start at.
pub(super) struct WrittenRules {
    pub(super) rules: Vec<RelabelConfig>,
    places: Vec<Place>,
}

/// Where a rule stands, and what of its regex cannot be proved.
struct Place {
    line: usize,
    not_provable: Option<String>,
}

impl WrittenRules {
    /// Reads a list of rules; `what` names such a rule in errors.
    pub(super) fn read(
        fields: &Fields<'_>,
        name: &'static str,
        what: &str,
        version: PrometheusVersion,
    ) -> Result<Self, Fault> {
        let mut written = Self { rules: Vec::new(), places: Vec::new() };
        for item in fields.list(name, "[]*relabel.Config")? {
            if item.is_null() {
                return Err(Fault::at(item, format!("empty or null {what} relabeling rule in scrape config")));
            }
            let (rule, not_provable) = read_rule(Fields::of(item, "relabel.plain")?, version)?;
            written.rules.push(rule);
            written.places.push(Place { line: item.line, not_provable });
        }
        Ok(written)
    }

    /// Whether Prometheus would take each rule, and who applies them. The regexes were checked when they were read, as
    /// Prometheus does.
    pub(super) fn check(&self, names: NameValidation, version: PrometheusVersion) -> Result<RelabeledBy, Fault> {
        let mut by = RelabeledBy::Coordinator;
        for (rule, Place { line, not_provable }) in self.rules.iter().zip(&self.places) {
            let why = match rule.validate(names, version) {
                Ok(()) if rule.asks_for_shards() => Some(format!("a rule that drops {BY_SHARDS_LABEL} asks for it")),
                Ok(()) => not_provable.clone(),
                Err(BadRule::NotProvable(why)) => Some(why),
                Err(bad @ BadRule::Invalid(_)) => return Err(Fault::new(*line, bad)),
            };
            if let Some(why) = why.filter(|_| !by.is_shards()) {
                by = RelabeledBy::Shards { line: *line, why };
            }
        }
        Ok(by)
    }
}

/// A rule, and what of its regex cannot be proved.
fn read_rule(fields: Fields<'_>, version: PrometheusVersion) -> Result<(RelabelConfig, Option<String>), Fault> {
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
    let (regex, not_provable) = regex.map_or((None, None), |(regex, why)| (Some(regex), why));
    // A version that came after this was written may know more.
    let may_know_more = version > PrometheusVersion::NEWEST_KNOWN;
    let mut unknown = None;
    let action = match fields.get("action") {
        None => default.action,
        Some(node) if node.is_null() => None,
        Some(node) => match Action::parse(&string_in(node, "action")?) {
            Ok(action) => Some(action),
            Err(bad) if may_know_more => {
                unknown = Some(bad.to_string());
                default.action
            }
            Err(bad) => return Err(Fault::at(node, bad)),
        },
    };
    let mut rule = RelabelConfig {
        source_labels,
        separator: fields.string("separator", &default.separator)?,
        regex,
        modulus: fields.u64("modulus")?,
        target_label: fields.string("target_label", "")?,
        replacement: fields.string("replacement", &default.replacement)?,
        action,
        unknown,
    };
    match fields.finish() {
        Err(fault) if fault.is_of_unknown_field && may_know_more => rule.unknown = Some(fault.message),
        finished => finished?,
    }
    Ok((rule, not_provable))
}

/// A regex, tried out in a rule that cannot be wrong otherwise, and what of it cannot be proved.
fn read_regex(node: &Node, version: PrometheusVersion) -> Result<(String, Option<String>), Fault> {
    let regex = string_in(node, "regex")?;
    let keep = RelabelConfig { action: Some(Action::Keep), regex: Some(regex.clone()), ..RelabelConfig::default() };
    match Rules::compile(&[keep], NameValidation::Utf8, version) {
        Ok(_) => Ok((regex, None)),
        Err(BadRule::NotProvable(why)) => Ok((regex, Some(why))),
        Err(bad @ BadRule::Invalid(_)) => Err(Fault::at(node, bad)),
    }
}
