//! Which target an id is: looked up where it is likely to be found.

use narthex_common::{
    job::JobName,
    shard::{Ordinal, ReplicaId},
    target::{Target, TargetId},
};
use narthex_planner::{World, world::ReplicaView};

use crate::{discover::Discovered, observe::Observed};

/// Everything that knows targets by their ids.
#[derive(Clone, Copy, Debug)]
pub(in crate::status) struct Targets<'a> {
    /// What the planner was asked.
    pub(in crate::status) world: &'a World,
    /// What discovery lists.
    pub(in crate::status) discovered: &'a Discovered,
    /// What shards have.
    pub(in crate::status) observed: &'a Observed,
}

impl<'a> Targets<'a> {
    /// The job of a target that discovery lists or that one of these shards has.
    pub(super) fn job_of(
        self,
        id: TargetId,
        replica: &'a ReplicaView,
        shards: impl IntoIterator<Item = Ordinal>,
    ) -> Option<&'a JobName> {
        let listed = self.world.targets.get(&id).map(|target| &target.job);
        listed.or_else(|| {
            let report = |ordinal| replica.shards.get(&ordinal)?.report.last();
            shards.into_iter().filter_map(report).find_map(|report| Some(&report.targets.get(&id)?.job))
        })
    }

    /// A target that discovery lists or that one of these shards has.
    pub(in crate::status) fn find(
        self,
        id: TargetId,
        replica: &ReplicaId,
        shards: impl IntoIterator<Item = Ordinal>,
    ) -> Option<&'a Target> {
        self.listed(id).or_else(|| {
            let replica = self.observed.replicas.iter().find(|observed| observed.id == *replica)?;
            shards.into_iter().find_map(|ordinal| {
                let shard = replica.shards.iter().find(|shard| shard.address.ordinal == ordinal)?;
                Some(&shard.seen.last()?.assignment.targets.get(&id)?.target)
            })
        })
    }

    /// A target that discovery lists.
    pub(in crate::status) fn listed(self, id: TargetId) -> Option<&'a Target> {
        let job = &self.world.targets.get(&id)?.job;
        Some(&*self.discovered.jobs.get(job)?.active.get(&id)?.target)
    }
}
