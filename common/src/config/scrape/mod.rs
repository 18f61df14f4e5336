//! One `scrape_configs` entry, with what it inherits from `global` filled in.

mod discovery;
pub(super) mod protocols;
mod read;
mod relabel;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

pub use discovery::{
    KubernetesApi, KubernetesAttach, KubernetesNamespaces, KubernetesRole, KubernetesSdConfig, KubernetesSelector,
};

use super::{HttpClientConfig, PromDuration, resolve, yaml};
use crate::{
    job::JobName,
    labels::Labels,
    relabel::{RelabelConfig, RelabeledBy},
    semantics::NameValidation,
};

/// A job. Every field is effective: defaults and `global` are applied.
#[derive(Clone)]
pub struct ScrapeConfig {
    /// `job_name`
    pub job_name: JobName,
    /// `scrape_interval`
    pub scrape_interval: PromDuration,
    /// `scrape_timeout`
    pub scrape_timeout: PromDuration,
    /// `scrape_protocols`
    pub scrape_protocols: Vec<String>,
    /// `fallback_scrape_protocol`
    pub fallback_scrape_protocol: Option<String>,
    /// `scrape_native_histograms`
    pub scrape_native_histograms: bool,
    /// `always_scrape_classic_histograms`
    pub always_scrape_classic_histograms: bool,
    /// `convert_classic_histograms_to_nhcb`
    pub convert_classic_histograms_to_nhcb: bool,
    /// `extra_scrape_metrics`
    pub extra_scrape_metrics: bool,
    /// `params`
    pub params: BTreeMap<String, Vec<String>>,
    /// `metrics_path`
    pub metrics_path: String,
    /// `scheme`
    pub scheme: String,
    /// `honor_labels`
    pub honor_labels: bool,
    /// `honor_timestamps`
    pub honor_timestamps: bool,
    /// `track_timestamps_staleness`
    pub track_timestamps_staleness: bool,
    /// `enable_compression`
    pub enable_compression: bool,
    /// `body_size_limit` in bytes, 0 is none
    pub body_size_limit: u64,
    /// `sample_limit`, 0 is none
    pub sample_limit: u64,
    /// `target_limit`, 0 is none
    pub target_limit: u64,
    /// `label_limit`, 0 is none
    pub label_limit: u64,
    /// `label_name_length_limit`, 0 is none
    pub label_name_length_limit: u64,
    /// `label_value_length_limit`, 0 is none
    pub label_value_length_limit: u64,
    /// `keep_dropped_targets`, 0 is all
    pub keep_dropped_targets: u64,
    /// `metric_name_validation_scheme`
    pub name_validation: NameValidation,
    /// `metric_name_escaping_scheme`
    pub metric_name_escaping_scheme: String,
    /// Who applies `relabel_configs`.
    pub relabeled_by: RelabeledBy,
    /// `relabel_configs`
    pub relabel_configs: Vec<RelabelConfig>,
    /// `metric_relabel_configs`
    pub metric_relabel_configs: Vec<RelabelConfig>,
    /// The HTTP client settings.
    pub http_client: HttpClientConfig,
    /// How its targets are discovered.
    pub discovery: Vec<SdConfig>,
    /// The job as the user wrote it.
    pub node: yaml::Node,
    /// The file it stands in.
    pub path: PathBuf,
    /// The line it starts at, counted from 1.
    pub line: usize,
}

/// Says which job it is, not what is in it: its text may hold secrets.
impl fmt::Debug for ScrapeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { job_name, path, line, .. } = self;
        f.debug_struct("ScrapeConfig")
            .field("job_name", job_name)
            .field("path", path)
            .field("line", line)
            .finish_non_exhaustive()
    }
}

/// One way a job discovers its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "a config has few of them, and nothing copies them around")]
pub enum SdConfig {
    /// One entry of `static_configs`.
    Static(StaticConfig),
    /// One entry of `file_sd_configs`.
    File(FileSdConfig),
    /// One entry of `http_sd_configs`.
    Http(HttpSdConfig),
    /// One entry of `kubernetes_sd_configs`.
    Kubernetes(KubernetesSdConfig),
    /// One entry of `dns_sd_configs`.
    Dns(DnsSdConfig),
    /// One entry of `consul_sd_configs`.
    Consul(ConsulSdConfig),
    /// One entry that Narthex does not know.
    Other(OtherSdConfig),
}

impl ScrapeConfig {
    /// An entry of this job as the user wrote it, under its kind, so that it means the same wherever it lies: relative
    /// paths are made absolute. It may hold secrets.
    #[must_use]
    pub fn resolved_discovery(&self, other: &OtherSdConfig) -> yaml::Node {
        resolve::resolved_discovery(&other.kind, &other.written, &self.path)
    }
}

/// One entry of a kind of discovery that Narthex does not know, or with a field that it does not know.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherSdConfig {
    /// The kind: `eureka_sd_configs`.
    pub kind: String,
    /// The line it stands at, counted from 1.
    pub line: usize,
    /// What is not known of it, when its kind is.
    pub unknown_field: Option<String>,
    /// The entry as the user wrote it.
    pub written: yaml::Node,
}

/// Says which entry it is, not what is in it: its text may hold secrets.
impl fmt::Debug for OtherSdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, line, unknown_field, written: _ } = self;
        f.debug_struct("OtherSdConfig")
            .field("kind", kind)
            .field("line", line)
            .field("unknown_field", unknown_field)
            .finish_non_exhaustive()
    }
}

/// One entry of `static_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticConfig {
    /// The addresses.
    pub targets: Vec<String>,
    /// The labels of all of them.
    pub labels: Labels,
}

/// One entry of `file_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileSdConfig {
    /// Patterns of files, absolute where the config's own path is.
    pub files: Vec<PathBuf>,
    /// Those of them that are written as relative paths.
    pub relative: BTreeSet<PathBuf>,
    /// How often they are read again even if nothing seems to have changed.
    pub refresh_interval: PromDuration,
}

/// One entry of `consul_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsulSdConfig {
    /// Host and port of the Consul agent or server.
    pub server: String,
    /// What goes before the paths of its API: empty, or with a `/` at its beginning.
    pub path_prefix: String,
    /// `http` or `https`.
    pub scheme: String,
    /// The ACL token; empty when there is none.
    pub token: super::http_client::Secret,
    /// The datacenter to ask about; empty for that of the agent.
    pub datacenter: String,
    /// The namespace (Consul Enterprise) to ask about; empty for the token's.
    pub namespace: String,
    /// The admin partition (Consul Enterprise) to ask about; empty for the agent's.
    pub partition: String,
    /// What stands around and between the tags in `__meta_consul_tags`.
    pub tag_separator: String,
    /// Whether any server may answer, with what it knows.
    pub allow_stale: bool,
    /// How often each question is asked at most.
    pub refresh_interval: PromDuration,
    /// The services to discover; empty for all.
    pub services: Vec<String>,
    /// The tags that an instance must have, all of them.
    pub tags: Vec<String>,
    /// The metadata that a node must have.
    pub node_meta: BTreeMap<String, String>,
    /// Consul's filter for the list of services; empty for none.
    pub filter: String,
    /// Consul's filter for the instances of a service; empty for none.
    pub health_filter: String,
    /// The HTTP client settings; deprecated `username` and `password` are in it.
    pub http_client: HttpClientConfig,
}

/// One entry of `dns_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSdConfig {
    /// The names to look up.
    pub names: Vec<String>,
    /// The records to ask for.
    pub records: DnsRecords,
    /// The port of all targets; `SRV` records have their own.
    pub port: u64,
    /// How often they are looked up.
    pub refresh_interval: PromDuration,
}

/// The kinds of records that `dns_sd_configs` may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DnsRecords {
    /// Hosts with ports.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Mail servers.
    Mx,
    /// Name servers.
    Ns,
}

/// One entry of `http_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpSdConfig {
    /// Where the targets are listed. May hold a password.
    pub url: super::http_client::Secret,
    /// How often it is asked.
    pub refresh_interval: PromDuration,
    /// The HTTP client settings.
    pub http_client: HttpClientConfig,
}
