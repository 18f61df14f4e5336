//! `role: endpointslice`: one target per address and port in a slice, and one per further port of the pods there.

use compact_str::{CompactString, ToCompactString as _};
use narthex_common::labels::ADDRESS;

use super::{
    Attach, Reference, Role, Surroundings,
    address::{join_host_port, unsigned},
    backends::{Backends, Protocol},
    dialect::Dialect,
    labels::{MetaLabels, NAMESPACE, sanitized},
    namespace, node, service,
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{
        Endpoint, EndpointSlice, Kind as _, ObjectKey, SERVICE_NAME_LABEL, Service, SlicePort, TargetRef, Text,
    },
};

impl Role for EndpointSlice {
    const SOURCE: &'static str = "endpointslice";

    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        let dialect = Dialect::of(surroundings.version);
        let service = service_key(self).and_then(|key| surroundings.cluster.service(&key));
        let is_secondary = service.as_deref().is_some_and(|service| is_of_secondary_family(self, service));
        let targets =
            if is_secondary && dialect.skips_secondary_ip_family() { Vec::new() } else { targets(self, surroundings) };
        Some(TargetGroup {
            source: Self::source(&self.key()),
            labels: group_labels(self, service.as_deref(), surroundings).build(),
            targets: targets.into_iter().map(MetaLabels::build).collect(),
        })
    }

    fn references(&self, attach: Attach) -> Vec<Reference> {
        let endpoints = self.endpoints.iter().flat_map(|endpoint| {
            let node = attach.node.then(|| node_name(endpoint)).flatten();
            let node = node.map(|name| Reference::Node(ObjectKey::cluster_wide(name)));
            Reference::to_pod(endpoint.target_ref.as_deref()).into_iter().chain(node)
        });
        endpoints.chain(service_key(self).map(Reference::Service)).collect()
    }
}

fn service_key(slice: &EndpointSlice) -> Option<ObjectKey> {
    let name = slice.metadata.labels.get(SERVICE_NAME_LABEL)?;
    Some(ObjectKey::new(&slice.metadata.namespace, name))
}

fn group_labels(slice: &EndpointSlice, service: Option<&Service>, surroundings: &Surroundings<'_>) -> MetaLabels {
    let metadata = &slice.metadata;
    let mut labels = MetaLabels::default();
    labels.set(NAMESPACE, &metadata.namespace);
    labels.set("__meta_kubernetes_endpointslice_address_type", &slice.address_type);
    labels.set("__meta_kubernetes_endpointslice_name", &metadata.name);
    if Dialect::of(surroundings.version).has_full_metadata() {
        labels.set_labels_and_annotations("endpointslice", metadata);
    }
    if let Some(service) = service {
        service::set_labels(&mut labels, service);
    }
    namespace::attach(&mut labels, &metadata.namespace, surroundings);
    labels
}

fn targets(slice: &EndpointSlice, surroundings: &Surroundings<'_>) -> Vec<MetaLabels> {
    let mut backends = Backends::new(surroundings);
    let mut targets = Vec::new();
    for endpoint in &slice.endpoints {
        let of_endpoint = endpoint_labels(endpoint, surroundings);
        for port in &slice.ports {
            for address in &endpoint.addresses {
                let mut target = of_endpoint.clone();
                set_port(&mut target, address, port);
                backends.add(&mut target, endpoint.target_ref.as_deref(), port.port, Protocol::OfContainer);
                targets.push(target);
            }
        }
    }
    targets.extend(backends.other_targets());
    targets
}

fn set_port(labels: &mut MetaLabels, address: &Text, port: &SlicePort) {
    let SlicePort { name, port, protocol, app_protocol } = port;
    let address = port.map_or_else(|| CompactString::from(address), |port| join_host_port(address, unsigned(port)));
    labels.set(ADDRESS, address);
    set_known(labels, "__meta_kubernetes_endpointslice_port_name", name.as_ref());
    set_known(labels, "__meta_kubernetes_endpointslice_port_protocol", protocol.as_ref());
    if let Some(port) = port {
        labels.set("__meta_kubernetes_endpointslice_port", unsigned(*port).to_compact_string());
    }
    set_known(labels, "__meta_kubernetes_endpointslice_port_app_protocol", app_protocol.as_ref());
}

fn endpoint_labels(endpoint: &Endpoint, surroundings: &Surroundings<'_>) -> MetaLabels {
    let Endpoint { conditions, hostname, node_name: on_node, zone, target_ref, deprecated_topology, .. } = endpoint;
    let dialect = Dialect::of(surroundings.version);
    let mut labels = MetaLabels::default();
    labels.set_bool("__meta_kubernetes_endpointslice_endpoint_conditions_ready", conditions.ready);
    labels.set_bool("__meta_kubernetes_endpointslice_endpoint_conditions_serving", conditions.serving);
    labels.set_bool("__meta_kubernetes_endpointslice_endpoint_conditions_terminating", conditions.terminating);
    set_known(&mut labels, "__meta_kubernetes_endpointslice_endpoint_hostname", hostname.as_ref());
    if let Some(TargetRef { kind, name, .. }) = target_ref.as_deref() {
        labels.set("__meta_kubernetes_endpointslice_address_target_kind", kind);
        labels.set("__meta_kubernetes_endpointslice_address_target_name", name);
    }
    if dialect.has_place_of_slice_endpoints() {
        set_known(&mut labels, "__meta_kubernetes_endpointslice_endpoint_node_name", on_node.as_ref());
        set_known(&mut labels, "__meta_kubernetes_endpointslice_endpoint_zone", zone.as_ref());
    }
    for (key, value) in deprecated_topology.iter() {
        let key = sanitized(key);
        labels.set_named(format!("__meta_kubernetes_endpointslice_endpoint_topology_{key}").into(), value.clone());
        labels.set_named(format!("__meta_kubernetes_endpointslice_endpoint_topology_present_{key}").into(), "true");
    }
    if surroundings.attach.node {
        let name = if dialect.attaches_nodes_of_node_endpoints() { node_name(endpoint) } else { on_node.as_deref() };
        if let Some(name) = name {
            node::attach(&mut labels, name, surroundings);
        }
    }
    labels
}

fn set_known(labels: &mut MetaLabels, name: &'static str, value: Option<&Text>) {
    if let Some(value) = value {
        labels.set(name, value);
    }
}

/// The node whose metadata is attached: the one the endpoint is, or the one it is on.
fn node_name(endpoint: &Endpoint) -> Option<&str> {
    let target_ref = endpoint.target_ref.as_deref().filter(|target_ref| &*target_ref.kind == "Node");
    target_ref.map(|target_ref| &*target_ref.name).or(endpoint.node_name.as_deref())
}

/// Whether a slice has the addresses of a dual-stack service once more, in its other IP family.
fn is_of_secondary_family(slice: &EndpointSlice, service: &Service) -> bool {
    let is_dual_stack = matches!(&*service.spec.ip_family_policy, "PreferDualStack" | "RequireDualStack");
    is_dual_stack && service.spec.ip_families.first().is_some_and(|primary| *primary != slice.address_type)
}
