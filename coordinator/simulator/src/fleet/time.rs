//! Time: it passes, shards start, scrape, and are killed by what they scrape.

use narthex_common::{config::PromDuration, report::SCRAPES_COUNTED, target::TargetId, time::Timestamp};

use super::{Fleet, Life, Replica, Shard, coverage::End};

/// A rolling update under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rolling {
    /// Which shard goes next.
    pub(super) next: u32,
    /// When.
    pub(super) at: Timestamp,
    pub(super) down: PromDuration,
    pub(super) pause: PromDuration,
}

/// Something on a shard's list that was scraped.
struct Scraped {
    id: TargetId,
    first: Timestamp,
    scrapes: u32,
}

impl Fleet {
    /// Lets time pass up to a moment.
    pub(crate) fn pass_time(&mut self, until: Timestamp) {
        for replica in 0..self.replicas.len() as u32 {
            self.start_shards(replica, until);
            self.roll_on(replica, until);
            self.scrape(replica as usize, until);
            self.kill_the_overloaded(replica, until);
        }
        self.now = until;
    }

    fn start_shards(&mut self, replica: u32, until: Timestamp) {
        let Some(replica) = self.replicas.get_mut(replica as usize) else { return };
        for shard in &mut replica.shards {
            if let Life::Away { until: Some(at) } = shard.life
                && at <= until
            {
                shard.start(at);
            }
        }
    }

    fn roll_on(&mut self, number: u32, until: Timestamp) {
        while let Some(rolling) = self.replicas.get(number as usize).and_then(|replica| replica.rolling)
            && rolling.at <= until
        {
            let back = rolling.at.after(rolling.down.to_std());
            // What it scraped until it goes counts.
            self.scrape(number as usize, rolling.at);
            self.end_shard(number, rolling.next, Some(back), rolling.at);
            self.start_shards(number, until);
            let next = rolling.next.checked_sub(1);
            let at = back.after(rolling.pause.to_std());
            if let Some(replica) = self.replicas.get_mut(number as usize) {
                replica.rolling = next.map(|next| Rolling { next, at, ..rolling });
            }
        }
    }

    /// A shard stops. One that is away already stays so for as long as it would have.
    pub(super) fn end_shard(&mut self, number: u32, ordinal: u32, until: Option<Timestamp>, now: Timestamp) {
        let Some(replica) = self.replicas.get_mut(number as usize) else { return };
        let Some(shard) = replica.shards.get_mut(ordinal as usize) else { return };
        if !shard.is_running() {
            return;
        }
        for (&id, held) in shard.held.iter().filter(|(_, held)| held.scrapes > 0) {
            let last = shard.scrape_before(id, held.interval, now);
            let listed = self.targets.contains_key(&id);
            replica.coverage.end(id, last, held.interval, listed, End::Failed);
        }
        shard.end(until, now);
    }

    fn scrape(&mut self, replica: usize, until: Timestamp) {
        let Self { replicas, targets, .. } = self;
        let Some(Replica { shards, coverage, .. }) = replicas.get_mut(replica) else { return };
        for shard in shards.iter_mut().filter(|shard| shard.is_running()) {
            for Scraped { id, first, scrapes } in shard.warm_up(until) {
                let Some(held) = shard.held.get_mut(&id) else { continue };
                let before = std::mem::replace(&mut held.scrapes, scrapes);
                if before == 0 {
                    coverage.begin(id, first);
                    if let Some(target) = targets.get(&id).filter(|target| target.up) {
                        shard.measure(id, target.load, until);
                    }
                }
            }
            for id in shard.see_changes(until) {
                if let Some(target) = targets.get(&id).filter(|target| target.up) {
                    shard.measure(id, target.load, until);
                }
            }
        }
    }

    fn kill_the_overloaded(&mut self, number: u32, until: Timestamp) {
        let Some(times) = self.settings.dies_above else { return };
        let returns = self.settings.returns_after.map(|after| until.after(after.to_std()));
        let Some(replica) = self.replicas.get(number as usize) else { return };
        let is_overloaded = |shard: &&Shard| {
            let budget = self.policy.budget(shard.budget).whole().series.0 as f64;
            shard.is_running() && shard.used.series.0 as f64 > times * budget
        };
        let killed: Vec<u32> = replica.shards.iter().filter(is_overloaded).map(|shard| shard.key.ordinal).collect();
        for ordinal in killed {
            self.end_shard(number, ordinal, returns, until);
            if let Some(replica) = self.replicas.get_mut(number as usize) {
                replica.killed += 1;
            }
        }
    }
}

impl Shard {
    /// What was scraped more often by then than it was known to be; whatever was scraped often enough is warm.
    fn warm_up(&mut self, until: Timestamp) -> Vec<Scraped> {
        let held = &self.held;
        let mut scraped = Vec::new();
        self.warming.retain(|id, &mut first| {
            let Some(held) = held.get(id) else { return false };
            if first > until {
                return true;
            }
            let more = (until.0 - first.0).unsigned_abs() / held.interval.0.max(1);
            let scrapes = u32::try_from(more).unwrap_or(u32::MAX).saturating_add(1).min(SCRAPES_COUNTED);
            if scrapes > held.scrapes {
                scraped.push(Scraped { id: *id, first, scrapes });
            }
            scrapes < SCRAPES_COUNTED
        });
        scraped
    }

    /// What changed, and was scraped since.
    fn see_changes(&mut self, until: Timestamp) -> Vec<TargetId> {
        let mut seen = Vec::new();
        self.changed.retain(|id, due| {
            let is_seen = *due <= until;
            if is_seen {
                seen.push(*id);
            }
            !is_seen
        });
        // What was never scraped here is measured by its first scrape.
        seen.retain(|id| self.held.get(id).is_some_and(|held| held.scrapes > 0));
        seen
    }
}
