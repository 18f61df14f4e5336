//! Memory: what one plan notes for the next, because no shard can tell it. The coordinator carries it from the plan into
//! the next world and loses it when it restarts; then it is forgotten who is suspected, which targets were taken over or
//! moved lately, and whether rebalancing was under way, and nothing else.

use std::collections::BTreeMap;

use narthex_common::{shard::Ordinal, target::TargetId, time::Timestamp};
use serde::{Deserialize, Serialize};

use crate::world::TargetMap;

/// What one plan of a replica notes for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Whether rebalancing is under way: it begins when the spread is wide and ends when it is narrow.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rebalancing: bool,
    /// The targets whose last move began or was given up not long ago.
    #[serde(skip_serializing_if = "TargetMap::is_empty")]
    pub moved: TargetMap<Moved>,
    /// The targets that were taken over from a lost shard within the last hour.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub taken_over: BTreeMap<TargetId, TakenOver>,
    /// The targets that may have killed a shard. Each has a shard of its own until it has proved harmless.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub suspects: BTreeMap<TargetId, Suspect>,
    /// The lost shards whose targets were looked at for suspects, and since when each was silent.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<Ordinal, Timestamp>,
}

/// The last move of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// When it began; or when it was given up.
    pub at: Timestamp,
    /// Where to.
    pub to: Ordinal,
    /// Whether it was given up, because the destination did not scrape the target in time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub given_up: bool,
}

/// A target that was taken over from a lost shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenOver {
    /// When.
    pub at: Timestamp,
    /// From which shard.
    pub from: Ordinal,
    /// From how many, one after the other.
    #[serde(default = "once")]
    pub times: u32,
}

const fn once() -> u32 {
    1
}

/// A target that may have killed a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Since when it is suspected.
    pub since: Timestamp,
    /// Why.
    pub why: Suspicion,
    /// The shard that it was given for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated_on: Option<Ordinal>,
    /// Since when every round has found it measured by a shard that answers; none while it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lives_since: Option<Timestamp>,
}

/// Why a target is suspected of having killed a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suspicion {
    /// Its shard was lost after it had grown.
    Grew,
    /// Its shard was lost after having taken it over from another lost shard.
    DiedAgain,
}

impl Memory {
    /// Whether nothing is noted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
