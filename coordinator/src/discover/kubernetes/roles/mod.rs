//! Roles: from the objects of a cluster to target groups, as Prometheus makes them.
//!
//! Every function here is one of values: what an object becomes depends on the object, on those it refers to, and on
//! the version of Prometheus to be faithful to. Which objects refer to which is kept in [`Dependents`], so that a
//! change of one makes anew only the groups it shows up in.

mod address;
mod backends;
mod dependents;
mod dialect;
mod endpoint_slice;
mod endpoints;
mod ingress;
mod labels;
mod namespace;
mod node;
mod pod;
mod service;
#[cfg(test)]
mod tests;

pub use dependents::{Dependents, Reference};
pub use narthex_common::config::scrape::KubernetesAttach as Attach;

use std::sync::Arc;

use narthex_common::semantics::PrometheusVersion;

use super::objects::{Job, Kind, Namespace, Node, ObjectKey, Pod, ReplicaSet, Service};
use crate::discover::group::TargetGroup;

/// A kind of object that target groups are made from, one group from one object.
pub trait Role: Kind {
    /// What the sources of its groups begin with: `pod` of `pod/namespace/name`.
    const SOURCE: &'static str;

    /// The group of the object. None says nothing new: the group that was told before stays.
    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup>;

    /// The other objects, those of its namespace apart, that the group depends on.
    fn references(&self, attach: Attach) -> Vec<Reference>;

    /// The source of the group of the object with this key.
    fn source(key: &ObjectKey) -> String {
        format!("{}/{key}", Self::SOURCE)
    }

    /// What is told when the object with this key has gone.
    fn gone(key: &ObjectKey) -> TargetGroup {
        TargetGroup::gone(Self::source(key))
    }
}

/// What a group depends on besides its object.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// Which Prometheus to be faithful to.
    pub version: PrometheusVersion,
    /// What the config asks to be attached.
    pub attach: Attach,
    /// The other objects that are known.
    pub cluster: &'a dyn Cluster,
}

/// The objects that others refer to, as far as they are watched.
pub trait Cluster {
    /// A pod.
    fn pod(&self, key: &ObjectKey) -> Option<Arc<Pod>>;
    /// A service.
    fn service(&self, key: &ObjectKey) -> Option<Arc<Service>>;
    /// A node.
    fn node(&self, name: &str) -> Option<Arc<Node>>;
    /// A namespace.
    fn namespace(&self, name: &str) -> Option<Arc<Namespace>>;
    /// A ReplicaSet.
    fn replica_set(&self, key: &ObjectKey) -> Option<Arc<ReplicaSet>>;
    /// A Job.
    fn job(&self, key: &ObjectKey) -> Option<Arc<Job>>;
}
