//! Where one target is and how it got there, as `/api/v1/targets/{id}/history` shows it.

use std::collections::BTreeMap;

use narthex_common::{
    assignment::TargetState,
    load::Load,
    report::Health,
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
};
use narthex_planner::{
    memory::Suspicion,
    reason::{Change, Unplaced},
    world::Seen,
};
use serde::{Deserialize, Serialize};

use super::{
    Snapshot,
    history::{Decision, Remembered},
    plan::{TargetName, Targets},
    words::{change_in_words, shards_of, suspicion_in_words, unplaced_in_words},
};

/// Entries that are shown of one target.
const SHOWN: usize = 50;

/// One target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetHistory {
    /// Which target.
    pub target: TargetId,
    /// What people know it by.
    #[serde(flatten)]
    pub name: TargetName,
    /// Whether discovery lists it.
    pub discovered: bool,
    /// Where it is.
    pub on: Vec<Holding>,
    /// The replicas in which no shard takes it.
    pub unplaced: Vec<Unscraped>,
    /// The replicas in which it is suspected of having killed a shard.
    pub suspected: Vec<Suspected>,
    /// The replicas in which it is larger than a shard may fill.
    pub oversized: Vec<ReplicaId>,
    /// Since when there is any history: what was decided before that, by another coordinator, nobody remembers. Of
    /// everything since, the last hundred thousand decisions about all targets are kept, or as many as there are targets.
    pub recorded_since: String,
    /// What was decided, newest first.
    pub history: Vec<Event>,
    /// Older entries that are kept and not shown.
    pub older: usize,
}

/// A shard that has a target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Holding {
    /// Its replica.
    pub replica: ReplicaId,
    /// Its name.
    pub shard: ShardId,
    /// Whether the target is there to stay.
    pub state: TargetState,
    /// Since when it is in that state there; absent when nobody wrote it down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The load it was assigned with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned: Option<Load>,
    /// What its last good scrape there brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Load>,
    /// How that scrape went.
    pub health: Health,
    /// Since when the shard has been silent; all this is what it said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_since: Option<String>,
}

/// A replica that does not scrape a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unscraped {
    /// Which replica.
    pub replica: ReplicaId,
    /// Since when.
    pub since: String,
    /// Why, now.
    pub why: Unplaced,
    /// Why, in words.
    pub text: String,
}

/// A replica in which a target is suspected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspected {
    /// Which replica.
    pub replica: ReplicaId,
    /// Since when.
    pub since: String,
    /// Why.
    pub why: Suspicion,
    /// Why, in words.
    pub text: String,
}

/// One decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: String,
    /// For which replica.
    pub replica: ReplicaId,
    /// What changed, as the planner has it.
    #[serde(flatten)]
    pub what: What,
    /// The name that the shard had which had the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_shard: Option<String>,
    /// The name that the shard had which got it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_shard: Option<String>,
    /// What was decided and why, in words.
    pub text: String,
}

/// What was decided: a change, or that there is no shard, which reads `"change": "unplaced"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum What {
    /// Something changed.
    Changed(Change),
    /// The target got no shard.
    Unplaced(NoShard),
}

/// A target got no shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename = "unplaced")]
pub struct NoShard {
    /// Which target.
    pub target: TargetId,
    /// Why.
    pub why: Unplaced,
}

/// What is known of one target; none when nothing is.
#[must_use]
pub(super) fn target_history(snapshot: &Snapshot, id: TargetId) -> Option<TargetHistory> {
    let Snapshot { world, discovered, observed, plan, history, .. } = snapshot;
    let targets = Targets { world, discovered, observed };
    let listed = targets.listed(id);
    let on = holdings(snapshot, id);
    let mut remembered = history.of(id);
    let events: Vec<Event> = remembered.by_ref().take(SHOWN).map(event).collect();
    if listed.is_none() && on.is_empty() && events.is_empty() {
        return None;
    }
    let held = || {
        let shards = observed.replicas.iter().flat_map(|replica| &replica.shards);
        shards.filter_map(|shard| shard.seen.last()).find_map(|state| Some(&state.assignment.targets.get(&id)?.target))
    };
    let unplaced = history.waiting(id).map(|(replica, waiting)| Unscraped {
        replica: replica.clone(),
        since: waiting.since.to_string(),
        why: waiting.why,
        text: unplaced_in_words(waiting.why).to_owned(),
    });
    let suspected = plan.replicas.iter().filter_map(|(replica, plan)| {
        let suspect = plan.memory.suspects.get(&id)?;
        Some(Suspected {
            replica: replica.clone(),
            since: suspect.since.to_string(),
            why: suspect.why,
            text: suspicion_in_words(suspect.why, "its shard"),
        })
    });
    let oversized = plan.replicas.iter().filter(|(_, plan)| plan.oversized.contains(&id));
    Some(TargetHistory {
        target: id,
        name: listed.or_else(held).map(TargetName::from).unwrap_or_default(),
        discovered: listed.is_some(),
        unplaced: unplaced.collect(),
        suspected: suspected.collect(),
        oversized: oversized.map(|(replica, _)| replica.clone()).collect(),
        recorded_since: history.recorded_since().unwrap_or(snapshot.at).to_string(),
        older: remembered.count(),
        history: events,
        on,
    })
}

fn holdings(snapshot: &Snapshot, id: TargetId) -> Vec<Holding> {
    let shards = snapshot.observed.replicas.iter().flat_map(|replica| replica.shards.iter().map(move |s| (replica, s)));
    let holding = shards.filter_map(|(replica, shard)| {
        let state = shard.seen.last()?;
        let assigned = state.assignment.targets.get(&id)?;
        let report = state.targets.get(&id);
        Some(Holding {
            replica: replica.id.clone(),
            shard: shard.address.id.clone(),
            state: assigned.state,
            since: assigned.since.map(|since| since.to_string()),
            planned: assigned.load,
            measured: report.and_then(|report| report.load),
            health: report.map_or(Health::Unknown, |report| report.health),
            silent_since: match &shard.seen {
                Seen::Stale { at, .. } => Some(at.to_string()),
                Seen::Fresh(_) | Seen::Never => None,
            },
        })
    });
    holding.collect()
}

fn event(remembered: Remembered<'_>) -> Event {
    let Remembered { at, replica, decision, names } = remembered;
    let name = |ordinal: Ordinal| shard_name(names, ordinal);
    let (what, [from, to], text) = match decision {
        Decision::Changed(change) => (What::Changed(change.clone()), shards_of(change), change_in_words(change, &name)),
        Decision::Unplaced { target, why } => {
            let text = format!("has no shard: {}", unplaced_in_words(*why));
            (What::Unplaced(NoShard { target: *target, why: *why }), [None, None], text)
        }
    };
    Event {
        at: at.to_string(),
        replica: replica.clone(),
        what,
        from_shard: from.map(name),
        to_shard: to.map(name),
        text,
    }
}

fn shard_name(names: &BTreeMap<Ordinal, ShardId>, ordinal: Ordinal) -> String {
    names.get(&ordinal).map_or_else(|| format!("shard {ordinal}"), |id| id.0.clone())
}
