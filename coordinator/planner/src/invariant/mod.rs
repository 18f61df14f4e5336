//! The invariants of `ARCHITECTURE.md` that one world and its plan show, as functions; the numbers are the list's.
//!
//! What takes two rounds to see is left to the property tests: that the same world gives the same plan (2), that a plan
//! once applied is followed by none (3), and that nothing comes back to where it was sent away from (6).
//!
//! Only what a plan changes is looked at, and what it should have changed: what has no shard, and what is held more
//! than once. All else is as it was.

use crate::{
    catalogue::Catalogue,
    plan::{Plan, ReplicaPlan},
    policy::{Placement, Policy},
    world::{ReplicaView, World},
};

mod broken;
mod reasons;
mod scale;
mod shards;
mod targets;

pub use broken::{Broken, Fault};
use shards::Shard;
use targets::Told;

/// Everything about a plan that must not be.
#[must_use]
pub fn broken(world: &World, policy: &Policy, plan: &Plan) -> Vec<Broken> {
    Inspector::default().broken(world, policy, plan)
}

/// Inspects round after round. Like [`Planner`](crate::Planner) it keeps what it worked out about a world, so that the
/// next round costs what changed since. Its catalogue is its own, and of the same kind as the planner's: that loads are
/// added up rightly, the property tests show by hand.
#[derive(Debug, Default)]
pub struct Inspector {
    catalogue: Catalogue,
}

impl Inspector {
    /// Everything about a plan that must not be.
    pub fn broken(&mut self, world: &World, policy: &Policy, plan: &Plan) -> Vec<Broken> {
        self.catalogue.follow(world);
        let plan_of = |place: usize, first| {
            let plan = plan.replicas.get(&world.replicas[place].id)?;
            Some(Replica::of(world, policy, &self.catalogue, place, plan, first))
        };
        let mirrored = policy.placement == Placement::Mirrored && !world.replicas.is_empty();
        let first = if mirrored { plan_of(0, None) } else { None };
        let mut broken = Vec::new();
        for (place, view) in world.replicas.iter().enumerate() {
            let first = first.as_ref().filter(|_| place > 0);
            let faults = plan_of(place, first).map_or_else(|| vec![Fault::NotPlanned], |replica| replica.faults());
            broken.extend(faults.into_iter().map(|fault| Broken { replica: view.id.clone(), fault }));
        }
        broken
    }
}

/// One replica, before and after.
struct Replica<'a> {
    world: &'a World,
    policy: &'a Policy,
    catalogue: &'a Catalogue,
    /// The place of the replica in the world.
    place: usize,
    view: &'a ReplicaView,
    plan: &'a ReplicaPlan,
    /// The replica that it mirrors.
    first: Option<&'a Replica<'a>>,
    /// In the order of ordinals.
    shards: Vec<Shard<'a>>,
    /// What shards are told, sorted by target.
    told: Vec<Told>,
}

impl<'a> Replica<'a> {
    fn of(
        world: &'a World,
        policy: &'a Policy,
        catalogue: &'a Catalogue,
        place: usize,
        plan: &'a ReplicaPlan,
        first: Option<&'a Self>,
    ) -> Self {
        let view = &world.replicas[place];
        let shards = shards::of(world, policy, catalogue, place);
        let mut replica = Self { world, policy, catalogue, place, view, plan, first, shards, told: Vec::new() };
        replica.tell();
        replica
    }

    fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.only_shards_within_reach_are_told(&mut faults);
        self.targets_are_held_as_they_may_be(&mut faults);
        self.shards_carry_what_they_may(&mut faults);
        self.suspects_are_alone(&mut faults);
        self.mirrors_follow(&mut faults);
        self.reasons_lead_from_world_to_plan(&mut faults);
        self.the_number_of_shards_keeps_its_bounds(&mut faults);
        faults
    }
}
