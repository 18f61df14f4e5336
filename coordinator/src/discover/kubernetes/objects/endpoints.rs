//! Endpoints: the addresses behind a service.

use serde::Deserialize;

use super::{List, Meta, Text, kind, parts::null_is_default};

/// The addresses behind the service of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Endpoints {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// Addresses, grouped by the ports they share.
    pub subsets: List<EndpointSubset>,
}

kind!(Endpoints, "", "v1", "endpoints", NamespaceResourceScope);

/// Addresses that share ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointSubset {
    /// The addresses that are ready.
    pub addresses: List<EndpointAddress>,
    /// Those that are not.
    pub not_ready_addresses: List<EndpointAddress>,
    /// The ports of all of them.
    pub ports: List<EndpointPort>,
}

/// An address behind a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointAddress {
    /// The address.
    pub ip: Text,
    /// Its name, where it has one.
    pub hostname: Text,
    /// The node it is on.
    pub node_name: Option<Text>,
    /// The object it belongs to.
    pub target_ref: Option<Box<TargetRef>>,
}

/// A port of the addresses behind a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// The name of the service's port; may be empty.
    pub name: Text,
    /// Its number.
    #[serde(deserialize_with = "null_is_default")]
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Text,
}

/// The object that an address belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Mostly `Pod`; `Node` for what runs on nodes themselves.
    pub kind: Text,
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
}
