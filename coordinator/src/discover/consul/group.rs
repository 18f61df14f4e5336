//! From the instances of a service to its target group.

use narthex_common::labels::{ADDRESS, Labels};

use super::{
    super::group::TargetGroup,
    api::{Check, Instance},
};

/// What the names of all labels begin with.
const PREFIX: &str = "__meta_consul_";

/// The check that takes a node out of service.
const NODE_MAINTENANCE: &str = "_node_maintenance";

/// What the name of the check begins with that takes one service out of service.
const SERVICE_MAINTENANCE: &str = "_service_maintenance:";

/// A target for every instance. Its source is the service.
pub(super) fn group_of(service: &str, datacenter: &str, separator: &str, instances: &[Instance]) -> TargetGroup {
    let labels = [("__meta_consul_service", service), ("__meta_consul_dc", datacenter)].into_iter().collect();
    let targets = instances.iter().map(|instance| target_of(instance, separator)).collect();
    TargetGroup { source: service.to_owned(), labels, targets }
}

fn target_of(Instance { node, service, checks }: &Instance, separator: &str) -> Labels {
    // Surrounded by separators, so that a regex need not know where in the list a tag stands.
    let tags = format!("{separator}{}{separator}", service.tags.join(separator));
    // A service may be registered at a node that it does not run on.
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let fixed = [
        ("address", node.address.clone()),
        ("node", node.name.clone()),
        ("namespace", service.namespace.clone()),
        ("partition", service.partition.clone()),
        ("tags", tags),
        ("service_address", service.address.clone()),
        ("service_port", service.port.to_string()),
        ("service_id", service.id.clone()),
        ("health", health(checks).to_owned()),
    ];
    let fixed = fixed.into_iter().map(|(name, value)| (format!("{PREFIX}{name}"), value));
    let maps =
        [("metadata", &node.meta), ("service_metadata", &service.meta), ("tagged_address", &node.tagged_addresses)];
    let of_maps = maps.into_iter().flat_map(|(kind, map)| {
        map.iter().map(move |(key, value)| (format!("{PREFIX}{kind}_{}", as_label(key)), value.clone()))
    });
    [(ADDRESS.to_owned(), join(host, service.port))].into_iter().chain(fixed).chain(of_maps).collect()
}

/// The worst that the checks say, as Consul's own client sums them up.
fn health(checks: &[Check]) -> &'static str {
    let is_maintenance = |check: &&Check| check.id == NODE_MAINTENANCE || check.id.starts_with(SERVICE_MAINTENANCE);
    let mut worst = "passing";
    for check in checks.iter().filter(|check| !is_maintenance(check)) {
        match check.status.as_str() {
            "passing" => {}
            "warning" if worst != "critical" => worst = "warning",
            "warning" => {}
            "critical" => worst = "critical",
            _ => return "",
        }
    }
    if checks.iter().any(|check| is_maintenance(&check)) { "maintenance" } else { worst }
}

fn as_label(key: &str) -> String {
    key.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn join(host: &str, port: i64) -> String {
    if host.contains([':', '%']) { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(&[], "passing")]
    #[case(&[("a", "passing"), ("b", "warning")], "warning")]
    #[case(&[("a", "critical"), ("b", "warning")], "critical")]
    #[case(&[("a", "critical"), ("_node_maintenance", "critical")], "maintenance")]
    #[case(&[("_service_maintenance:web1", "critical"), ("a", "passing")], "maintenance")]
    #[case(&[("a", "unheard-of"), ("_node_maintenance", "critical")], "")]
    fn the_worst_check_counts(#[case] checks: &[(&str, &str)], #[case] expected: &str) {
        let check = |(id, status): &(&str, &str)| Check { id: (*id).to_owned(), status: (*status).to_owned() };
        assert_eq!(health(&checks.iter().map(check).collect::<Vec<_>>()), expected);
    }
}
