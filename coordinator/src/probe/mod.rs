//! Probes: one trial scrape of a target whose load nobody knows.

mod accept;
mod http;
pub mod manager;
mod metrics;
pub mod prober;
mod schedule;
#[cfg(test)]
mod tests;

use narthex_planner::world::{KnownLoad, TargetMap};

pub use manager::{Measured, ProbeManager};
pub use prober::Prober;

/// What probes found. A target that was never probed is absent.
pub type Probed = TargetMap<KnownLoad>;
