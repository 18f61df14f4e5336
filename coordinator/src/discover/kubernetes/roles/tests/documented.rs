//! No label that Prometheus documents is forgotten.

use std::collections::BTreeSet;

use narthex_common::semantics::PrometheusVersion;

use super::cases::{folders, read};

/// The labels that Prometheus' documentation lists for the roles, up to 3.16.
const DOCUMENTED: &str = include_str!("../../../../../testdata/kubernetes-meta-labels.txt");

#[test]
fn every_documented_label_shows_up_in_some_case() {
    let seen = seen();
    let missing: Vec<&str> = DOCUMENTED.lines().filter(|label| !is_seen(label, &seen)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The same with the list that was read off Prometheus' documentation, where that data is at hand.
#[test]
fn the_list_of_documented_labels_is_whole() {
    let folder = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
    let Ok(text) = std::fs::read_to_string(format!("{folder}/sd_meta_labels.json")) else {
        println!("skipped: no conformance data");
        return;
    };
    let data: serde_json::Value = serde_json::from_str(&text).unwrap();
    let roles = data["mechanisms"]["kubernetes_sd_config"].as_object().unwrap();
    for label in roles.values().flat_map(|labels| labels.as_array().unwrap()) {
        let label = label.as_str().unwrap();
        assert!(DOCUMENTED.lines().any(|line| line == label), "{label}");
    }
}

fn seen() -> BTreeSet<String> {
    let newest = PrometheusVersion { major: 3, minor: 16 };
    let groups = folders().into_iter().flat_map(|folder| read(&folder).groups(newest));
    let sets = groups.flat_map(|group| [vec![group.labels], group.targets].concat());
    sets.flat_map(|labels| labels.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()).collect()
}

/// Whether a label is among those seen; `<labelname>` and its like stand for anything.
fn is_seen(label: &str, seen: &BTreeSet<String>) -> bool {
    match label.split_once('<') {
        Some((prefix, _)) => seen.iter().any(|name| name.len() > prefix.len() && name.starts_with(prefix)),
        None => seen.contains(label),
    }
}
