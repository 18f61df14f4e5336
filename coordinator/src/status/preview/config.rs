//! Another config: the targets that it would make of what is discovered.

use std::collections::BTreeMap;

use narthex_common::{job::JobName, load::Load, target::TargetId, time::Timestamp};
use narthex_planner::{
    World,
    world::{JobView, KnownLoad, TargetView},
};

use crate::discover::{ActiveTarget, Discovered};

/// The world as it would be with what another config leads to, once all shards have taken it.
///
/// A job that is not discovered has no targets here: what the shards have of it stays, as it does after a reload. A
/// target whose labels change is another one with the same load, which is known by its job and URL.
pub(super) fn with_config(world: &World, old: &Discovered, new: &Discovered) -> World {
    let loads = loads_by_url(world, old, new);
    let known = new.jobs.iter().filter(|(_, found)| found.discovered);
    let listed = known.flat_map(|(job, found)| found.active.iter().map(move |(id, active)| (*id, job, active)));
    let targets = listed.map(|(id, job, active)| {
        let view = world.targets.get(&id).cloned().unwrap_or_else(|| TargetView {
            job: job.clone(),
            interval: active.target.interval().unwrap_or_default(),
            // Nobody waits for a probe that will not come.
            since: Timestamp(0),
            probed: match loads.get(&(job, &*active.target.url)) {
                Some(load) => KnownLoad::Measured(*load),
                None if active.target.is_relabeled_by_shard() => KnownLoad::ProbeFailed { since: world.now },
                None => KnownLoad::Unknown,
            },
        });
        (id, view)
    });
    World {
        jobs: new.jobs.iter().map(|(job, found)| (job.clone(), JobView { discovered: found.discovered })).collect(),
        targets: targets.collect(),
        ..world.clone()
    }
}

/// The loads of the targets that are no longer listed.
fn loads_by_url<'a>(world: &World, old: &'a Discovered, new: &Discovered) -> BTreeMap<(&'a JobName, &'a str), Load> {
    let mut gone: BTreeMap<TargetId, (&JobName, &str)> = BTreeMap::new();
    for (job, found) in &old.jobs {
        let stays = |id: &TargetId| new.jobs.get(job).is_some_and(|new| new.active.contains_key(id));
        let has_url = |active: &ActiveTarget| !active.target.is_relabeled_by_shard();
        let leaving = found.active.iter().filter(|(id, active)| !stays(id) && has_url(active));
        gone.extend(leaving.map(|(id, active)| (*id, (job, &*active.target.url))));
    }
    let mut loads = BTreeMap::new();
    if gone.is_empty() {
        return loads;
    }
    for (id, url) in &gone {
        if let Some(KnownLoad::Measured(load)) = world.targets.get(id).map(|target| target.probed) {
            loads.insert(*url, load);
        }
    }
    for report in world.replicas.iter().flat_map(|replica| replica.shards.values()).map(|shard| &shard.report) {
        let Some(report) = report.last() else { continue };
        for (id, held) in &report.targets {
            if let (Some(url), Some(load)) = (gone.get(id), held.load) {
                loads.insert(*url, load);
            }
        }
    }
    loads
}
