//! Replicas of which most shards fell silent at once: said when it begins, with what follows from it, and when it ends.

use std::collections::BTreeSet;

use narthex_common::shard::ReplicaId;
use narthex_planner::Plan;
use tracing::{info, warn};

/// The replicas from which the coordinator was cut off, as far as the last plan could say.
#[derive(Debug, Default)]
pub(super) struct CutOff(BTreeSet<ReplicaId>);

impl CutOff {
    /// Logs for which replicas this begins and ends; says of all of them what it means.
    pub(super) fn look(&mut self, plan: &Plan) -> Vec<String> {
        if plan.replicas.is_empty() {
            // The provider could not say who the shards are: nothing was planned.
            return Vec::new();
        }
        let held = plan.replicas.iter().filter(|(_, plan)| plan.takeover_held);
        let held: BTreeSet<ReplicaId> = held.map(|(replica, _)| replica.clone()).collect();
        let error = |replica: &ReplicaId| {
            format!(
                "more than half of the shards of {replica} are silent at once, as if the coordinator were cut off from \
                 them; nobody takes over what the lost ones had"
            )
        };
        for replica in held.difference(&self.0) {
            warn!("{}", error(replica));
        }
        for replica in self.0.difference(&held) {
            info!(%replica, "no longer are most shards silent at once; what lost ones had is taken over again");
        }
        self.0 = held;
        self.0.iter().map(error).collect()
    }
}

#[cfg(test)]
mod tests {
    use narthex_planner::ReplicaPlan;

    use super::*;

    #[test]
    fn a_takeover_that_is_held_is_said_in_every_round_until_it_goes_on() {
        let round = |takeover_held| {
            let plan = ReplicaPlan { takeover_held, ..ReplicaPlan::default() };
            Plan { replicas: [(ReplicaId("a".into()), plan)].into() }
        };
        let mut cut_off = CutOff::default();
        assert!(cut_off.look(&round(false)).is_empty());
        for _ in 0..2 {
            assert!(cut_off.look(&round(true))[0].contains("shards of a are silent"));
        }
        assert!(cut_off.look(&round(false)).is_empty());
    }
}
