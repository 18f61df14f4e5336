//! The pods behind the addresses of a service, while the service's targets are made.

use std::{collections::HashMap, sync::Arc};

use narthex_common::labels::ADDRESS;

use super::{
    Surroundings,
    address::{join_host_port, unsigned},
    dialect::Dialect,
    labels::MetaLabels,
    pod,
};
use crate::discover::kubernetes::objects::{Container, ContainerPort, ObjectKey, Pod, TargetRef, Text};

/// Whose protocol is told for an endpoint's port that a container declares, too.
#[derive(Clone, Copy)]
pub(super) enum Protocol<'a> {
    /// That of the endpoint, as the role `endpoints` has it.
    OfEndpoint(&'a Text),
    /// That of the container, as the role `endpointslice` has it.
    OfContainer,
}

/// The pods behind the endpoints seen so far, in the order they were seen.
pub(super) struct Backends<'a> {
    surroundings: &'a Surroundings<'a>,
    dialect: Dialect,
    pods: Vec<Backend>,
    places: HashMap<ObjectKey, usize>,
}

/// A pod behind a service.
struct Backend {
    pod: Arc<Pod>,
    /// What every target of it says of the pod.
    labels: MetaLabels,
    /// The ports that endpoints had for it.
    ports: Vec<i32>,
}

impl<'a> Backends<'a> {
    /// None yet.
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        let dialect = Dialect::of(surroundings.version);
        Self { surroundings, dialect, pods: Vec::new(), places: HashMap::new() }
    }

    /// Adds to an endpoint's target what is to be said of its pod, if it belongs to one that is known.
    pub(super) fn add(
        &mut self,
        target: &mut MetaLabels,
        target_ref: Option<&TargetRef>,
        port: Option<i32>,
        protocol: Protocol<'_>,
    ) {
        let Some(place) = target_ref.and_then(|target_ref| self.place(target_ref)) else { return };
        let dialect = self.dialect;
        let backend = &mut self.pods[place];
        target.merge(&backend.labels);
        let Some(number) = port else { return };
        for (container, is_init) in containers(&backend.pod, dialect) {
            // Of containers that declare the same port, the last; of a container's own ports, the first.
            let Some(port) = container.ports.iter().find(|port| port.container_port == number) else { continue };
            set_container(target, container, port, is_init, dialect);
            if let Protocol::OfEndpoint(protocol) = protocol {
                target.set("__meta_kubernetes_pod_container_port_protocol", protocol);
            }
        }
        if !backend.ports.contains(&number) {
            backend.ports.push(number);
        }
    }

    /// Targets for the declared ports that no endpoint had.
    pub(super) fn other_targets(self) -> impl Iterator<Item = MetaLabels> {
        let dialect = self.dialect;
        self.pods.into_iter().flat_map(move |backend| other_targets(&backend, dialect))
    }

    fn place(&mut self, target_ref: &TargetRef) -> Option<usize> {
        if &*target_ref.kind != "Pod" {
            return None;
        }
        let key = ObjectKey::new(&target_ref.namespace, &target_ref.name);
        if let Some(place) = self.places.get(&key) {
            return Some(*place);
        }
        let pod = self.surroundings.cluster.pod(&key)?;
        let mut labels = MetaLabels::default();
        pod::set_labels(&mut labels, &pod, self.surroundings);
        self.pods.push(Backend { pod, labels, ports: Vec::new() });
        let place = self.pods.len() - 1;
        self.places.insert(key, place);
        Some(place)
    }
}

fn other_targets(backend: &Backend, dialect: Dialect) -> Vec<MetaLabels> {
    let Backend { pod, labels, ports } = backend;
    if pod.status.pod_ip.is_empty() && dialect.skips_endpoints_of_pods_without_address() {
        return Vec::new();
    }
    let declared = containers(pod, dialect)
        .flat_map(|(container, is_init)| container.ports.iter().map(move |port| (container, port, is_init)));
    let target = |(container, port, is_init): (&Container, &ContainerPort, bool)| {
        let mut target = labels.clone();
        target.set(ADDRESS, join_host_port(&pod.status.pod_ip, unsigned(port.container_port)));
        set_container(&mut target, container, port, is_init, dialect);
        target
    };
    declared.filter(|(_, port, _)| !ports.contains(&port.container_port)).map(target).collect()
}

/// The containers that count for endpoints.
fn containers(pod: &Pod, dialect: Dialect) -> impl Iterator<Item = (&Container, bool)> {
    pod::containers(pod).filter(move |(_, is_init)| !is_init || dialect.has_init_containers_of_endpoints())
}

fn set_container(
    labels: &mut MetaLabels,
    container: &Container,
    port: &ContainerPort,
    is_init: bool,
    dialect: Dialect,
) {
    pod::set_container(labels, container);
    pod::set_port(labels, port);
    labels.set_bool(
        "__meta_kubernetes_pod_container_init",
        dialect.has_init_containers_of_endpoints().then_some(is_init),
    );
}
