//! The files a config names: whether they are there and can be used, as far as `promtool check config` looks.

use std::path::Path;

use narthex_common::{
    config::{
        Config, ConfigError, Files, ScrapeConfig, SdConfig,
        http_client::{Auth, Source},
        scrape::FileSdConfig,
    },
    semantics::PrometheusVersion,
};

use crate::discover::read_target_file;

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
        for sd in &job.discovery {
            match sd {
                SdConfig::File(sd) => check_target_files(job, sd, files, version, &mut findings),
                SdConfig::Static(_) | SdConfig::Http(_) | SdConfig::Other { .. } => {}
            }
        }
    }
    findings
}

fn must_exist(what: &str, path: &Path, files: &dyn Files, complain: &mut impl FnMut(String)) {
    if let Err(error) = files.read(path) {
        complain(format!("{what} {:?}: {error}", path.display().to_string()));
    }
}

fn check_target_files(
    job: &ScrapeConfig,
    sd: &FileSdConfig,
    files: &dyn Files,
    version: PrometheusVersion,
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
                    if let Err(error) = read_target_file(&path, files, version.default_name_validation()) {
                        let message = format!("checking SD file {:?}: {error}", path.display().to_string());
                        findings.errors.push(complaint(job, message));
                    }
                }
            }
        }
    }
}

fn complaint(job: &ScrapeConfig, message: String) -> ConfigError {
    ConfigError { path: job.path.clone(), line: Some(job.line), job: Some(job.job_name.to_string()), message }
}
