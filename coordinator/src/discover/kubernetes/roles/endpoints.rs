//! `role: endpoints`: one target per address and port behind a service, and one per further port of the pods there.

use narthex_common::labels::ADDRESS;

use super::{
    Attach, Reference, Role, Surroundings,
    address::{join_host_port, unsigned},
    backends::{Backends, Protocol},
    dialect::Dialect,
    labels::{MetaLabels, NAMESPACE},
    namespace, node, service,
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{EndpointAddress, EndpointPort, Endpoints, Kind as _, ObjectKey, TargetRef},
};

impl Role for Endpoints {
    const SOURCE: &'static str = "endpoints";

    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        let mut backends = Backends::new(surroundings);
        let mut targets = Vec::new();
        for subset in &self.subsets {
            for port in &subset.ports {
                let ready = subset.addresses.iter().map(|address| (address, true));
                for (address, is_ready) in
                    ready.chain(subset.not_ready_addresses.iter().map(|address| (address, false)))
                {
                    let mut target = target(address, port, is_ready, surroundings);
                    let target_ref = address.target_ref.as_deref();
                    backends.add(&mut target, target_ref, Some(port.port), Protocol::OfEndpoint(&port.protocol));
                    targets.push(target.build());
                }
            }
        }
        targets.extend(backends.other_targets().map(MetaLabels::build));
        Some(TargetGroup {
            source: Self::source(&self.key()),
            labels: group_labels(self, surroundings).build(),
            targets,
        })
    }

    fn references(&self, attach: Attach) -> Vec<Reference> {
        let subsets = self.subsets.iter();
        let addresses = subsets.flat_map(|subset| subset.addresses.iter().chain(&subset.not_ready_addresses));
        let addresses = addresses.flat_map(|address| {
            let node = attach.node.then(|| node_name(address)).flatten();
            let node = node.map(|name| Reference::Node(ObjectKey::cluster_wide(name)));
            Reference::to_pod(address.target_ref.as_deref()).into_iter().chain(node)
        });
        addresses.chain([Reference::Service(self.key())]).collect()
    }
}

fn group_labels(endpoints: &Endpoints, surroundings: &Surroundings<'_>) -> MetaLabels {
    let metadata = &endpoints.metadata;
    let mut labels = MetaLabels::default();
    labels.set(NAMESPACE, &metadata.namespace);
    if let Some(service) = surroundings.cluster.service(&endpoints.key()) {
        service::set_labels(&mut labels, &service);
    }
    labels.set("__meta_kubernetes_endpoints_name", &metadata.name);
    if Dialect::of(surroundings.version).has_full_metadata() {
        labels.set_labels_and_annotations("endpoints", metadata);
    } else {
        labels.set_labels("endpoints", metadata);
    }
    namespace::attach(&mut labels, &metadata.namespace, surroundings);
    labels
}

fn target(
    address: &EndpointAddress,
    port: &EndpointPort,
    is_ready: bool,
    surroundings: &Surroundings<'_>,
) -> MetaLabels {
    let mut labels = MetaLabels::default();
    labels.set(ADDRESS, join_host_port(&address.ip, unsigned(port.port)));
    labels.set("__meta_kubernetes_endpoint_port_name", &port.name);
    labels.set("__meta_kubernetes_endpoint_port_protocol", &port.protocol);
    labels.set_bool("__meta_kubernetes_endpoint_ready", Some(is_ready));
    if let Some(TargetRef { kind, name, .. }) = address.target_ref.as_deref() {
        labels.set("__meta_kubernetes_endpoint_address_target_kind", kind);
        labels.set("__meta_kubernetes_endpoint_address_target_name", name);
    }
    if let Some(node_name) = &address.node_name {
        labels.set("__meta_kubernetes_endpoint_node_name", node_name);
    }
    labels.set("__meta_kubernetes_endpoint_hostname", &address.hostname);
    if surroundings.attach.node {
        let of_nodes = Dialect::of(surroundings.version).attaches_nodes_of_node_endpoints();
        let name = if of_nodes { node_name(address) } else { address.node_name.as_deref() };
        if let Some(name) = name {
            node::attach(&mut labels, name, surroundings);
        }
    }
    labels
}

/// The node whose metadata is attached: the one the address is on, or the one it belongs to.
fn node_name(address: &EndpointAddress) -> Option<&str> {
    let target_ref = address.target_ref.as_deref().filter(|target_ref| &*target_ref.kind == "Node");
    address.node_name.as_deref().or(target_ref.map(|target_ref| &*target_ref.name))
}
