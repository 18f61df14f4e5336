//! Probes: one trial scrape of a target whose load nobody knows.

use std::collections::BTreeMap;

use narthex_common::target::TargetId;
use narthex_planner::world::KnownLoad;

/// What probes found, by target. A target that was never probed is absent.
pub type Probed = BTreeMap<TargetId, KnownLoad>;
