//! Probes: one trial scrape of a target whose load nobody knows.

mod accept;
mod http;
pub mod manager;
mod metrics;
pub mod prober;
mod schedule;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use narthex_common::target::TargetId;
use narthex_planner::world::KnownLoad;

pub use manager::{Measured, ProbeManager};
pub use prober::Prober;

/// What probes found, by target. A target that was never probed is absent.
pub type Probed = BTreeMap<TargetId, KnownLoad>;
