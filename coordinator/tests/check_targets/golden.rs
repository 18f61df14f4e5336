//! A report in the words of `promtool check service-discovery`.

use std::collections::BTreeMap;

use narthex_common::labels::Labels;
use narthex_coordinator::check::targets::TargetsReport;
use serde::{Deserialize, Serialize};

/// What `promtool check service-discovery` says of one label set; no labels mean that it was dropped.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Golden {
    pub(crate) discovered_labels: Labels,
    pub(crate) labels: Labels,
}

/// A report as promtool has it. Of label sets that became one target it lists each, a report only one.
pub(crate) fn goldens_of(report: &TargetsReport) -> Vec<Golden> {
    goldens_of_job(report, |_| true)
}

/// The same of some jobs.
pub(crate) fn goldens_of_job(report: &TargetsReport, is_meant: impl Fn(&str) -> bool) -> Vec<Golden> {
    let active = report.active_targets.iter().filter(|target| is_meant(target.scrape_pool.as_str()));
    let active = active.map(|target| Golden {
        discovered_labels: target.discovered_labels.clone(),
        labels: target.labels.iter().chain(target.internal_labels.iter()).collect(),
    });
    let dropped = report.dropped_targets.iter().filter(|target| is_meant(target.scrape_pool.as_str()));
    let dropped =
        dropped.map(|target| Golden { discovered_labels: target.discovered_labels.clone(), labels: Labels::default() });
    let mut all: Vec<Golden> = active.chain(dropped).collect();
    all.sort_unstable();
    all
}

/// Keeps one of the entries that became one target, the one a report shows; of dropped ones that are equal, one.
pub(crate) fn without_duplicates(mut goldens: Vec<Golden>) -> Vec<Golden> {
    goldens.sort_unstable();
    let mut kept: BTreeMap<Labels, Golden> = BTreeMap::new();
    let (mut dropped, active): (Vec<_>, Vec<_>) = goldens.into_iter().partition(|golden| golden.labels.is_empty());
    for golden in active {
        kept.entry(golden.labels.clone()).or_insert(golden);
    }
    dropped.extend(kept.into_values());
    dropped.sort_unstable();
    dropped
}
