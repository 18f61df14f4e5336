//! How discovery is to work: what the command line says about it.

use std::path::PathBuf;

use narthex_common::semantics::PrometheusVersion;

/// Where systems keep the addresses of their name servers.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How discovery is to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoverySettings {
    /// The Prometheus version whose rules apply.
    pub version: PrometheusVersion,
    /// The file that names the servers `dns_sd_configs` are asked of.
    pub resolv_conf: PathBuf,
    /// The working directory, if the config file was named by a relative path: relative paths in it then are shown as
    /// relative ones, too, as Prometheus shows them in `__meta_filepath`.
    pub working_dir: Option<PathBuf>,
}

impl From<PrometheusVersion> for DiscoverySettings {
    /// The defaults, by the rules of a version.
    fn from(version: PrometheusVersion) -> Self {
        Self { version, resolv_conf: RESOLV_CONF.into(), working_dir: None }
    }
}
