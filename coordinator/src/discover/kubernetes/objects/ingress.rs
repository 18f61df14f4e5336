//! Ingresses: the hosts and paths that lead into the cluster.

use serde::Deserialize;

use super::{List, Meta, Text, kind, parts::null_is_default};

/// An ingress.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Ingress {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// What it should be.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: IngressSpec,
}

kind!(Ingress, "networking.k8s.io", "v1", "ingresses", NamespaceResourceScope);

/// What an ingress should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IngressSpec {
    /// The class of controllers that should serve it.
    pub ingress_class_name: Option<Text>,
    /// Which hosts are served with TLS.
    pub tls: List<IngressTls>,
    /// What leads where.
    pub rules: List<IngressRule>,
}

/// Hosts that are served with one certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IngressTls {
    /// Their names; the first part may be `*`.
    pub hosts: List<Text>,
}

/// What leads into the cluster at one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct IngressRule {
    /// The host; empty for every host.
    pub host: Text,
    /// Its paths; none says everything.
    pub http: Option<HttpRule>,
}

/// The paths of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpRule {
    /// The paths.
    pub paths: List<HttpPath>,
}

/// A path of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpPath {
    /// The path; empty says all of them.
    pub path: Text,
}
