//! Nodes: their addresses, the kubelet's port and their conditions.

use serde::Deserialize;

use super::{List, Meta, Text, kind, parts::null_is_default};

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Node {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// What it should be.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: NodeSpec,
    /// What it is.
    #[serde(deserialize_with = "null_is_default")]
    pub status: NodeStatus,
}

kind!(Node, "", "v1", "nodes", ClusterResourceScope);

/// What a node should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeSpec {
    /// What the cloud knows it by.
    #[serde(rename = "providerID")]
    pub provider_id: Text,
}

/// What a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeStatus {
    /// Where it can be reached.
    pub addresses: List<NodeAddress>,
    /// How it is.
    pub conditions: List<NodeCondition>,
    /// The ports of what runs on it.
    #[serde(deserialize_with = "null_is_default")]
    pub daemon_endpoints: NodeDaemonEndpoints,
}

/// An address of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeAddress {
    /// `InternalIP`, `Hostname` and their like.
    pub r#type: Text,
    /// The address.
    pub address: Text,
}

/// A condition of a node, without its times: a heartbeat changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeCondition {
    /// `Ready`, `MemoryPressure` and their like.
    pub r#type: Text,
    /// `True`, `False` or `Unknown`.
    pub status: Text,
}

/// The ports of what runs on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct NodeDaemonEndpoints {
    /// The kubelet's.
    #[serde(deserialize_with = "null_is_default")]
    pub kubelet_endpoint: DaemonEndpoint,
}

/// The port of something that runs on a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct DaemonEndpoint {
    /// Its number; the API really writes it with a capital.
    #[serde(rename = "Port", deserialize_with = "null_is_default")]
    pub port: i32,
}
