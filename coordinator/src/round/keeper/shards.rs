//! The shards' targets, kept from round to round.

use std::{collections::BTreeMap, sync::Arc};

use imbl::ordmap::DiffItem;
use narthex_common::{
    shard::{Ordinal, ReplicaId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::world::{HeldTarget, ReplicaView, Seen, ShardReport, ShardView, TargetMap};

use super::Sources;
use crate::{
    apply::Told,
    observe::{Observed, ObservedReplica, ObservedShard, ShardState, held, replica_view, shard_report, shard_view},
    probe::Measured,
};

/// What every shard has, as it said last.
#[derive(Debug, Default)]
pub(super) struct KeptShards {
    replicas: BTreeMap<ReplicaId, BTreeMap<Ordinal, KeptShard>>,
    /// The targets whose loads shards know, and how many shards do.
    measured: TargetMap<u32>,
    /// Whether shards were looked at at all.
    looked: bool,
}

/// What one shard has, as it said last.
#[derive(Debug, Default)]
struct KeptShard {
    said: Option<Arc<ShardState>>,
    /// Since when its Prometheus has not answered its sidecar, by this machine's clock: the other may be wrong.
    silent_since: Option<Timestamp>,
    targets: TargetMap<HeldTarget>,
}

impl KeptShards {
    /// Takes over what shards said.
    pub(super) fn follow(&mut self, observed: &Observed, now: Timestamp) {
        if observed.replicas.is_empty() {
            // The provider could not say who the shards are. They have what they had.
            return;
        }
        self.looked = true;
        let mut before = std::mem::take(&mut self.replicas);
        for replica in &observed.replicas {
            let mut before = before.remove(&replica.id).unwrap_or_default();
            let mut shards = BTreeMap::new();
            for shard in &replica.shards {
                if let Some(state) = shard.seen.last() {
                    let mut kept = before.remove(&shard.address.ordinal).unwrap_or_default();
                    kept.silent_since = state.report.prometheus.silent_since.map(|_| kept.silent_since.unwrap_or(now));
                    kept.follow(state, &mut self.measured);
                    shards.insert(shard.address.ordinal, kept);
                }
            }
            before.into_values().for_each(|gone| gone.forget(&mut self.measured));
            self.replicas.insert(replica.id.clone(), shards);
        }
        before.into_values().flat_map(BTreeMap::into_values).for_each(|gone| gone.forget(&mut self.measured));
    }

    /// The targets whose loads shards know; none before they were asked.
    pub(super) fn measured(&self) -> Measured {
        self.looked.then(|| self.measured.clone())
    }

    /// The replicas as the planner sees them.
    pub(super) fn replicas(&self, sources: &Sources<'_>) -> Vec<ReplicaView> {
        let view = |replica: &ObservedReplica| {
            let kept = self.replicas.get(&replica.id);
            let shards = replica.shards.iter().map(|shard| {
                let kept = kept.and_then(|shards| shards.get(&shard.address.ordinal));
                view(shard, kept, sources)
            });
            replica_view(replica, shards.collect(), sources.memories.get(&replica.id).cloned().unwrap_or_default())
        };
        sources.observed.replicas.iter().map(view).collect()
    }
}

impl KeptShard {
    fn follow(&mut self, state: &Arc<ShardState>, measured: &mut TargetMap<u32>) {
        let before = self.said.replace(Arc::clone(state));
        let changed: Vec<TargetId> = match &before {
            Some(before) if Arc::ptr_eq(before, state) => return,
            Some(before) => {
                let assigned = differing(&before.assignment.targets, &state.assignment.targets);
                assigned.chain(differing(&before.targets, &state.targets)).collect()
            }
            None => state.assignment.targets.keys().copied().collect(),
        };
        for id in changed {
            let assigned = state.assignment.targets.get(&id);
            self.replace(id, assigned.map(|assigned| held(assigned, state.targets.get(&id))), measured);
        }
    }

    fn replace(&mut self, id: TargetId, held: Option<HeldTarget>, measured: &mut TargetMap<u32>) {
        let before = self.targets.get(&id);
        if before == held.as_ref() {
            return;
        }
        let knew = before.is_some_and(|held| held.load.is_some());
        let knows = held.as_ref().is_some_and(|held| held.load.is_some());
        count(measured, id, knew, knows);
        match held {
            Some(held) => drop(self.targets.insert(id, held)),
            None => drop(self.targets.remove(&id)),
        }
    }

    fn forget(self, measured: &mut TargetMap<u32>) {
        for (id, held) in &self.targets {
            count(measured, *id, held.load.is_some(), false);
        }
    }
}

/// Counts one shard more or less that knows the load of a target.
fn count(measured: &mut TargetMap<u32>, id: TargetId, knew: bool, knows: bool) {
    let shards = measured.get(&id).copied().unwrap_or(0);
    match (knew, knows) {
        (true, false) if shards > 1 => drop(measured.insert(id, shards - 1)),
        (true, false) => drop(measured.remove(&id)),
        (false, true) => drop(measured.insert(id, shards + 1)),
        (true, true) | (false, false) => {}
    }
}

/// The targets of which two versions of a map say different things.
fn differing<'a, V: PartialEq>(
    before: &'a TargetMap<V>,
    after: &'a TargetMap<V>,
) -> impl Iterator<Item = TargetId> + 'a {
    before.diff(after).map(|difference| match difference {
        DiffItem::Add(id, _) | DiffItem::Remove(id, _) | DiffItem::Update { new: (id, _), .. } => *id,
    })
}

/// A shard as the planner sees it. One that has been told something and has not answered yet can be told nothing else:
/// it counts as silent since now, and as having what it was told, so that nobody else is given that. One whose sidecar
/// answers and whose Prometheus does not scrapes nothing: it is as silent as its Prometheus.
fn view(shard: &ObservedShard, kept: Option<&KeptShard>, sources: &Sources<'_>) -> ShardView {
    let targets = || kept.map(|kept| kept.targets.clone()).unwrap_or_default();
    let silent_since = kept.and_then(|kept| kept.silent_since);
    let report = |state| shard_report(state, sources.config, targets());
    let seen = match (&shard.seen, sources.under_way.of(&shard.address.url)) {
        (Seen::Never, _) => Seen::Never,
        (Seen::Stale { at, last }, told) => Seen::Stale { at: *at, last: once_told(report(last), last, told) },
        (Seen::Fresh(state), told) => match (silent_since, told) {
            (None, None) => Seen::Fresh(report(state)),
            (since, told) => {
                let at = since.unwrap_or(sources.now);
                Seen::Stale { at, last: once_told(report(state), state, told) }
            }
        },
    };
    shard_view(shard, seen)
}

/// A shard's report as it will be once it has done what it was told.
fn once_told(mut report: ShardReport, state: &ShardState, told: Option<&Told>) -> ShardReport {
    let Some(update) = told.and_then(Told::update).filter(|update| update.base == Some(state.assignment.revision))
    else {
        return report;
    };
    for id in &update.remove {
        report.targets.remove(id);
    }
    for assigned in &update.put {
        let id = assigned.target.id;
        report.targets.insert(id, held(assigned, state.targets.get(&id)));
    }
    report
}
