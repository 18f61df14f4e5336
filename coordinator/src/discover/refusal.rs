//! Refusals: what a valid config may ask for that Narthex cannot do (yet).

use narthex_common::{
    config::{Config, ConfigError, ScrapeConfig, SdConfig, scrape::OtherSdConfig},
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

/// What the config asks for that Narthex does not know how to do: kinds of discovery.
#[must_use]
pub fn unsupported(config: &Config) -> Vec<ConfigError> {
    config.jobs.iter().flat_map(unsupported_in).collect()
}

fn unsupported_in(job: &ScrapeConfig) -> Vec<ConfigError> {
    let mut refusals = Vec::new();
    for sd in &job.discovery {
        match sd {
            SdConfig::Static(_) | SdConfig::File(_) | SdConfig::Http(_) | SdConfig::Dns(_) | SdConfig::Consul(_) => {}
            SdConfig::Kubernetes(_) => {
                let kind = "kubernetes_sd_configs";
                let line = job.node.get(kind).and_then(|blocks| blocks.items().first()).map_or(job.line, |b| b.line);
                refusals.push(not_yet(job, line, &format!("{kind} is not supported yet")));
            }
            SdConfig::Other(OtherSdConfig { kind, line, unknown_field, .. }) => {
                let what = match unknown_field {
                    None => format!("{kind} is not supported yet"),
                    Some(field) => format!("{kind} with this field is not supported yet ({field})"),
                };
                refusals.push(not_yet(job, *line, &what));
            }
        }
    }
    refusals
}

fn not_yet(job: &ScrapeConfig, line: usize, what: &str) -> ConfigError {
    let known = "static_configs, file_sd_configs, http_sd_configs, dns_sd_configs and consul_sd_configs";
    refusal(job, line, format!("{what}; Narthex discovers {known}"))
}

fn refusal(job: &ScrapeConfig, line: usize, message: String) -> ConfigError {
    ConfigError { path: job.path.clone(), line: Some(line), job: Some(job.job_name.to_string()), message }
}
