//! The target files: each target with its labels under a prefix – its final ones or, where Prometheus relabels it by
//! itself, those that were discovered –, one target a line.

use std::{borrow::Cow, collections::BTreeMap, path::PathBuf};

use narthex_common::{
    assignment::{AssignedTarget, Assignment},
    labels::{ADDRESS, METRICS_PATH, PARAM_PREFIX, SCHEME},
    target::Target,
};
use serde::Serialize;

use super::{
    job::{FINAL_LABEL_PREFIX, JOB_ID_LABEL},
    layout::Layout,
    relabeled_here::TARGET_ID_LABEL,
    vmagent,
};
use crate::{
    job_ids::JobIds,
    leaving::{Leaver, Leaving},
    prometheus::PrometheusKind,
    scheme_twins::{SCHEME_PARAM, https_twins},
};

/// A file without targets. Not an empty list: a Prometheus 2 that reads one right after a reload, which makes it forget
/// what it had read before, takes the job for one that nothing is known of yet, and goes on with the targets it had.
const EMPTY: &str = "[\n{\"targets\":[]}\n]\n";

/// One target group of one target, as `file_sd` reads it.
#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: BTreeMap<String, Cow<'a, str>>,
}

pub(super) fn files(
    assignment: &Assignment,
    leaving: &Leaving,
    ids: &JobIds,
    layout: Layout,
    kind: PrometheusKind,
) -> BTreeMap<PathBuf, String> {
    let all = leaving.beside(assignment);
    let (twins, away) = (https_twins(&all), leaving.away());
    let mut groups: BTreeMap<&str, Vec<Group<'_>>> = ids.iter().map(|(_, id)| (id, Vec::new())).collect();
    for (id, assigned) in &all.targets {
        let Some(job) = ids.id(&assigned.target.job).filter(|_| !away.contains(id)) else { continue };
        if !suits(&assigned.target, ids) {
            continue;
        }
        let group = group(assigned, job, layout.is_shared(), twins.contains(id), kind);
        groups.entry(job).or_default().push(group);
    }
    let mut files: BTreeMap<_, _> =
        groups.into_iter().map(|(job, groups)| (layout.file(job), text(&groups, kind))).collect();
    for (number, generation) in leaving.generations() {
        let group = |leaver: &Leaver| {
            let assigned = all.targets.get(&leaver.assigned.target.id)?;
            let job = ids.id(&assigned.target.job).filter(|_| suits(&assigned.target, ids))?;
            Some(group(assigned, job, true, twins.contains(&assigned.target.id), kind))
        };
        let groups: Vec<_> = generation.in_pool().filter_map(group).collect();
        files.insert(Layout::leaving_file(*number), text(&groups, kind));
    }
    files
}

/// Whether a target is relabeled where its job is. For a moment after a new config it may not be: until it is assigned
/// anew, Prometheus would make something else of it.
fn suits(target: &Target, ids: &JobIds) -> bool {
    target.is_relabeled_by_shard() == ids.is_relabeled_here(&target.job)
}

fn group<'a>(
    assigned: &'a AssignedTarget,
    job: &'a str,
    is_directory_shared: bool,
    is_https_twin: bool,
    kind: PrometheusKind,
) -> Group<'a> {
    let final_label = |name: &str| format!("{FINAL_LABEL_PREFIX}{name}");
    let target = &assigned.target;
    let mut labels: BTreeMap<String, Cow<'_, str>> =
        target.labels.iter().map(|(name, value)| (final_label(name), value.into())).collect();
    if target.is_relabeled_by_shard() {
        labels.insert(TARGET_ID_LABEL.to_owned(), target.id.to_string().into());
    } else {
        // With https Prometheus would ask the proxy for a tunnel, through which the proxy could not see: the true
        // scheme is the proxy's to apply.
        labels.insert(final_label(SCHEME), "http".into());
        if kind == PrometheusKind::Vmagent {
            labels.insert(final_label(METRICS_PATH), vmagent::metrics_path(assigned).into());
        }
    }
    if is_https_twin {
        labels.insert(final_label(&format!("{PARAM_PREFIX}{SCHEME_PARAM}")), "https".into());
    }
    if is_directory_shared {
        labels.insert(JOB_ID_LABEL.to_owned(), job.into());
    }
    Group { targets: [target.labels.get(ADDRESS).unwrap_or_default()], labels }
}

fn text(groups: &[Group<'_>], kind: PrometheusKind) -> String {
    let line = |group: &Group<'_>| {
        let json = serde_json::to_string(group).ok()?;
        Some(match kind {
            PrometheusKind::Server | PrometheusKind::Agent => json,
            PrometheusKind::Vmagent => vmagent::group(&json),
        })
    };
    let lines: Vec<String> = groups.iter().filter_map(line).collect();
    if lines.is_empty() { EMPTY.to_owned() } else { format!("[\n{}\n]\n", lines.join(",\n")) }
}
