//! The world, kept from round to round: what differs between a round's sources and those of the round before is worked
//! into it, and nothing else is looked at. A round in which nothing changed costs a little for each shard and nothing
//! for each target.

mod shards;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::Peekable,
    sync::Arc,
};

use imbl::ordmap::DiffItem;
use narthex_common::{fingerprint::Fingerprint, job::JobName, shard::ReplicaId, target::TargetId, time::Timestamp};
use narthex_planner::{
    World,
    memory::Memory,
    world::{JobView, KnownLoad, TargetMap, TargetView},
};

use self::shards::KeptShards;
use super::{seed, target_view};
use crate::{
    apply::UnderWay,
    discover::{ActiveTarget, Discovered, JobTargets},
    observe::Observed,
    probe::{Measured, Probed},
};

/// What a world is made of.
pub(super) struct Sources<'a> {
    /// When the round began.
    pub(super) now: Timestamp,
    /// The fingerprint of the coordinator's config.
    pub(super) config: Fingerprint,
    /// What discovery knows.
    pub(super) discovered: &'a Discovered,
    /// What probes know.
    pub(super) probed: &'a Probed,
    /// What shards said.
    pub(super) observed: &'a Observed,
    /// What shards were told and have not answered yet.
    pub(super) under_way: &'a UnderWay,
    /// What the last plan noted for each replica.
    pub(super) memories: &'a BTreeMap<ReplicaId, Memory>,
}

/// Keeps the world. Its copies share what they have in common, so handing one out costs nothing.
#[derive(Debug, Default)]
pub(super) struct WorldKeeper {
    /// The jobs, as they were worked into `targets`.
    jobs: BTreeMap<JobName, Arc<JobTargets>>,
    /// The probes, as they were worked into `targets`.
    probed: Probed,
    targets: TargetMap<TargetView>,
    shards: KeptShards,
}

impl WorldKeeper {
    /// The world of a round.
    pub(super) fn world(&mut self, sources: &Sources<'_>) -> World {
        self.follow_jobs(sources);
        self.follow_probes(sources.probed);
        self.shards.follow(sources.observed, sources.now);
        World {
            now: sources.now,
            seed: seed(sources.config),
            jobs: self.jobs.iter().map(|(job, t)| (job.clone(), JobView { discovered: t.discovered })).collect(),
            targets: self.targets.clone(),
            replicas: self.shards.replicas(sources),
        }
    }

    /// Takes over what shards said before the first round. Says which targets' loads they know.
    pub(super) fn look(&mut self, observed: &Observed, now: Timestamp) -> Measured {
        self.shards.follow(observed, now);
        self.measured()
    }

    /// The targets whose loads shards know.
    pub(super) fn measured(&self) -> Measured {
        self.shards.measured()
    }

    fn follow_jobs(&mut self, sources: &Sources<'_>) {
        let before = std::mem::replace(&mut self.jobs, sources.discovered.jobs.clone());
        let names: BTreeSet<&JobName> = before.keys().chain(self.jobs.keys()).collect();
        for job in names {
            let (was, is) = (before.get(job), self.jobs.get(job));
            if let (Some(was), Some(is)) = (was, is)
                && Arc::ptr_eq(was, is)
            {
                continue;
            }
            // A target that is listed in both is the same one: its id is made of all that the planner knows it by.
            let mut was = was.map(|targets| targets.active.iter()).unwrap_or_default().peekable();
            for (&id, ActiveTarget { target, .. }) in is.map(|targets| targets.active.iter()).unwrap_or_default() {
                if remove_until(&mut self.targets, &mut was, id) {
                    continue;
                }
                let probed = sources.probed.get(&id).copied().unwrap_or(KnownLoad::Unknown);
                self.targets.insert(id, target_view(target, sources.now, probed));
            }
            was.for_each(|(id, _)| drop(self.targets.remove(id)));
        }
    }

    fn follow_probes(&mut self, probed: &Probed) {
        let before = std::mem::replace(&mut self.probed, probed.clone());
        for difference in before.diff(probed) {
            let (id, known) = match difference {
                DiffItem::Add(id, known) | DiffItem::Update { new: (id, known), .. } => (id, *known),
                DiffItem::Remove(id, _) => (id, KnownLoad::Unknown),
            };
            if self.targets.get(id).is_some_and(|target| target.probed != known)
                && let Some(target) = self.targets.get_mut(id)
            {
                target.probed = known;
            }
        }
    }
}

/// Removes the targets of an old list that come before `id`; says whether the list has `id` itself, which it then
/// passes.
fn remove_until<'a>(
    targets: &mut TargetMap<TargetView>,
    was: &mut Peekable<impl Iterator<Item = (&'a TargetId, &'a ActiveTarget)>>,
    id: TargetId,
) -> bool {
    while let Some((gone, _)) = was.next_if(|(old, _)| **old < id) {
        targets.remove(gone);
    }
    was.next_if(|(old, _)| **old == id).is_some()
}
