//! What `promtool check config` looks at beyond what Prometheus itself does at start: whether the files that a config
//! names are there, and whether every target that is listed in it or in them can be scraped.

use std::path::Path;

use narthex_common::{
    config::{
        Config, ConfigError, Files, ScrapeConfig, SdConfig,
        http_client::{Auth, Source},
        scrape::FileSdConfig,
        yaml::Node,
    },
    semantics::PrometheusVersion,
    target::build::{Built, TargetBuilder},
};

use crate::discover::{group::TargetGroup, read_target_file};

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What promtool, too, refuses.
    pub(super) errors: Vec<ConfigError>,
    /// What may become an error later.
    pub(super) warnings: Vec<ConfigError>,
}

/// Looks at the files of all jobs.
pub(super) fn check(config: &Config, files: &dyn Files, version: PrometheusVersion) -> Findings {
    let mut findings = Findings::default();
    for job in &config.jobs {
        let mut complain = |message: String| findings.errors.push(complaint(job, message));
        if let Some(Auth::Header { credentials: Some(Source::File(path)), .. }) = &job.http_client.auth {
            let what = "error checking authorization credentials or bearer token file";
            must_exist(what, path, files, &mut complain);
        }
        if let Some(Source::File(path)) = &job.http_client.tls.cert {
            must_exist("error checking client cert file", path, files, &mut complain);
        }
        if let Some(Source::File(path)) = &job.http_client.tls.key {
            must_exist("error checking client key file", path, files, &mut complain);
        }
        // A job without a builder has been refused before.
        let Ok(builder) = TargetBuilder::new(job, version) else { continue };
        let mut lists = 0;
        for sd in &job.discovery {
            match sd {
                SdConfig::Static(list) => {
                    let group = TargetGroup::of_addresses(lists.to_string(), list.labels.clone(), &list.targets);
                    lists += 1;
                    findings.errors.extend(first_impossible(&builder, &group).map(|why| complaint(job, why)));
                }
                SdConfig::File(sd) => check_target_files(job, sd, &builder, (files, version), &mut findings),
                SdConfig::Http(_)
                | SdConfig::Dns(_)
                | SdConfig::Consul(_)
                | SdConfig::Kubernetes(_)
                | SdConfig::Other(_) => {}
            }
        }
    }
    findings.errors.extend(missing_rule_files(config, files));
    findings
}

/// Why the first target of a group that makes none does so.
fn first_impossible(builder: &TargetBuilder, group: &TargetGroup) -> Option<String> {
    group.targets.iter().enumerate().find_map(|(index, target)| match builder.build(target, &group.labels) {
        Built::Failed { error, .. } => Some(format!("instance {index} in group {}: {error}", group.source)),
        Built::Active { .. } | Built::Dropped { .. } => None,
    })
}

/// A pattern may match nothing; a file that is named must be there.
fn missing_rule_files(config: &Config, files: &dyn Files) -> Vec<ConfigError> {
    let tree = config.resolved();
    let names = tree.get("rule_files").map(Node::items).unwrap_or_default().iter().filter_map(Node::text);
    let missing = names.filter(|name| !name.contains('*')).filter(|name| {
        let found = files.glob(Path::new(name)).unwrap_or_default();
        found.is_empty()
    });
    let error = |name: &str| ConfigError {
        path: config.path.clone(),
        line: None,
        job: None,
        message: format!("{name:?} does not point to an existing file"),
    };
    missing.map(error).collect()
}

fn must_exist(what: &str, path: &Path, files: &dyn Files, complain: &mut impl FnMut(String)) {
    if let Err(error) = files.read(path) {
        complain(format!("{what} {:?}: {error}", path.display().to_string()));
    }
}

fn check_target_files(
    job: &ScrapeConfig,
    sd: &FileSdConfig,
    builder: &TargetBuilder,
    (files, version): (&dyn Files, PrometheusVersion),
    findings: &mut Findings,
) {
    for pattern in &sd.files {
        let shown = pattern.display().to_string();
        match files.glob(pattern) {
            Err(error) => findings.errors.push(complaint(job, format!("list {shown:?}: {error}"))),
            Ok(paths) if paths.is_empty() => {
                findings.warnings.push(complaint(job, format!("file {shown:?} for file_sd does not exist")));
            }
            Ok(paths) => {
                for path in paths {
                    let groups = read_target_file(&path, files, version.default_name_validation());
                    let found = match groups {
                        Ok(groups) => groups.iter().find_map(|group| first_impossible(builder, group)),
                        Err(error) => Some(error),
                    };
                    let shown = path.display().to_string();
                    let found = found.map(|error| complaint(job, format!("checking SD file {shown:?}: {error}")));
                    findings.errors.extend(found);
                }
            }
        }
    }
}

fn complaint(job: &ScrapeConfig, message: String) -> ConfigError {
    ConfigError { path: job.path.clone(), line: Some(job.line), job: Some(job.job_name.to_string()), message }
}
