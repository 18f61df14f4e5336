//! From world to plan: which shard scrapes what, and why.
//!
//! [`plan`] is a function: the same [`World`] and [`Policy`] give the same [`Plan`]. It has no clock, no randomness of
//! its own, no I/O. The phases of a round are functions, too, in the order in which they run: forget, settle, relieve,
//! place, drain, scale.

pub mod plan;
pub mod policy;
pub mod reason;
pub mod world;

pub use plan::{Plan, ReplicaPlan};
pub use policy::Policy;
pub use world::World;

/// Plans one round.
#[must_use]
pub fn plan(world: &World, policy: &Policy) -> Plan {
    let _ = (world, policy);
    todo!()
}
