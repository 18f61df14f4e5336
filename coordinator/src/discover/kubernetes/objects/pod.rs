//! Pods: their containers' ports, where they run and how they are.

use serde::{Deserialize, Deserializer};

use super::{List, Meta, Text, kind, parts::null_is_default};

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// What it should be.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: PodSpec,
    /// What it is.
    #[serde(deserialize_with = "null_is_default")]
    pub status: PodStatus,
}

kind!(Pod, "", "v1", "pods", NamespaceResourceScope, fn slim(&mut self) {});

/// What a pod should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// The node it runs on; empty before it is scheduled.
    pub node_name: Text,
    /// Its containers.
    pub containers: List<Container>,
    /// The containers that run before these, and sidecars, which stay.
    pub init_containers: List<Container>,
}

/// A container of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its name.
    pub name: Text,
    /// Its image.
    pub image: Text,
    /// The ports it declares.
    pub ports: List<ContainerPort>,
}

/// A port that a container declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name; may be empty.
    pub name: Text,
    /// Its number.
    #[serde(deserialize_with = "null_is_default")]
    pub container_port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Text,
}

/// What a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Text,
    /// Its address; empty while it has none.
    #[serde(rename = "podIP")]
    pub pod_ip: Text,
    /// The address of its node.
    #[serde(rename = "hostIP")]
    pub host_ip: Text,
    /// The status of its condition `Ready`: `True`, `False` or `Unknown`. No other condition is kept.
    #[serde(rename = "conditions", deserialize_with = "ready_condition")]
    pub ready: Option<Text>,
    /// How its containers are.
    pub container_statuses: List<ContainerStatus>,
    /// How its init containers are.
    pub init_container_statuses: List<ContainerStatus>,
}

/// How a container is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: Text,
    /// What the runtime knows it by; empty before it runs.
    #[serde(rename = "containerID")]
    pub container_id: Text,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition {
    r#type: Text,
    status: Text,
}

fn ready_condition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Text>, D::Error> {
    let conditions = List::<Condition>::deserialize(deserializer)?;
    Ok(conditions.iter().find(|condition| &*condition.r#type == "Ready").map(|ready| ready.status.clone()))
}
