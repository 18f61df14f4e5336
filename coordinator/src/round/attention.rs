//! Targets that a person should look at: those that may have killed a shard, and those that are larger than a shard may
//! be. Said when it begins, with what follows from it and what to do, and listed for as long as it lasts.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{
    labels::ADDRESS,
    shard::ReplicaId,
    target::{Target, TargetId},
};
use narthex_planner::{Plan, World, memory::Suspicion, reason::Change};
use tracing::{info, warn};
use url::Url;

use crate::discover::Discovered;

/// How many targets one line names.
const NAMED: usize = 3;

/// The targets of each replica that needed attention in the last round.
#[derive(Debug, Default)]
pub(super) struct Attention {
    suspects: BTreeSet<(ReplicaId, TargetId)>,
    oversized: BTreeMap<ReplicaId, BTreeSet<TargetId>>,
}

/// Where targets' names come from.
struct Names<'a> {
    world: &'a World,
    discovered: &'a Discovered,
}

impl Attention {
    /// Logs which targets are new and which have gone; says what is the matter with each.
    pub(super) fn look(&mut self, world: &World, plan: &Plan, discovered: &Discovered) -> Vec<String> {
        if plan.replicas.is_empty() {
            // The provider could not say who the shards are: nothing was planned.
            return Vec::new();
        }
        let names = Names { world, discovered };
        let mut errors = self.look_at_suspects(plan, &names);
        errors.extend(self.look_at_oversized(plan, &names));
        errors
    }

    fn look_at_suspects(&mut self, plan: &Plan, names: &Names<'_>) -> Vec<String> {
        for (replica, plan) in &plan.replicas {
            for change in &plan.changes {
                if let Change::Suspect { target, shard, why } = change {
                    let target = names.of(*target);
                    warn!("shard {shard} of {replica} is lost, and {}", suspected(&target, *why));
                }
            }
        }
        let mut suspects = BTreeSet::new();
        let mut errors = Vec::new();
        for (replica, plan) in &plan.replicas {
            for (target, suspect) in &plan.memory.suspects {
                errors.push(format!("{replica}: {}", suspected(&names.of(*target), suspect.why)));
                suspects.insert((replica.clone(), *target));
            }
        }
        for (replica, target) in self.suspects.difference(&suspects) {
            info!(%replica, "no longer suspected of having killed a shard: {}", names.of(*target));
        }
        self.suspects = suspects;
        errors
    }

    fn look_at_oversized(&mut self, plan: &Plan, names: &Names<'_>) -> Vec<String> {
        let before = std::mem::take(&mut self.oversized);
        let mut errors = Vec::new();
        for (replica, plan) in &plan.replicas {
            let known = before.get(replica);
            let new = plan.oversized.iter().filter(|target| known.is_none_or(|known| !known.contains(*target)));
            let new: Vec<TargetId> = new.copied().collect();
            if !new.is_empty() {
                warn!("{}", too_large(replica, new.len(), &new, names));
            }
            if !plan.oversized.is_empty() {
                errors.push(too_large(replica, plan.oversized.len(), &plan.oversized, names));
                self.oversized.insert(replica.clone(), plan.oversized.clone());
            }
            let gone = known.map_or(0, |known| known.difference(&plan.oversized).count());
            if gone > 0 {
                info!(%replica, targets = gone, "targets that were larger than a shard may fill no longer are");
            }
        }
        errors
    }
}

fn suspected(target: &str, why: Suspicion) -> String {
    let why = match why {
        Suspicion::Grew => "it had grown before",
        Suspicion::DiedAgain => "its shard had taken it over from another one that was lost",
    };
    format!(
        "{target} may have killed its shard: {why}; it gets a shard of its own until it has proved harmless; look at how \
         many series it has, and bound them with sample_limit"
    )
}

fn too_large<'a>(
    replica: &ReplicaId,
    number: usize,
    targets: impl IntoIterator<Item = &'a TargetId>,
    names: &Names<'_>,
) -> String {
    let named: Vec<String> = targets.into_iter().take(NAMED).map(|target| names.of(*target)).collect();
    let more = match number.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "larger than a shard of {replica} may fill: {}{more}; each gets a shard of its own, or waits for one; drop series \
         with metric_relabel_configs, or raise --shard.max-series (--shard.max-process-series, \
         --shard.max-samples-per-second)",
        named.join(", ")
    )
}

impl Names<'_> {
    /// A target's job and address. Parameters of the address may be secrets, and are left out.
    fn of(&self, id: TargetId) -> String {
        let Some(target) = self.find(id) else { return format!("target {id}") };
        let url = target.url.parse::<Url>().map_or_else(
            |_| match target.labels.get(ADDRESS) {
                // Without a user and a password.
                Some(address) if target.is_relabeled_by_shard() => {
                    address.rsplit_once('@').map_or(address, |(_, host)| host).to_owned()
                }
                Some(_) | None => format!("target {id}"),
            },
            |mut url| {
                url.set_query(None);
                url.to_string()
            },
        );
        format!("{url} of job {:?}", target.job.as_str())
    }

    fn find(&self, id: TargetId) -> Option<&Target> {
        let job = &self.world.targets.get(&id)?.job;
        Some(&self.discovered.jobs.get(job)?.active.get(&id)?.target)
    }
}

#[cfg(test)]
mod tests;
