//! Endpoint slices: a part of the addresses behind a service.

use serde::Deserialize;

use super::{List, Meta, Pairs, TargetRef, Text, kind, parts::null_is_default};

/// The label that names the service of a slice.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A part of the addresses behind a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// `IPv4`, `IPv6` or `FQDN`.
    pub address_type: Text,
    /// What has the addresses.
    pub endpoints: List<Endpoint>,
    /// The ports of all of them.
    pub ports: List<SlicePort>,
}

kind!(EndpointSlice, "discovery.k8s.io", "v1", "endpointslices", NamespaceResourceScope);

/// What has addresses in a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: List<Text>,
    /// How it is.
    #[serde(deserialize_with = "null_is_default")]
    pub conditions: EndpointConditions,
    /// Its name, where it has one.
    pub hostname: Option<Text>,
    /// The node it is on.
    pub node_name: Option<Text>,
    /// The zone it is in.
    pub zone: Option<Text>,
    /// The object it belongs to.
    pub target_ref: Option<Box<TargetRef>>,
    /// What the API's `v1beta1` said of its place, where anybody still sets it.
    pub deprecated_topology: Pairs,
}

/// How an endpoint is; what is not said is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it takes connections and is not about to end.
    pub ready: Option<bool>,
    /// Whether it takes connections.
    pub serving: Option<bool>,
    /// Whether it is about to end.
    pub terminating: Option<bool>,
}

/// A port of the endpoints of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SlicePort {
    /// The name of the service's port.
    pub name: Option<Text>,
    /// Its number; none says all of them.
    pub port: Option<i32>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Option<Text>,
    /// What is spoken there.
    pub app_protocol: Option<Text>,
}
