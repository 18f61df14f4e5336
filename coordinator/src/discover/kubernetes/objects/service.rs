//! Services: their ports, their type and what they are reached by.

use serde::Deserialize;

use super::{List, Meta, Text, kind, parts::null_is_default};

/// A service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
    /// What it should be.
    #[serde(deserialize_with = "null_is_default")]
    pub spec: ServiceSpec,
    /// What it is.
    #[serde(deserialize_with = "null_is_default")]
    pub status: ServiceStatus,
}

kind!(Service, "", "v1", "services", NamespaceResourceScope);

/// What a service should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`.
    pub r#type: Text,
    /// Its address in the cluster; `None` when it is headless.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Text,
    /// The name that an `ExternalName` stands for.
    pub external_name: Text,
    /// The address asked for, of a `LoadBalancer`.
    #[serde(rename = "loadBalancerIP")]
    pub load_balancer_ip: Text,
    /// Its ports.
    pub ports: List<ServicePort>,
    /// Its IP families, the primary one first.
    pub ip_families: List<Text>,
    /// `SingleStack`, `PreferDualStack` or `RequireDualStack`.
    pub ip_family_policy: Text,
}

/// A port of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServicePort {
    /// Its name; may be empty.
    pub name: Text,
    /// Its number.
    #[serde(deserialize_with = "null_is_default")]
    pub port: i32,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: Text,
}

/// What a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ServiceStatus {
    /// How its load balancer is.
    #[serde(deserialize_with = "null_is_default")]
    pub load_balancer: LoadBalancer,
}

/// How a load balancer is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancer {
    /// Where it listens.
    pub ingress: List<LoadBalancerIngress>,
}

/// Where a load balancer listens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LoadBalancerIngress {
    /// The address; empty for one that is known by name.
    pub ip: Text,
}
