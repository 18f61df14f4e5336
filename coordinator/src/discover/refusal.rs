//! Refusals: what a valid config may ask for that Narthex cannot do (yet).

use narthex_common::{
    config::{Config, ConfigError, ScrapeConfig, SdConfig, http_client::Auth},
    semantics::PrometheusVersion,
    target::build::TargetBuilder,
};

/// Everything in a config that Narthex cannot do, each with file, line and job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refusals(pub Vec<ConfigError>);

/// Whether every job of the config can be discovered and its targets be built.
///
/// # Errors
/// When one cannot; all reasons are listed.
pub fn check(config: &Config, version: PrometheusVersion) -> Result<(), Refusals> {
    let mut refusals = unsupported(config);
    for job in &config.jobs {
        if let Err(error) = TargetBuilder::new(job, version) {
            refusals.push(refusal(job, job.line, error.to_string()));
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(Refusals(refusals)) }
}

/// What the config asks for that Narthex does not know how to do: kinds of discovery, kinds of authorization.
#[must_use]
pub fn unsupported(config: &Config) -> Vec<ConfigError> {
    config.jobs.iter().flat_map(unsupported_in).collect()
}

fn unsupported_in(job: &ScrapeConfig) -> Vec<ConfigError> {
    let mut refusals = Vec::new();
    if job.http_client.auth == Some(Auth::OAuth2) {
        refusals.push(refusal(job, line_of(job, "oauth2"), "oauth2 is not supported yet".into()));
    }
    for sd in &job.discovery {
        match sd {
            SdConfig::Static(_) | SdConfig::File(_) => {}
            SdConfig::Http(http) => {
                if http.http_client.auth == Some(Auth::OAuth2) {
                    let line = line_of(job, "http_sd_configs");
                    refusals.push(refusal(job, line, "oauth2 in http_sd_configs is not supported yet".into()));
                }
            }
            SdConfig::Other { kind, line } => refusals.push(refusal(
                job,
                *line,
                format!(
                    "{kind} is not supported yet; Narthex discovers static_configs, file_sd_configs and http_sd_configs"
                ),
            )),
        }
    }
    refusals
}

/// The line of a field of the job, or of the job when the field came by an alias.
fn line_of(job: &ScrapeConfig, field: &str) -> usize {
    job.node.get(field).map(|node| node.line).filter(|line| *line > 0).unwrap_or(job.line)
}

fn refusal(job: &ScrapeConfig, line: usize, message: String) -> ConfigError {
    ConfigError { path: job.path.clone(), line: Some(line), job: Some(job.job_name.to_string()), message }
}
