//! `role: service`: one target per port of a service.

use compact_str::{CompactString, CompactStringExt as _, ToCompactString as _};
use narthex_common::labels::ADDRESS;

use super::{
    Attach, Reference, Role, Surroundings,
    address::join_host_port,
    dialect::Dialect,
    labels::{MetaLabels, NAMESPACE},
    namespace,
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{Kind as _, Service, ServicePort},
};

impl Role for Service {
    const SOURCE: &'static str = "svc";

    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        let mut labels = MetaLabels::default();
        set_labels(&mut labels, self);
        namespace::attach(&mut labels, &self.metadata.namespace, surroundings);
        let dialect = Dialect::of(surroundings.version);
        Some(TargetGroup {
            source: Self::source(&self.key()),
            labels: labels.build(),
            targets: self.spec.ports.iter().map(|port| target(self, port, dialect).build()).collect(),
        })
    }

    fn references(&self, _: Attach) -> Vec<Reference> {
        Vec::new()
    }
}

/// Adds what a group says of a service: its own, or that of its endpoints.
pub(super) fn set_labels(labels: &mut MetaLabels, service: &Service) {
    labels.set(NAMESPACE, &service.metadata.namespace);
    labels.set("__meta_kubernetes_service_name", &service.metadata.name);
    labels.set_labels_and_annotations("service", &service.metadata);
}

fn target(service: &Service, port: &ServicePort, dialect: Dialect) -> MetaLabels {
    let host = [&*service.metadata.name, ".", &*service.metadata.namespace, ".svc"].concat_compact();
    let spec = &service.spec;
    let mut labels = MetaLabels::default();
    labels.set(ADDRESS, join_host_port(&host, port.port));
    labels.set("__meta_kubernetes_service_port_name", &port.name);
    labels.set("__meta_kubernetes_service_port_number", port.port.to_compact_string());
    labels.set("__meta_kubernetes_service_port_protocol", &port.protocol);
    labels.set("__meta_kubernetes_service_type", &spec.r#type);
    if &*spec.r#type == "ExternalName" {
        labels.set("__meta_kubernetes_service_external_name", &spec.external_name);
    } else {
        labels.set("__meta_kubernetes_service_cluster_ip", &spec.cluster_ip);
    }
    if &*spec.r#type == "LoadBalancer" {
        labels.set("__meta_kubernetes_service_loadbalancer_ip", load_balancer_address(service, dialect));
    }
    labels
}

/// The address asked for, or all that were assigned.
fn load_balancer_address(service: &Service, dialect: Dialect) -> CompactString {
    let assigned = service.status.load_balancer.ingress.iter().map(|ingress| &*ingress.ip).filter(|ip| !ip.is_empty());
    let assigned: Vec<&str> = assigned.collect();
    if dialect.has_assigned_load_balancer_addresses() && !assigned.is_empty() {
        assigned.join(",").into()
    } else {
        (&service.spec.load_balancer_ip).into()
    }
}
