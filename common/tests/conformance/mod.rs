//! The cases read off Prometheus' own tests, when they are there.

#![allow(dead_code, reason = "every test binary uses its own part of it")]

use std::{fs, path::PathBuf};

use narthex_common::{
    labels::Labels,
    relabel::{Action, RelabelConfig},
};
use serde_json::Value;

/// Where the cases lie, if they are there: a path without detours, since a config's own are made so.
#[expect(clippy::disallowed_methods, reason = "a test finds its data")]
pub(crate) fn folder() -> PathBuf {
    let folder: PathBuf = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned())
        .into();
    fs::canonicalize(&folder).unwrap_or(folder)
}

/// One file of cases; none, with a note, when this clone comes without the data.
#[expect(clippy::disallowed_methods, reason = "a test reads its data")]
pub(crate) fn read(file: &str) -> Option<Value> {
    let path = folder().join(file);
    if let Ok(text) = fs::read_to_string(&path) {
        return Some(serde_json::from_str(&text).unwrap());
    }
    eprintln!("skipped: no conformance data at {}", path.display());
    None
}

/// A JSON object of labels.
pub(crate) fn labels(json: &Value) -> Labels {
    json.as_object().unwrap().iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect()
}

/// A JSON list of strings; none is an empty one.
pub(crate) fn strings(json: &Value) -> Vec<String> {
    json.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// Relabeling rules; what is not there has its default.
pub(crate) fn rules(json: &Value) -> Vec<RelabelConfig> {
    json.as_array().into_iter().flatten().map(rule).collect()
}

/// One relabeling rule.
pub(crate) fn rule(json: &Value) -> RelabelConfig {
    let default = RelabelConfig::default();
    let text = |field: &str| json[field].as_str().map(str::to_owned);
    RelabelConfig {
        source_labels: strings(&json["source_labels"]),
        separator: text("separator").unwrap_or(default.separator),
        regex: text("regex"),
        modulus: json["modulus"].as_u64().unwrap_or_default(),
        target_label: text("target_label").unwrap_or_default(),
        replacement: text("replacement").unwrap_or(default.replacement),
        action: Some(json["action"].as_str().map_or(Action::Replace, |word| Action::parse(word).unwrap())),
        unknown: None,
    }
}
