//! From what was observed to the planner's view of it.

use narthex_common::fingerprint::Fingerprint;
use narthex_planner::world::ReplicaView;

use super::Observed;

/// The replicas as the planner sees them; `config` is the fingerprint of the coordinator's config.
#[must_use]
pub fn world_replicas(observed: &Observed, config: Fingerprint) -> Vec<ReplicaView> {
    let _ = (observed, config);
    todo!()
}
