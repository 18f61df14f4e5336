//! `check config`: whether Prometheus and Narthex would take a config.

use std::path::Path;

use narthex_common::{config::Config, semantics::PrometheusVersion};
use narthex_runtime::files::Disk;

use super::{Verdict, promtool};
use crate::discover;

/// Checks a config as `promtool check config` does, the files it names included, and for what Narthex cannot do.
pub(super) fn check(path: &Path, version: PrometheusVersion) -> Verdict {
    let config = match Config::load(path, &Disk, version) {
        Ok(config) => config,
        Err(error) => return Verdict::refused(vec![error.to_string()]),
    };
    let mut errors = discover::check(&config, version).err().map(|refusals| refusals.0).unwrap_or_default();
    let findings = promtool::check(&config, &Disk, version);
    errors.extend(findings.errors);
    if !errors.is_empty() {
        return Verdict::refused(errors.iter().map(ToString::to_string).collect());
    }
    let jobs = match config.jobs.len() {
        1 => "1 job".to_owned(),
        jobs => format!("{jobs} jobs"),
    };
    let output = format!("{}: valid for Prometheus {version} and Narthex, {jobs}\n", path.display());
    let warnings = findings.warnings.iter().map(|warning| format!("warning: {warning}"));
    let notes = discover::relabeled_by_shards(&config).map(|remark| format!("note: {remark}"));
    let complaints = warnings.chain(notes).collect();
    Verdict { output, complaints, success: true }
}
