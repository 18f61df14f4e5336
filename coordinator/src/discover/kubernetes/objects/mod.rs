//! Kubernetes objects as discovery keeps them: only what a label, an address or a lookup needs.
//!
//! They are read straight from the API server's JSON; what is not a field here is skipped and never allocated. Missing
//! and null fields are empty, as Go reads them: one odd object must not end a watch of all the others. Two objects are
//! equal when no target group can tell them apart, so a heartbeat of a node changes nothing.
//!
//! kube's watcher hands over [`Watched`] objects; [`Watched::object`] is what is worth keeping.

mod endpoint_slice;
mod endpoints;
mod ingress;
mod key;
mod meta;
mod namespace;
mod node;
mod owner;
mod parts;
mod pod;
mod service;
#[cfg(test)]
mod tests;
mod watched;

pub use endpoint_slice::{Endpoint, EndpointConditions, EndpointSlice, SERVICE_NAME_LABEL, SlicePort};
pub use endpoints::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, TargetRef};
pub use ingress::{HttpPath, HttpRule, Ingress, IngressRule, IngressSpec, IngressTls};
pub use key::ObjectKey;
pub use meta::{Controller, Meta};
pub use namespace::Namespace;
pub use node::{DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec, NodeStatus};
pub use owner::{Job, ReplicaSet};
pub use parts::{List, Pairs, Text};
pub use pod::{Container, ContainerPort, ContainerStatus, Pod, PodSpec, PodStatus};
pub use service::{LoadBalancer, LoadBalancerIngress, Service, ServicePort, ServiceSpec, ServiceStatus};
pub use watched::Watched;

use std::fmt::Debug;

use serde::de::DeserializeOwned;

/// A kind of object that discovery watches.
pub trait Kind: Clone + Debug + Default + PartialEq + DeserializeOwned + Send + Sync + 'static {
    /// The kind's name: `Pod`.
    const KIND: &'static str;
    /// The API group; empty for the core one.
    const GROUP: &'static str;
    /// The version of the group: `v1`.
    const VERSION: &'static str;
    /// The name in URLs: `pods`.
    const PLURAL: &'static str;
    /// Whether objects live in namespaces: one of kube's scopes.
    type Scope;

    /// The object's metadata.
    fn meta(&self) -> &Meta;

    /// The object's metadata, to be changed.
    fn meta_mut(&mut self) -> &mut Meta;

    /// Drops what only other kinds need of the metadata.
    fn slim(&mut self) {
        let meta = self.meta_mut();
        meta.uid = Text::default();
        meta.controller = None;
    }

    /// What the object is known by among those of its kind.
    fn key(&self) -> ObjectKey {
        ObjectKey::new(&self.meta().namespace, &self.meta().name)
    }
}

/// Says of a type with a field `metadata` which kind it is.
macro_rules! kind {
    ($object:ident, $group:literal, $version:literal, $plural:literal, $scope:ident $(, $slim:item)?) => {
        impl crate::discover::kubernetes::objects::Kind for $object {
            const KIND: &'static str = stringify!($object);
            const GROUP: &'static str = $group;
            const VERSION: &'static str = $version;
            const PLURAL: &'static str = $plural;
            type Scope = kube::core::$scope;

            fn meta(&self) -> &crate::discover::kubernetes::objects::Meta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut crate::discover::kubernetes::objects::Meta {
                &mut self.metadata
            }

            $($slim)?
        }
    };
}
use kind;
