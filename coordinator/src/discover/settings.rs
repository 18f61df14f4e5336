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
}

impl From<PrometheusVersion> for DiscoverySettings {
    /// The defaults, by the rules of a version.
    fn from(version: PrometheusVersion) -> Self {
        Self { version, resolv_conf: RESOLV_CONF.into() }
    }
}
