//! `static_configs` and the `*_sd_configs` of a job read and validated: one file for each kind that Narthex knows.

mod consul;
mod dns;
mod file;
mod http;
mod kubernetes;
mod static_list;

use super::{
    super::{
        PromDuration,
        fields::{Fault, Fields},
        paths::BaseDir,
        yaml::Node,
    },
    OtherSdConfig, SdConfig,
};
use crate::semantics::PrometheusVersion;
pub use kubernetes::{
    KubernetesApi, KubernetesAttach, KubernetesNamespaces, KubernetesRole, KubernetesSdConfig, KubernetesSelector,
};
pub(super) use static_list::check_addresses as check_static_addresses;

/// Discoveries that Prometheus has and Narthex leaves to somebody else.
const OTHER_KINDS: [&str; 31] = [
    "aws_sd_configs",
    "azure_sd_configs",
    "digitalocean_sd_configs",
    "docker_sd_configs",
    "dockerswarm_sd_configs",
    "ec2_sd_configs",
    "ecs_sd_configs",
    "elasticache_sd_configs",
    "eureka_sd_configs",
    "gce_sd_configs",
    "hetzner_sd_configs",
    "ionos_sd_configs",
    "kuma_sd_configs",
    "lightsail_sd_configs",
    "linode_sd_configs",
    "marathon_sd_configs",
    "msk_sd_configs",
    "nerve_sd_configs",
    "nomad_sd_configs",
    "oci_sd_configs",
    "openstack_sd_configs",
    "outscale_sd_configs",
    "ovhcloud_sd_configs",
    "puppetdb_sd_configs",
    "rds_sd_configs",
    "scaleway_sd_configs",
    "serverset_sd_configs",
    "stackit_sd_configs",
    "triton_sd_configs",
    "uyuni_sd_configs",
    "vultr_sd_configs",
];

/// All discoveries of a job: static ones first, then those that Narthex knows by kind, then the others.
pub(super) fn read(fields: &Fields<'_>, dir: BaseDir<'_>, version: PrometheusVersion) -> Result<Vec<SdConfig>, Fault> {
    let mut discovery = Vec::new();
    for node in entries(fields, "static_configs")? {
        discovery.push(SdConfig::Static(static_list::read(node, version.default_name_validation())?));
    }
    for node in entries(fields, "file_sd_configs")? {
        discovery.push(known("file_sd_configs", node, file::read(node, dir).map(SdConfig::File))?);
    }
    for node in entries(fields, "http_sd_configs")? {
        discovery.push(known("http_sd_configs", node, http::read(node, dir).map(SdConfig::Http))?);
    }
    for node in entries(fields, "kubernetes_sd_configs")? {
        discovery.push(known("kubernetes_sd_configs", node, kubernetes::read(node, dir).map(SdConfig::Kubernetes))?);
    }
    for node in entries(fields, "dns_sd_configs")? {
        discovery.push(known("dns_sd_configs", node, dns::read(node, version).map(SdConfig::Dns))?);
    }
    for node in entries(fields, "consul_sd_configs")? {
        discovery.push(known("consul_sd_configs", node, consul::read(node, dir).map(SdConfig::Consul))?);
    }
    for kind in OTHER_KINDS {
        for node in entries(fields, kind)? {
            discovery.push(other(kind, node, None));
        }
    }
    Ok(discovery)
}

/// An entry of a kind that Narthex knows. One with a field (or a role) that it does not know is somebody else's to understand:
/// Prometheus has new ones in every release.
fn known(kind: &str, node: &Node, read: Result<SdConfig, Fault>) -> Result<SdConfig, Fault> {
    match read {
        Err(fault) if fault.is_of_unknown_field => Ok(other(kind, node, Some(fault.message))),
        read => read,
    }
}

fn other(kind: &str, node: &Node, unknown_field: Option<String>) -> SdConfig {
    SdConfig::Other(OtherSdConfig { kind: kind.to_owned(), line: node.line, unknown_field, written: node.clone() })
}

fn entries<'a>(fields: &Fields<'a>, kind: &'static str) -> Result<&'a [Node], Fault> {
    let entries = fields.list(kind, "a list of discoveries")?;
    match entries.iter().find(|node| node.is_null()) {
        Some(node) => Err(Fault::at(node, format!("empty or null section in {kind}"))),
        None => Ok(entries),
    }
}

/// Prometheus would stop with a panic on an interval of no time.
fn refresh_interval(fields: &Fields<'_>, default: PromDuration) -> Result<PromDuration, Fault> {
    let field = "refresh_interval";
    if fields.get(field).is_none() {
        return Ok(default);
    }
    let interval = fields.duration(field)?;
    if interval.is_zero() {
        return Err(Fault::new(fields.line_of(field), "refresh_interval must be greater than 0"));
    }
    Ok(interval)
}
