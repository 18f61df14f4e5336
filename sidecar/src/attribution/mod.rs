//! Attribution: what becomes of the targets that Prometheus relabels by itself.
//!
//! The coordinator assigns such a target by the labels it was discovered with, and a scrape tells nothing but its URL.
//! Which target a scrape is of, Prometheus says: it lists its targets with the labels both before and after relabeling.
//! Until that is learned, scrapes go through all the same, and are nobody's; what relabeling drops is learned as well.
//!
//! What is learned here is a function of what was known and what Prometheus lists; `attributing` asks it.

mod attributing;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use narthex_common::{assignment::Assignment, job::JobName, labels::Labels, target::TargetId};

pub use self::attributing::Attributing;
use crate::{
    prometheus::RelabeledTargets,
    render::relabeled_here::{TARGET_ID_LABEL, TARGET_ID_ON_ITS_WAY},
    scheme_twins::true_url,
};

/// What became of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    Scraped(Outcome),
    /// It is not scraped: the rules drop it, make nothing of it that can be scraped, or make of it what they make of
    /// another one.
    Dropped,
    /// Prometheus scrapes targets of its job and does not tell which they are, because rules of the user removed what
    /// tells it.
    Untold,
}

/// What relabeling made of a target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Outcome {
    /// Those that series carry.
    labels: Labels,
    /// With its true scheme.
    url: String,
}

/// What became of each target, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attribution(BTreeMap<TargetId, Fate>);

/// What Prometheus lists.
#[derive(Clone, Debug, Default)]
struct Listed {
    active: BTreeMap<TargetId, Outcome>,
    dropped: BTreeSet<TargetId>,
    /// The jobs of targets that it does not tell apart.
    untold: BTreeSet<JobName>,
}

impl Attribution {
    /// How many targets it knows of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An assignment in which the targets have the labels and URLs that are known of them, and the ids they had.
    #[must_use]
    pub fn applied<'a>(&self, assignment: &'a Assignment) -> Cow<'a, Assignment> {
        if self.is_empty() {
            return Cow::Borrowed(assignment);
        }
        let mut applied = assignment.clone();
        for (id, assigned) in &mut applied.targets {
            if let Some(Fate::Scraped(Outcome { labels, url })) = self.0.get(id) {
                assigned.target.labels = labels.clone();
                assigned.target.url.clone_from(url);
            }
        }
        Cow::Owned(applied)
    }

    /// The targets that are not scraped.
    pub fn dropped(&self) -> impl Iterator<Item = TargetId> {
        self.0.iter().filter(|(_, fate)| **fate == Fate::Dropped).map(|(id, _)| *id)
    }

    /// Whether a target is not scraped, or nobody can tell that it is.
    #[must_use]
    pub fn is_never_seen(&self, id: TargetId) -> bool {
        match self.0.get(&id) {
            Some(Fate::Dropped | Fate::Untold) => true,
            Some(Fate::Scraped(_)) | None => false,
        }
    }

    /// The targets whose scrapes Prometheus does not tell apart.
    pub fn untold(&self) -> impl Iterator<Item = TargetId> {
        self.0.iter().filter(|(_, fate)| **fate == Fate::Untold).map(|(id, _)| *id)
    }

    /// What is known of the wanted targets after a look at what Prometheus lists. One that is not listed at all, and
    /// overdue, is not scraped.
    fn learn(
        &self,
        wanted: &BTreeMap<TargetId, JobName>,
        listed: &Listed,
        is_overdue: impl Fn(TargetId) -> bool,
    ) -> Self {
        let known = self.0.iter().filter(|(id, _)| wanted.contains_key(id) && !listed.dropped.contains(id));
        let mut fates: BTreeMap<TargetId, Fate> = known.map(|(id, fate)| (*id, fate.clone())).collect();
        // Of several that become one, Prometheus lists now this one, now that: who has it keeps it.
        let mut owners: BTreeMap<(&JobName, Outcome), TargetId> = BTreeMap::new();
        for (id, fate) in &fates {
            if let (Fate::Scraped(outcome), Some(job)) = (fate, wanted.get(id)) {
                owners.insert((job, outcome.clone()), *id);
            }
        }
        for (id, job) in wanted {
            if let Some(outcome) = listed.active.get(id) {
                let owner = *owners.entry((job, outcome.clone())).or_insert(*id);
                let fate = if owner == *id { Fate::Scraped(outcome.clone()) } else { Fate::Dropped };
                fates.insert(*id, fate);
            } else if listed.dropped.contains(id) {
                fates.insert(*id, Fate::Dropped);
            } else if !fates.contains_key(id) && is_overdue(*id) {
                fates.insert(*id, if listed.untold.contains(job) { Fate::Untold } else { Fate::Dropped });
            }
        }
        Self(fates)
    }

    fn knows(&self, id: TargetId) -> bool {
        self.0.contains_key(&id)
    }
}

impl Listed {
    /// Adds what is listed of a pool.
    fn add(&mut self, pool: &str, job: &JobName, targets: RelabeledTargets) {
        // An old Prometheus tells of all pools.
        for target in targets.active_targets.into_iter().filter(|target| target.scrape_pool == pool) {
            match id(&target.discovered_labels) {
                Some(id) => {
                    let outcome = Outcome { labels: target.labels, url: true_url(target.scrape_url) };
                    self.active.insert(id, outcome);
                }
                None => drop(self.untold.insert(job.clone())),
            }
        }
        self.dropped.extend(targets.dropped_targets.iter().filter_map(|target| id(&target.discovered_labels)));
    }
}

fn id(discovered: &Labels) -> Option<TargetId> {
    let told = discovered.get(TARGET_ID_LABEL).or_else(|| discovered.get(TARGET_ID_ON_ITS_WAY))?;
    told.parse().ok().map(TargetId)
}
