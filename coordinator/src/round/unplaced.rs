//! Targets that nobody scrapes and that will not get a shard by waiting for a round or two: said when it begins, and
//! when it ends.

use std::collections::BTreeMap;

use narthex_common::shard::ReplicaId;
use narthex_planner::{Plan, reason::Unplaced};
use tracing::{info, warn};

/// The reasons for which targets of each replica were left without a shard in the last round.
#[derive(Debug, Default)]
pub(super) struct UnplacedTargets(BTreeMap<(ReplicaId, &'static str), usize>);

impl UnplacedTargets {
    /// Logs which reasons are new and which have gone; says how many targets each of them keeps waiting.
    pub(super) fn look(&mut self, plan: &Plan) -> Vec<String> {
        if plan.replicas.is_empty() {
            // The provider could not say who the shards are: nothing was planned.
            return Vec::new();
        }
        let mut waiting: BTreeMap<(ReplicaId, &'static str), usize> = BTreeMap::new();
        for (replica, plan) in &plan.replicas {
            let mut targets: BTreeMap<&'static str, usize> = BTreeMap::new();
            for why in plan.unplaced.values().filter_map(|why| in_words(*why)) {
                *targets.entry(why).or_default() += 1;
            }
            waiting.extend(targets.into_iter().map(|(why, targets)| ((replica.clone(), why), targets)));
        }
        let mut errors = Vec::new();
        for ((replica, why), targets) in &waiting {
            let error = format!("no shard of {replica} scrapes {targets} targets: {why}");
            if !self.0.contains_key(&(replica.clone(), *why)) {
                warn!("{error}");
            }
            errors.push(error);
        }
        for ((replica, why), targets) in self.0.iter().filter(|(key, _)| !waiting.contains_key(key)) {
            info!(%replica, targets, "no longer are targets without a shard because {why}");
        }
        self.0 = waiting;
        errors
    }
}

/// Why a target has no shard, unless that is a matter of course and passes.
const fn in_words(why: Unplaced) -> Option<&'static str> {
    match why {
        Unplaced::LoadUnknown | Unplaced::WaitingForShards => None,
        Unplaced::MaybeHeld => Some(
            "a shard that was there before the coordinator has not answered yet and may scrape them; they wait until \
             it does or is given up",
        ),
        Unplaced::ShardLimit => Some("there is no room for them, and --shard.max-shard allows no more shards"),
        Unplaced::CannotScale => Some("there is no room for them, and shards of this kind cannot be added"),
        Unplaced::WaitingForMirror => Some(
            "another replica has them on a shard that cannot take them in this one, or the replica that is mirrored has \
             them on none",
        ),
        Unplaced::ShardLost => {
            Some("the shard that had them is lost, and they wait for their turn, or for room elsewhere")
        }
        Unplaced::Suspected => Some(
            "they may have killed their shard; they wait for a shard of their own, or had one that was lost, too, and \
             are put on no other",
        ),
        Unplaced::BelowMinimum => Some("fewer shards are there than --shard.min-shard asks for to begin with"),
    }
}
