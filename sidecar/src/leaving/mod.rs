//! Leaving: how a target that another shard has taken over goes without a trace in the data.
//!
//! A scrape pool of Prometheus that loses a target writes stale markers for it, two intervals later. A pool that is
//! removed as a whole, with its job, writes none. So a target that is to leave goes through a *leaving pool*: a second
//! scrape pool with the settings of its job. The pool's loop goes on scraping with the same labels, URL and phase; the
//! markers of the job's own loop come when newer samples are there, and Prometheus rejects them.
//!
//! Leaving pools are opened and closed by reloads, so they are batched: the pools of one *generation* come and go
//! together. A target's way through it:
//!
//! 1. It is `in_transfer`: it joins a generation ([`Leaving::follow`], [`Leaving::admit`]), and Prometheus is given the
//!    generation's pools ([`Leaving::loaded`]).
//! 2. The coordinator hands it over: another shard scrapes it, it is no longer assigned here. It enters the pool's file,
//!    and a moment later leaves its job's ([`Leaving::step`]). Not sooner: whatever is missed in that moment, the other
//!    shard has.
//! 3. It is scraped on, until so many scrapes have come through the pool that the job's loop has written its markers in
//!    vain.
//! 4. When that holds for all targets of the generation, its file is emptied; its loops end the scrapes under way and
//!    wait before they write markers of their own. In that time the pools are removed ([`Leaving::close`]).
//!
//! Everything here is a function of what is kept, what is seen and what time it is; the shard carries it out.

mod generation;
mod passing;
mod scrapes;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use narthex_common::{
    assignment::{Assignment, TargetState},
    job::JobName,
    target::TargetId,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};

pub use self::{
    generation::{Generation, GenerationId, Leaver, Place},
    scrapes::PoolScrapes,
};

/// The most generations at a time: Prometheus holds an inotify instance for each, of which a user has 128 by default.
const MAX_GENERATIONS: usize = 8;

/// How long targets may join a generation. It ends with the last of them: the longer, the fewer reloads; the shorter,
/// the sooner a target that has moved is scraped by one shard alone.
const JOINING: Duration = Duration::from_secs(60);

/// Targets on their way out, kept over a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// The number of the newest generation. None is used twice: names of pools are made of them.
    newest: u32,
    generations: BTreeMap<GenerationId, Generation>,
    /// Targets without a generation: there are too many, or Prometheus takes no new config.
    waiting: BTreeMap<TargetId, Leaver>,
}

impl Leaving {
    /// Whether nothing is on its way out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.generations.is_empty() && self.waiting.is_empty()
    }

    /// The open generations.
    #[must_use]
    pub const fn generations(&self) -> &BTreeMap<GenerationId, Generation> {
        &self.generations
    }

    /// All targets on their way out, with the generation they are in.
    pub fn leavers(&self) -> impl Iterator<Item = (Option<GenerationId>, &TargetId, &Leaver)> {
        let waiting = self.waiting.iter().map(|(target, leaver)| (None, target, leaver));
        let in_generations = self
            .generations
            .iter()
            .flat_map(|(id, generation)| generation.leavers.iter().map(|(target, leaver)| (Some(*id), target, leaver)));
        waiting.chain(in_generations)
    }

    /// An assignment with the targets beside it that are no longer assigned and still scraped.
    #[must_use]
    pub fn beside<'a>(&self, assignment: &'a Assignment) -> Cow<'a, Assignment> {
        let is_more = |id: &TargetId| !assignment.targets.contains_key(id);
        let more: Vec<_> = self.leavers().filter(|(_, id, _)| is_more(id)).collect();
        if more.is_empty() {
            return Cow::Borrowed(assignment);
        }
        let mut both = assignment.clone();
        both.targets.extend(more.into_iter().map(|(_, id, leaver)| (*id, leaver.assigned.clone())));
        Cow::Owned(both)
    }

    /// The targets that are not in their job's own file: they are in a leaving pool, or have just left it.
    #[must_use]
    pub fn away(&self) -> BTreeSet<TargetId> {
        self.generations.values().flat_map(Generation::away).collect()
    }

    /// Follows an update of the assignment: who leaves, who comes back after all, who is no more.
    pub fn follow(&mut self, update: &Update<'_>) {
        self.waiting.retain(|id, leaver| leaver.follow(*id, update));
        for generation in self.generations.values_mut() {
            generation.follow(update);
        }
        let known: BTreeSet<TargetId> = self.leavers().map(|(_, id, _)| *id).collect();
        let in_transfer = update.after.targets.values().filter(|assigned| assigned.state == TargetState::InTransfer);
        let in_transfer = in_transfer.map(|assigned| Leaver::new(assigned.clone(), None));
        let handed_over = update.handed_over.iter().filter(|id| !update.after.targets.contains_key(id));
        let handed_over = handed_over.filter_map(|id| update.before.targets.get(id));
        let handed_over = handed_over.map(|assigned| Leaver::new(assigned.clone(), Some(update.now)));
        for leaver in in_transfer.chain(handed_over) {
            let id = leaver.assigned.target.id;
            if !known.contains(&id) {
                self.waiting.insert(id, leaver);
            }
        }
    }

    /// Gives those that wait a generation, as far as there is room.
    pub fn admit(&mut self, now: Timestamp) {
        while let Some((id, leaver)) = self.waiting.pop_first() {
            let Some(generation) = self.joinable(now) else {
                self.waiting.insert(id, leaver);
                return;
            };
            generation.pools.entry(leaver.assigned.target.job.clone()).or_default();
            generation.leavers.insert(id, leaver);
        }
    }

    /// The generation that targets join now; a new one when there is none.
    fn joinable(&mut self, now: Timestamp) -> Option<&mut Generation> {
        let is_young = |generation: &Generation| generation.emptied.is_none() && now.since(generation.opened) < JOINING;
        let young = self.generations.iter().rev().find(|(_, generation)| is_young(generation)).map(|(id, _)| *id);
        let id = match young {
            Some(id) => id,
            None if self.generations.len() >= MAX_GENERATIONS => return None,
            None => {
                self.newest += 1;
                GenerationId(self.newest)
            }
        };
        Some(self.generations.entry(id).or_insert_with(|| Generation::new(now)))
    }

    /// The pools that the generated config is to have.
    #[must_use]
    pub fn pools(&self) -> BTreeMap<GenerationId, Vec<JobName>> {
        self.generations.iter().map(|(id, generation)| (*id, generation.pools.keys().cloned().collect())).collect()
    }

    /// Whether Prometheus does not have all pools yet.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.generations.values().any(|generation| generation.pools.values().any(|loaded| !loaded))
    }

    /// Prometheus has these pools.
    pub fn loaded(&mut self, pools: &BTreeMap<GenerationId, Vec<JobName>>) {
        for (id, jobs) in pools {
            let Some(generation) = self.generations.get_mut(id) else { continue };
            for job in jobs {
                if let Some(loaded) = generation.pools.get_mut(job) {
                    *loaded = true;
                }
            }
        }
    }

    /// Prometheus does not take the pools it does not have yet: their targets wait.
    pub fn refused(&mut self) {
        for generation in self.generations.values_mut() {
            let pools = &mut generation.pools;
            let leavers = std::mem::take(&mut generation.leavers);
            let is_loaded = |leaver: &Leaver| pools.get(&leaver.assigned.target.job) == Some(&true);
            let (stay, wait): (BTreeMap<_, _>, BTreeMap<_, _>) = leavers.into_iter().partition(|(_, l)| is_loaded(l));
            generation.leavers = stay;
            self.waiting.extend(wait);
            pools.retain(|_, loaded| *loaded);
        }
        self.generations.retain(|_, generation| !generation.pools.is_empty());
    }

    /// Jobs that the config no longer has take their pools along.
    pub fn retain_jobs(&mut self, is_there: impl Fn(&JobName) -> bool) {
        self.waiting.retain(|_, leaver| is_there(&leaver.assigned.target.job));
        for generation in self.generations.values_mut() {
            generation.pools.retain(|job, _| is_there(job));
            generation.leavers.retain(|_, leaver| is_there(&leaver.assigned.target.job));
        }
        self.generations.retain(|_, generation| !generation.pools.is_empty());
    }

    /// The generation is no more. Its targets, which have all been handed over.
    pub fn close(&mut self, id: GenerationId) -> Vec<Leaver> {
        self.generations.remove(&id).map(|closed| closed.leavers.into_values().collect()).unwrap_or_default()
    }
}

/// An update of the assignment, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// What was assigned before.
    pub before: &'a Assignment,
    /// What is assigned now.
    pub after: &'a Assignment,
    /// Those that are no longer assigned because another shard has them.
    pub handed_over: &'a [TargetId],
    /// When it came.
    pub now: Timestamp,
}
