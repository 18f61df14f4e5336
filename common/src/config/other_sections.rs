//! Sections that only the shards' Prometheus interprets. What is plainly wrong in them is said here all the same: it
//! would stop every shard at its next reload.

use std::collections::BTreeSet;

use super::fields::{Fault, Fields, string_in};

/// Looks over all sections that are passed on as they are.
pub(super) fn check(fields: &Fields<'_>) -> Result<(), Fault> {
    for name in ["runtime", "alerting", "storage", "tracing", "otlp"] {
        fields.map(name, "a section")?;
    }
    check_remotes(fields, "remote_write", "remote write")?;
    check_remotes(fields, "remote_read", "remote read")
}

/// Each remote has a URL, and no two have the same name.
fn check_remotes(fields: &Fields<'_>, section: &'static str, what: &str) -> Result<(), Fault> {
    let mut names = BTreeSet::new();
    for remote in fields.list(section, "a list of remotes")? {
        if remote.is_null() {
            return Err(Fault::at(remote, format!("empty or null {what} config section")));
        }
        if remote.as_map().is_none() {
            return Err(Fault::at(remote, remote.mismatch("config.plain")));
        }
        if remote.get("url").is_none_or(super::yaml::Node::is_null) {
            return Err(Fault::at(remote, format!("url for {section} is empty")));
        }
        if let Some(node) = remote.get("name") {
            let name = string_in(node, "name")?;
            if !name.is_empty() && !names.insert(name.clone()) {
                return Err(Fault::at(node, format!("found multiple {what} configs with job name {name:?}")));
            }
        }
    }
    Ok(())
}
