//! `kubernetes_sd_configs`

mod field_selector;
mod label_selector;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
};

use super::super::super::{HttpClientConfig, http_client::Secret};
pub(super) use read::read;

/// One entry of `kubernetes_sd_configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesSdConfig {
    /// Which API server is asked, and how: `api_server`, `kubeconfig_file` and the HTTP client settings.
    pub api: KubernetesApi,
    /// What becomes a target: `role`.
    pub role: KubernetesRole,
    /// Where it is looked for: `namespaces`.
    pub namespaces: KubernetesNamespaces,
    /// Which objects of a kind count: `selectors`. Only of kinds that the role looks at.
    pub selectors: BTreeMap<KubernetesRole, KubernetesSelector>,
    /// What is added of the objects that a target belongs to: `attach_metadata`.
    pub attach: KubernetesAttach,
}

/// How an API server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KubernetesApi {
    /// The cluster that this process runs in, as the service account of its pod.
    InCluster,
    /// As a file in the format of `kubectl` says (absolute).
    Kubeconfig(PathBuf),
    /// At an address of its own.
    Server {
        /// `api_server`. May hold a password.
        url: Secret,
        /// The HTTP client settings.
        http_client: Box<HttpClientConfig>,
    },
}

/// What becomes a target, or what a selector is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KubernetesRole {
    /// One target for every port of every address of every `Endpoints`.
    Endpoints,
    /// One target for every port of every endpoint of every `EndpointSlice`.
    EndpointSlice,
    /// One target for every path of every `Ingress`.
    Ingress,
    /// One target for every node: its kubelet.
    Node,
    /// One target for every declared port of every container of every pod.
    Pod,
    /// One target for every port of every service.
    Service,
}

impl KubernetesRole {
    /// All there are.
    pub const ALL: [Self; 6] =
        [Self::Endpoints, Self::EndpointSlice, Self::Ingress, Self::Node, Self::Pod, Self::Service];

    /// Its name in a config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Endpoints => "endpoints",
            Self::EndpointSlice => "endpointslice",
            Self::Ingress => "ingress",
            Self::Node => "node",
            Self::Pod => "pod",
            Self::Service => "service",
        }
    }

    /// The kinds of objects that selectors may be about.
    #[must_use]
    pub const fn selectable(self) -> &'static [Self] {
        match self {
            Self::Endpoints => &[Self::Pod, Self::Service, Self::Endpoints],
            Self::EndpointSlice => &[Self::Pod, Self::Service, Self::EndpointSlice],
            Self::Ingress => &[Self::Ingress],
            Self::Node => &[Self::Node],
            Self::Pod => &[Self::Pod, Self::Node],
            Self::Service => &[Self::Service],
        }
    }
}

impl fmt::Display for KubernetesRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which namespaces are looked into. All of them when nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KubernetesNamespaces {
    /// Whether the namespace that this process runs in is one of them: `own_namespace`.
    pub own: bool,
    /// Those that are named; an empty name means all.
    pub names: BTreeSet<String>,
}

/// What is added to targets of the objects that they belong to. Each costs a watch of these objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesAttach {
    /// `node`: labels and annotations of its node.
    pub node: bool,
    /// `namespace`: labels and annotations of its namespace. Prometheus has it since 3.6.
    pub namespace: bool,
    /// `deployment`: the name of its pod's Deployment. Prometheus has it since 3.11.
    pub deployment: bool,
    /// `job`: the name of its pod's Job. Prometheus has it since 3.11.
    pub job: bool,
    /// `cronjob`: the name of its pod's CronJob. Prometheus has it since 3.11.
    pub cron_job: bool,
}

/// Which objects of a kind count. An empty text selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KubernetesSelector {
    /// By their labels: `app in (a, b),tier!=test`.
    pub label: String,
    /// By their fields: `spec.nodeName=a`.
    pub field: String,
}
