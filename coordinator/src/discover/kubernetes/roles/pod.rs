//! `role: pod`: one target per port of each container, and one per container that declares none.

use compact_str::ToCompactString as _;
use narthex_common::labels::ADDRESS;

use super::{
    Attach, Reference, Role, Surroundings,
    address::{join_host_port, unsigned},
    dialect::Dialect,
    labels::{MetaLabels, NAMESPACE},
    namespace, node,
};
use crate::discover::{
    group::TargetGroup,
    kubernetes::objects::{Container, ContainerPort, Controller, Kind as _, ObjectKey, Pod},
};

impl Role for Pod {
    const SOURCE: &'static str = "pod";

    /// A pod that is starting or was evicted has no address, and no targets.
    fn group(&self, surroundings: &Surroundings<'_>) -> Option<TargetGroup> {
        if self.status.pod_ip.is_empty() || is_on_unknown_node(self, surroundings) {
            return Some(Self::gone(&self.key()));
        }
        let mut labels = MetaLabels::default();
        set_labels(&mut labels, self, surroundings);
        labels.set(NAMESPACE, &self.metadata.namespace);
        if surroundings.attach.node {
            node::attach(&mut labels, &self.spec.node_name, surroundings);
        }
        namespace::attach(&mut labels, &self.metadata.namespace, surroundings);
        let targets = containers(self).flat_map(|(container, is_init)| targets(self, container, is_init));
        Some(TargetGroup {
            source: Self::source(&self.key()),
            labels: labels.build(),
            targets: targets.map(MetaLabels::build).collect(),
        })
    }

    fn references(&self, attach: Attach) -> Vec<Reference> {
        let node = (attach.node && !self.spec.node_name.is_empty())
            .then(|| Reference::Node(ObjectKey::cluster_wide(&self.spec.node_name)));
        let controller = self.metadata.controller.as_deref();
        let owner = controller.and_then(|Controller { kind, name }| match &**kind {
            "ReplicaSet" if attach.deployment => Some(Reference::ReplicaSet(self.sibling(name))),
            "Job" if attach.cron_job => Some(Reference::Job(self.sibling(name))),
            _ => None,
        });
        node.into_iter().chain(owner).collect()
    }
}

impl Pod {
    /// The key of something else in its namespace.
    fn sibling(&self, name: &str) -> ObjectKey {
        ObjectKey::new(&self.metadata.namespace, name)
    }
}

/// Adds what a group or an endpoint says of a pod.
pub(super) fn set_labels(labels: &mut MetaLabels, pod: &Pod, surroundings: &Surroundings<'_>) {
    let Pod { metadata, spec, status } = pod;
    labels.set("__meta_kubernetes_pod_ip", &status.pod_ip);
    labels.set(
        "__meta_kubernetes_pod_ready",
        status.ready.as_ref().map_or_else(|| "unknown".to_owned(), |ready| ready.to_lowercase()),
    );
    labels.set("__meta_kubernetes_pod_phase", &status.phase);
    labels.set("__meta_kubernetes_pod_node_name", &spec.node_name);
    labels.set("__meta_kubernetes_pod_host_ip", &status.host_ip);
    labels.set("__meta_kubernetes_pod_uid", &metadata.uid);
    labels.set("__meta_kubernetes_pod_name", &metadata.name);
    labels.set_labels_and_annotations("pod", metadata);
    if let Some(controller) = &metadata.controller {
        labels.set("__meta_kubernetes_pod_controller_kind", &controller.kind);
        labels.set("__meta_kubernetes_pod_controller_name", &controller.name);
        set_workload(labels, pod, controller, surroundings);
    }
}

/// Adds the names of the workload that a pod belongs to, as far as they are asked for.
fn set_workload(labels: &mut MetaLabels, pod: &Pod, controller: &Controller, surroundings: &Surroundings<'_>) {
    let Surroundings { attach, cluster, .. } = surroundings;
    let key = || pod.sibling(&controller.name);
    match &*controller.kind {
        "ReplicaSet" if attach.deployment => {
            let owner = cluster.replica_set(&key()).and_then(|set| set.metadata.controller.clone());
            if let Some(deployment) = owner.filter(|owner| &*owner.kind == "Deployment") {
                labels.set("__meta_kubernetes_pod_deployment_name", &deployment.name);
            }
        }
        "Job" => {
            if attach.job {
                labels.set("__meta_kubernetes_pod_job_name", &controller.name);
            }
            let owner = if attach.cron_job { cluster.job(&key()) } else { None };
            let owner = owner.and_then(|job| job.metadata.controller.clone());
            if let Some(cron_job) = owner.filter(|owner| &*owner.kind == "CronJob") {
                labels.set("__meta_kubernetes_pod_cronjob_name", &cron_job.name);
            }
        }
        _ => {}
    }
}

/// All containers of a pod, and of each whether it is an init container.
pub(super) fn containers(pod: &Pod) -> impl Iterator<Item = (&Container, bool)> {
    let containers = pod.spec.containers.iter().map(|container| (container, false));
    containers.chain(pod.spec.init_containers.iter().map(|container| (container, true)))
}

/// Adds what a target says of the container it is in.
pub(super) fn set_container(labels: &mut MetaLabels, container: &Container) {
    labels.set("__meta_kubernetes_pod_container_name", &container.name);
    labels.set("__meta_kubernetes_pod_container_image", &container.image);
}

/// Adds what a target says of the port it is at.
pub(super) fn set_port(labels: &mut MetaLabels, port: &ContainerPort) {
    labels.set("__meta_kubernetes_pod_container_port_name", &port.name);
    labels.set("__meta_kubernetes_pod_container_port_number", unsigned(port.container_port).to_compact_string());
    labels.set("__meta_kubernetes_pod_container_port_protocol", &port.protocol);
}

fn targets(pod: &Pod, container: &Container, is_init: bool) -> Vec<MetaLabels> {
    let statuses = if is_init { &pod.status.init_container_statuses } else { &pod.status.container_statuses };
    let mut common = MetaLabels::default();
    set_container(&mut common, container);
    if let Some(status) = statuses.iter().find(|status| status.name == container.name) {
        common.set("__meta_kubernetes_pod_container_id", &status.container_id);
    }
    common.set_bool("__meta_kubernetes_pod_container_init", Some(is_init));
    if container.ports.is_empty() {
        common.set(ADDRESS, &pod.status.pod_ip);
        return vec![common];
    }
    let target = |port: &ContainerPort| {
        let mut labels = common.clone();
        labels.set(ADDRESS, join_host_port(&pod.status.pod_ip, unsigned(port.container_port)));
        set_port(&mut labels, port);
        labels
    };
    container.ports.iter().map(target).collect()
}

/// Whether the pod's node was not selected, in versions that ask.
fn is_on_unknown_node(pod: &Pod, surroundings: &Surroundings<'_>) -> bool {
    surroundings.attach.node
        && Dialect::of(surroundings.version).skips_pods_of_unknown_nodes()
        && surroundings.cluster.node(&pod.spec.node_name).is_none()
}
