//! `role: node`: one target per node, its kubelet.

use narthex_common::labels::{ADDRESS, INSTANCE};

use super::{
    Attach, Reference, Role, Surroundings,
    address::join_host_port,
    dialect::Dialect,
    labels::{MetaLabels, sanitized},
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{Kind as _, Node, NodeAddress},
};

/// Where a node is reached: the kinds of its addresses, the best first.
const BEST_ADDRESSES: [&str; 6] =
    ["InternalIP", "InternalDNS", "ExternalIP", "ExternalDNS", "LegacyHostIP", "Hostname"];

impl Role for Node {
    const SOURCE: &'static str = "node";

    /// A node without an address says nothing new, as Prometheus has it: the target it was before stays.
    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        let first = |kind: &str| self.status.addresses.iter().find(|address| &*address.r#type == kind);
        let address = BEST_ADDRESSES.into_iter().find_map(first)?;
        let port = self.status.daemon_endpoints.kubelet_endpoint.port;
        let mut target = MetaLabels::default();
        target.set(ADDRESS, join_host_port(&address.address, port));
        target.set(INSTANCE, &self.metadata.name);
        // Of several addresses of one kind, the first.
        for NodeAddress { r#type, address } in self.status.addresses.iter().rev() {
            target.set_named(format!("__meta_kubernetes_node_address_{}", sanitized(r#type)).into(), address);
        }
        Some(TargetGroup {
            source: Self::source(&self.key()),
            labels: group_labels(self, Dialect::of(surroundings.version)).build(),
            targets: vec![target.build()],
        })
    }

    fn references(&self, _: Attach) -> Vec<Reference> {
        Vec::new()
    }
}

fn group_labels(node: &Node, dialect: Dialect) -> MetaLabels {
    let mut labels = MetaLabels::default();
    labels.set("__meta_kubernetes_node_provider_id", &node.spec.provider_id);
    if dialect.has_node_conditions() {
        for condition in &node.status.conditions {
            let name = format!("__meta_kubernetes_node_condition_{}", sanitized(&condition.r#type.to_lowercase()));
            labels.set_named(name.into(), condition.status.to_lowercase());
        }
    }
    labels.set("__meta_kubernetes_node_name", &node.metadata.name);
    labels.set_labels_and_annotations("node", &node.metadata);
    labels
}

/// Adds to a pod or an endpoint what is attached of the node it is on.
pub(super) fn attach(labels: &mut MetaLabels, name: &str, surroundings: &Surroundings<'_>) {
    let Some(node) = surroundings.cluster.node(name) else { return };
    labels.set("__meta_kubernetes_node_name", &node.metadata.name);
    if Dialect::of(surroundings.version).has_full_metadata() {
        labels.set_labels_and_annotations("node", &node.metadata);
    } else {
        labels.set_labels("node", &node.metadata);
    }
}
