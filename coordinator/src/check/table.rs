//! Targets as tables for people.

use comfy_table::{ContentArrangement, Table, presets::UTF8_BORDERS_ONLY};

use super::targets::TargetsReport;

/// Writes a report as tables: jobs, active targets, dropped targets, errors; empty ones are left out.
pub(super) fn write(report: &TargetsReport) -> String {
    let jobs = report.counts().into_iter().map(|(job, [active, dropped, errors])| {
        [job.to_string(), active.to_string(), dropped.to_string(), errors.to_string()]
    });
    let (relabeled, unrelabeled): (Vec<_>, Vec<_>) =
        report.active_targets.iter().partition(|target| !target.scrape_url.is_empty());
    let active = relabeled
        .iter()
        .map(|target| [target.scrape_pool.to_string(), target.scrape_url.clone(), target.labels.to_string()]);
    let unrelabeled =
        unrelabeled.iter().map(|target| [target.scrape_pool.to_string(), target.discovered_labels.to_string()]);
    let remarks =
        report.relabeled_by_shards.iter().map(|remark| [remark.scrape_pool.to_string(), remark.reason.clone()]);
    let dropped = report
        .dropped_targets
        .iter()
        .map(|target| [target.scrape_pool.to_string(), target.discovered_labels.to_string()]);
    let errors = report.errors.iter().map(|problem| [problem.scrape_pool.to_string(), problem.error.clone()]);
    [
        table(["Job", "Active", "Dropped", "Errors"], jobs),
        table(["Job", "Target", "Labels"], active),
        table(["Job", "To be relabeled by its shard: its labels before"], unrelabeled),
        table(["Job", "Relabeled by its shards"], remarks),
        table(["Job", "Dropped: its labels before relabeling"], dropped),
        table(["Job", "Error"], errors),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// One table with a blank line after it; none without rows.
fn table<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> Option<String> {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header).add_rows(rows);
    (!table.is_empty()).then(|| format!("{table}\n\n"))
}
