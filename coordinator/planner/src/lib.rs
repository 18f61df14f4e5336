//! From world to plan: which shard scrapes what, and why.
//!
//! [`plan()`] is a function: the same [`World`] and [`Policy`] give the same [`Plan`]. It has no clock, no randomness of
//! its own, no I/O. The phases of a round are functions, too, in the order in which they run: forget, settle, take
//! over, relieve, place, rebalance, drain, scale. Where replicas mirror each other, that is the first one's round; the
//! others follow what becomes of it. [`Planner`] is the same function for round after round: it costs what changed.

mod catalogue;
pub mod cost;
mod draft;
mod fit;
pub mod invariant;
pub mod memory;
mod phase;
pub mod plan;
pub mod policy;
pub mod reason;
mod round;
pub mod world;

use catalogue::Catalogue;
use draft::Draft;
pub use plan::{Plan, ReplicaPlan, ShardPlan};
use policy::Placement;
pub use policy::Policy;
use reason::Unplaced;
pub use round::Round;
pub use world::World;
use world::{ReplicaView, ShardView};

/// Plans one round.
///
/// Every invariant that [`invariant`] lists holds of the result, whatever the world looks like.
#[must_use]
pub fn plan(world: &World, policy: &Policy) -> Plan {
    let plan = Planner::default().plan(world, policy);
    #[cfg(debug_assertions)]
    {
        let broken = invariant::broken(world, policy, &plan);
        assert!(broken.is_empty(), "{broken:?}");
    }
    plan
}

/// Plans round after round.
///
/// What it works out about a world it keeps, so that the next round costs what changed since, however large the world
/// is. Its memory decides nothing: [`Planner::plan`] returns what [`plan()`] returns of the same world.
#[derive(Debug, Default)]
pub struct Planner {
    catalogue: Catalogue,
}

impl Planner {
    /// Plans one round.
    pub fn plan(&mut self, world: &World, policy: &Policy) -> Plan {
        self.catalogue.follow(world);
        self.catalogue.look_for_larger_than(policy.smallest_fill(world));
        let drafts = match policy.placement {
            Placement::Independent => {
                (0..world.replicas.len()).map(|replica| plan_replica(world, replica, &self.catalogue, policy)).collect()
            }
            Placement::Mirrored => {
                self.catalogue.look_through_apart();
                plan_mirrors(world, &self.catalogue, policy)
            }
        };
        Plan { replicas: drafts.into_iter().map(|draft| (draft.view.id.clone(), draft.finish())).collect() }
    }
}

/// Plans the first replica, and lets the others follow.
fn plan_mirrors<'w>(world: &'w World, catalogue: &'w Catalogue, policy: &'w Policy) -> Vec<Draft<'w>> {
    if world.replicas.is_empty() {
        return Vec::new();
    }
    let first = plan_replica(world, 0, catalogue, policy);
    let follow = |replica: usize| {
        let mut draft = Draft::of(world, replica, catalogue, policy);
        phase::forget::forget(&mut draft);
        phase::settle::settle(&mut draft);
        if enough_shards_are_there(draft.view, policy) {
            phase::mirror::mirror(&mut draft, &first);
        } else {
            phase::place::leave_all_unplaced(&mut draft, Unplaced::BelowMinimum);
        }
        phase::mirror::scale(&mut draft, &first);
        draft
    };
    let followers: Vec<_> = (1..world.replicas.len()).map(follow).collect();
    std::iter::once(first).chain(followers).collect()
}

fn plan_replica<'w>(world: &'w World, replica: usize, catalogue: &'w Catalogue, policy: &'w Policy) -> Draft<'w> {
    let mut draft = Draft::of(world, replica, catalogue, policy);
    phase::forget::forget(&mut draft);
    phase::settle::settle(&mut draft);
    if enough_shards_are_there(draft.view, policy) {
        phase::take_over::take_over(&mut draft);
        phase::relieve::relieve(&mut draft);
        phase::place::place(&mut draft);
        phase::rebalance::rebalance(&mut draft);
        phase::drain::drain(&mut draft);
    } else {
        phase::place::leave_all_unplaced(&mut draft, Unplaced::BelowMinimum);
    }
    phase::scale::scale(&mut draft);
    draft
}

/// Whether as many shards as the minimum are there: ready, or with targets, or there before the coordinator. One that is
/// still starting for the first time does not count, or the others would get everything. One that restarts has targets,
/// so that a rolling update does not stop the whole replica.
fn enough_shards_are_there(view: &ReplicaView, policy: &Policy) -> bool {
    let is_there = |shard: &&ShardView| match shard.report.last() {
        Some(report) => report.ready || !report.targets.is_empty(),
        None => shard.found_at_start.is_some(),
    };
    view.shards.values().filter(is_there).count() >= policy.min_shards as usize
}
