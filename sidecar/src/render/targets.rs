//! The target files: each target with its final labels under a prefix, one target a line.

use std::{collections::BTreeMap, path::PathBuf};

use narthex_common::{
    assignment::{AssignedTarget, Assignment},
    labels::{ADDRESS, PARAM_PREFIX, SCHEME},
};
use serde::Serialize;

use super::{
    job::{FINAL_LABEL_PREFIX, JOB_ID_LABEL},
    layout::Layout,
};
use crate::{
    job_ids::JobIds,
    scheme_twins::{SCHEME_PARAM, https_twins},
};

/// One target group of one target, as `file_sd` reads it.
#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: BTreeMap<String, &'a str>,
}

pub(super) fn files(assignment: &Assignment, ids: &JobIds, layout: Layout) -> BTreeMap<PathBuf, String> {
    let twins = https_twins(assignment);
    let mut groups: BTreeMap<&str, Vec<Group<'_>>> = ids.iter().map(|(_, id)| (id, Vec::new())).collect();
    for (id, assigned) in &assignment.targets {
        let Some(job) = ids.id(&assigned.target.job) else { continue };
        let group = group(assigned, job, layout, twins.contains(id));
        groups.entry(job).or_default().push(group);
    }
    groups.into_iter().map(|(job, groups)| (layout.file(job), text(&groups))).collect()
}

fn group<'a>(assigned: &'a AssignedTarget, job: &'a str, layout: Layout, is_https_twin: bool) -> Group<'a> {
    let final_label = |name: &str| format!("{FINAL_LABEL_PREFIX}{name}");
    let target = &assigned.target;
    let mut labels: BTreeMap<String, &str> =
        target.labels.iter().map(|(name, value)| (final_label(name), value)).collect();
    // With https Prometheus would ask the proxy for a tunnel, through which the proxy could not see: the true scheme
    // is the proxy's to apply.
    labels.insert(final_label(SCHEME), "http");
    if is_https_twin {
        labels.insert(final_label(&format!("{PARAM_PREFIX}{SCHEME_PARAM}")), "https");
    }
    if layout.is_shared() {
        labels.insert(JOB_ID_LABEL.to_owned(), job);
    }
    Group { targets: [target.labels.get(ADDRESS).unwrap_or_default()], labels }
}

fn text(groups: &[Group<'_>]) -> String {
    let lines: Vec<String> = groups.iter().filter_map(|group| serde_json::to_string(group).ok()).collect();
    if lines.is_empty() { "[]\n".to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}
