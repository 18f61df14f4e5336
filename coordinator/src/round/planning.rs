//! Planning: the part of a round that only computes, and what it keeps for the next.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use narthex_common::{fingerprint::Fingerprint, shard::ReplicaId, time::Timestamp};
use narthex_planner::{Plan, Planner, Policy, World, memory::Memory};

use super::keeper::{Sources, WorldKeeper};
use crate::{
    apply::UnderWay,
    discover::Discovered,
    observe::Observed,
    probe::{Measured, Probed},
};

/// Builds worlds and plans them.
#[derive(Debug, Default)]
pub(super) struct Planning {
    keeper: WorldKeeper,
    planner: Planner,
    /// What the last plan noted.
    memories: BTreeMap<ReplicaId, Memory>,
}

/// What a plan is made from.
pub(super) struct Input {
    pub(super) now: Timestamp,
    pub(super) config: Fingerprint,
    pub(super) discovered: Arc<Discovered>,
    pub(super) probed: Arc<Probed>,
    pub(super) observed: Arc<Observed>,
    pub(super) under_way: UnderWay,
    pub(super) policy: Policy,
}

/// A plan, and what it was made for.
pub(super) struct Planned {
    pub(super) world: World,
    pub(super) plan: Plan,
    /// How long the planner took.
    pub(super) took: Duration,
}

impl Planning {
    /// Plans one round, on a thread of its own: a million targets from nothing take a while, in which the API answers.
    pub(super) async fn plan(&mut self, input: Input) -> Planned {
        let mut this = std::mem::take(self);
        let planning = tokio::task::spawn_blocking(move || {
            let planned = this.plan_now(&input);
            (this, planned)
        });
        match planning.await {
            Ok((this, planned)) => {
                *self = this;
                planned
            }
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }

    fn plan_now(&mut self, input: &Input) -> Planned {
        let world = self.keeper.world(&Sources {
            now: input.now,
            config: input.config,
            discovered: &input.discovered,
            probed: &input.probed,
            observed: &input.observed,
            under_way: &input.under_way,
            memories: &self.memories,
        });
        let began = Instant::now();
        let plan = self.planner.plan(&world, &input.policy);
        let took = began.elapsed();
        if !plan.replicas.is_empty() {
            // Otherwise the provider could not say who the shards are; what was noted about them still holds.
            self.memories = plan.replicas.iter().map(|(id, plan)| (id.clone(), plan.memory.clone())).collect();
        }
        Planned { world, plan, took }
    }

    /// Takes over what shards said before the first round. Says which targets' loads they know.
    pub(super) fn look(&mut self, observed: &Observed, now: Timestamp) -> Measured {
        self.keeper.look(observed, now)
    }

    /// The targets whose loads shards know.
    pub(super) fn measured(&self) -> Measured {
        self.keeper.measured()
    }
}
