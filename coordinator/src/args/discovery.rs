//! Flags about discovery.

use std::path::PathBuf;

use clap::Args;
use narthex_common::semantics::PrometheusVersion;

use crate::discover::{DiscoverySettings, settings::RESOLV_CONF};

/// How discovery is to work.
#[derive(Clone, Debug, Args)]
pub struct DiscoveryArgs {
    /// The file that names the servers, search list and ndots that `dns_sd_configs` look names up with.
    ///
    /// It is read at every refresh. A server may have a port there: `nameserver [127.0.0.1]:5353`.
    #[arg(long = "sd.dns.resolv-conf", default_value = RESOLV_CONF, value_name = "FILE")]
    pub resolv_conf: PathBuf,
}

impl DiscoveryArgs {
    /// What these flags and the version of the shards say.
    #[must_use]
    pub fn settings(&self, version: PrometheusVersion) -> DiscoverySettings {
        DiscoverySettings { resolv_conf: self.resolv_conf.clone(), ..version.into() }
    }
}
