//! What changed between versions of Prometheus, read off the sources of 2.42 to 3.16.

use narthex_common::semantics::PrometheusVersion;

/// How a version of Prometheus makes groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect(PrometheusVersion);

impl Dialect {
    /// The dialect of a version.
    pub(super) const fn of(version: PrometheusVersion) -> Self {
        Self(version)
    }

    const fn is_at_least(self, major: u16, minor: u16) -> bool {
        self.0.major > major || self.0.major == major && self.0.minor >= minor
    }

    /// Whether an endpoint that belongs to a node has that node's metadata attached.
    pub(super) const fn attaches_nodes_of_node_endpoints(self) -> bool {
        self.is_at_least(2, 45)
    }

    /// Whether annotations of endpoints and of attached nodes, and labels and annotations of slices, become labels.
    pub(super) const fn has_full_metadata(self) -> bool {
        self.is_at_least(2, 46)
    }

    /// Whether a pod without an address gets no targets for the ports that its endpoints do not have.
    pub(super) const fn skips_endpoints_of_pods_without_address(self) -> bool {
        self.is_at_least(2, 46)
    }

    /// Whether a slice's endpoints say their node and zone.
    pub(super) const fn has_place_of_slice_endpoints(self) -> bool {
        self.is_at_least(2, 52)
    }

    /// Whether init containers count for endpoints, and `pod_container_init` says which they are.
    pub(super) const fn has_init_containers_of_endpoints(self) -> bool {
        self.is_at_least(3, 0)
    }

    /// Whether a pod on a node that is not known has no targets while nodes are attached: the node was not selected.
    pub(super) const fn skips_pods_of_unknown_nodes(self) -> bool {
        self.is_at_least(3, 11)
    }

    /// Whether a dual-stack service is scraped by its primary IP family only.
    pub(super) const fn skips_secondary_ip_family(self) -> bool {
        self.is_at_least(3, 11)
    }

    /// Whether conditions of nodes become labels.
    pub(super) const fn has_node_conditions(self) -> bool {
        self.is_at_least(3, 12)
    }

    /// Whether a load balancer's address is the one it really has, if it is known.
    pub(super) const fn has_assigned_load_balancer_addresses(self) -> bool {
        self.is_at_least(3, 15)
    }
}
