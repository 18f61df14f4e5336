//! What time and scrapes do to targets on their way out.

use std::time::Duration;

use narthex_common::{target::TargetId, time::Timestamp};

use super::{Generation, GenerationId, Leaver, Leaving, Place};

/// How long a target stands in both files. Prometheus notes within milliseconds that a file has changed and takes up
/// what it has noted every five seconds: usually both at once, as it should be. In this order it never takes up the end
/// of a target five seconds before its beginning elsewhere. Yet the two are some milliseconds apart, and a scrape that
/// was due between them is missed: it is the destination's as well, which has the target by then.
const BOTH: Duration = Duration::from_millis(200);

/// So many scrapes through the pool, and none through the job's own since, and the job's loop has written its markers:
/// it does so 2.1 ticks after its last scrape, and the third scrape through the pool has begun three ticks after it.
const SCRAPES: u32 = 3;

/// How often is looked.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_CLOSELY: Duration = Duration::from_millis(100);

impl Leaving {
    /// Takes every target as far as it has come. Whether anything changed.
    pub fn step(&mut self, scraped: impl Fn(TargetId, GenerationId) -> u32, now: Timestamp) -> bool {
        let mut changed = false;
        for (id, generation) in &mut self.generations {
            changed |= generation.step(|target| scraped(target, *id), now);
        }
        changed
    }

    /// Lets go of targets that were handed over and are in no pool yet: when there can be none, or it takes too long.
    /// Their leaving will show.
    pub fn give_up(&mut self, can_reload: bool, now: Timestamp) -> Vec<Leaver> {
        let mut given_up = Vec::new();
        let generations = self.generations.values_mut().map(|generation| &mut generation.leavers);
        for leavers in generations.chain([&mut self.waiting]) {
            leavers.retain(|_, leaver| {
                let is_hopeless = leaver.place == Place::Job
                    && leaver.handed_over.is_some()
                    && (!can_reload || leaver.is_overdue(now));
                if is_hopeless {
                    given_up.push(leaver.clone());
                }
                !is_hopeless
            });
        }
        given_up
    }

    /// When to look again.
    #[must_use]
    pub fn next_look(&self, now: Timestamp) -> Option<Timestamp> {
        if self.is_empty() {
            return None;
        }
        let is_close = self.generations.values().any(Generation::is_about_to_change);
        Some(now.after(if is_close { LOOK_CLOSELY } else { LOOK }))
    }
}

impl Generation {
    fn step(&mut self, scraped: impl Fn(TargetId) -> u32, now: Timestamp) -> bool {
        if self.emptied.is_some() {
            return false;
        }
        let mut changed = false;
        let pools = &self.pools;
        self.leavers.retain(|_, leaver| {
            let is_loaded = pools.get(&leaver.assigned.target.job) == Some(&true);
            let (place, stays) = match leaver.place {
                Place::Job if is_loaded && leaver.handed_over.is_some() => (Place::Entering { since: now }, true),
                Place::Entering { since } if now.since(since) >= BOTH => (Place::Pool, true),
                Place::Returning { since } if now.since(since) >= BOTH => (leaver.place, false),
                Place::Job | Place::Entering { .. } | Place::Pool | Place::Returning { .. } => (leaver.place, true),
            };
            changed |= place != leaver.place || !stays;
            leaver.place = place;
            stays
        });
        if self.is_complete(scraped, now) {
            self.emptied = Some(now);
            changed = true;
        }
        changed
    }

    /// Whether nothing in it has anything left to wait for.
    fn is_complete(&self, scraped: impl Fn(TargetId) -> u32, now: Timestamp) -> bool {
        let is_through = |(id, leaver): (&TargetId, &Leaver)| {
            leaver.handed_over.is_some()
                && leaver.place == Place::Pool
                && (scraped(*id) >= SCRAPES || leaver.is_overdue(now))
        };
        self.quiet_until.is_none_or(|until| now >= until) && self.leavers.iter().all(is_through)
    }

    fn is_about_to_change(&self) -> bool {
        let is_in_both = |leaver: &Leaver| match leaver.place {
            Place::Entering { .. } | Place::Returning { .. } => true,
            Place::Job | Place::Pool => false,
        };
        self.emptied.is_some() || self.leavers.values().any(is_in_both)
    }
}
