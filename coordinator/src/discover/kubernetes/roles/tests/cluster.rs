//! A cluster from a list of objects, as `kubectl get -o json` writes them.

use std::{collections::BTreeMap, sync::Arc};

use super::super::{Cluster, Role, Surroundings};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{
        EndpointSlice, Endpoints, Ingress, Job, Kind, Namespace, Node, ObjectKey, Pod, ReplicaSet, Service, Watched,
    },
};

type Store<O> = BTreeMap<ObjectKey, Arc<O>>;

#[derive(Debug, Default)]
pub(super) struct Objects {
    pods: Store<Pod>,
    nodes: Store<Node>,
    namespaces: Store<Namespace>,
    services: Store<Service>,
    endpoints: Store<Endpoints>,
    slices: Store<EndpointSlice>,
    ingresses: Store<Ingress>,
    replica_sets: Store<ReplicaSet>,
    jobs: Store<Job>,
}

impl Objects {
    pub(super) fn from_list(list: &[serde_json::Value]) -> Self {
        let mut objects = Self::default();
        for json in list {
            match json["kind"].as_str().unwrap() {
                "Pod" => insert(&mut objects.pods, json),
                "Node" => insert(&mut objects.nodes, json),
                "Namespace" => insert(&mut objects.namespaces, json),
                "Service" => insert(&mut objects.services, json),
                "Endpoints" => insert(&mut objects.endpoints, json),
                "EndpointSlice" => insert(&mut objects.slices, json),
                "Ingress" => insert(&mut objects.ingresses, json),
                "ReplicaSet" => insert(&mut objects.replica_sets, json),
                "Job" => insert(&mut objects.jobs, json),
                other => panic!("no kind that any role needs: {other}"),
            }
        }
        objects
    }

    /// The groups of all objects of a role, sorted by source.
    pub(super) fn groups(&self, role: &str, surroundings: &Surroundings<'_>) -> Vec<TargetGroup> {
        let mut groups = match role {
            "pod" => groups(&self.pods, surroundings),
            "node" => groups(&self.nodes, surroundings),
            "service" => groups(&self.services, surroundings),
            "endpoints" => groups(&self.endpoints, surroundings),
            "endpointslice" => groups(&self.slices, surroundings),
            "ingress" => groups(&self.ingresses, surroundings),
            other => panic!("no role: {other}"),
        };
        groups.sort_by(|one, other| one.source.cmp(&other.source));
        groups
    }
}

impl Cluster for Objects {
    fn pod(&self, key: &ObjectKey) -> Option<Arc<Pod>> {
        self.pods.get(key).cloned()
    }

    fn service(&self, key: &ObjectKey) -> Option<Arc<Service>> {
        self.services.get(key).cloned()
    }

    fn node(&self, name: &str) -> Option<Arc<Node>> {
        self.nodes.get(name).cloned()
    }

    fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.namespaces.get(name).cloned()
    }

    fn replica_set(&self, key: &ObjectKey) -> Option<Arc<ReplicaSet>> {
        self.replica_sets.get(key).cloned()
    }

    fn job(&self, key: &ObjectKey) -> Option<Arc<Job>> {
        self.jobs.get(key).cloned()
    }
}

fn insert<O: Kind>(store: &mut Store<O>, json: &serde_json::Value) {
    // By way of text, as it comes from an API server.
    let watched: Watched<O> = serde_json::from_str(&json.to_string()).unwrap();
    store.insert(watched.object.key(), Arc::new(watched.object));
}

fn groups<O: Role>(store: &Store<O>, surroundings: &Surroundings<'_>) -> Vec<TargetGroup> {
    store.values().filter_map(|object| object.group(surroundings)).collect()
}
