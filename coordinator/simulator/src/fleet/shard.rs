//! A shard as it is: what is on its list, how often it has scraped that, and whether it lives and answers.

use std::collections::BTreeMap;

use narthex_common::{config::PromDuration, job::JobName, load::Load, target::TargetId, time::Timestamp};
use narthex_planner::{
    cost::Cost,
    plan::PlannedTarget,
    world::{HeldTarget, OwnBudget, ShardReport, TargetMap},
};

use super::{head::Head, target::ShardKey};
use crate::chance;

/// Prometheus looks at changed target files at most every five seconds.
const LOOKS_AT_FILES: u64 = 5000;

/// A shard.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) key: ShardKey,
    pub(crate) budget: OwnBudget,
    pub(crate) life: Life,
    /// Until which round it does not answer.
    pub(crate) slow_until: u32,
    /// Until which round it runs another config.
    pub(crate) other_config_until: u32,
    /// What is on its list: this is on its disk.
    pub(crate) held: TargetMap<HeldTarget>,
    /// What it has scraped less than three times, and when it scrapes it first.
    pub(crate) warming: BTreeMap<TargetId, Timestamp>,
    /// What weighs something else now, and when it sees that.
    pub(crate) changed: BTreeMap<TargetId, Timestamp>,
    pub(crate) idle_since: Option<Timestamp>,
    /// What its last scrapes brought.
    pub(crate) used: Cost,
    pub(crate) head: Head,
}

/// Whether a shard lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It scrapes and answers.
    Running,
    /// It neither scrapes nor answers until then.
    Away {
        /// Until when; none is for ever.
        until: Option<Timestamp>,
    },
}

impl Shard {
    pub(crate) fn new(key: ShardKey, budget: OwnBudget, life: Life, now: Timestamp) -> Self {
        Self {
            key,
            budget,
            life,
            slow_until: 0,
            other_config_until: 0,
            held: TargetMap::new(),
            warming: BTreeMap::new(),
            changed: BTreeMap::new(),
            idle_since: Some(now),
            used: Cost::ZERO,
            head: Head::new(key),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.life == Life::Running
    }

    /// Whether it answers the coordinator in a round.
    pub(crate) fn answers(&self, round: u32) -> bool {
        self.is_running() && round > self.slow_until
    }

    /// What it says.
    pub(crate) fn report(&mut self, round: u32, now: Timestamp) -> ShardReport {
        ShardReport {
            config_matches: round > self.other_config_until,
            ready: true,
            head_series: Some(self.head.series(self.used.series, now)),
            idle_since: self.idle_since,
            targets: self.held.clone(),
        }
    }

    /// When, within its interval, it scrapes a target: another shard does so at another time.
    fn phase(&self, target: TargetId, interval: PromDuration) -> i64 {
        let key = u64::from(self.key.replica) << 32 | u64::from(self.key.ordinal);
        (chance::mixed(target.0.0 ^ chance::mixed(key)) % interval.0.max(1)) as i64
    }

    /// The first scrape at or after a moment.
    pub(crate) fn scrape_after(&self, target: TargetId, interval: PromDuration, at: Timestamp) -> Timestamp {
        let phase = self.phase(target, interval);
        Timestamp(at.0 + (phase - at.0).rem_euclid(interval.0.max(1) as i64))
    }

    /// The last scrape at or before a moment.
    pub(crate) fn scrape_before(&self, target: TargetId, interval: PromDuration, at: Timestamp) -> Timestamp {
        let phase = self.phase(target, interval);
        Timestamp(at.0 - (at.0 - phase).rem_euclid(interval.0.max(1) as i64))
    }

    /// Puts a target on its list, or changes how it is there. Whether it is new there.
    pub(crate) fn put(
        &mut self,
        id: TargetId,
        planned: PlannedTarget,
        (job, interval): (&JobName, PromDuration),
        now: Timestamp,
    ) -> bool {
        self.idle_since = None;
        if let Some(held) = self.held.get_mut(&id) {
            (held.state, held.since, held.planned) = (planned.state, Some(now), Some(planned.load));
            return false;
        }
        let held = HeldTarget {
            job: job.clone(),
            interval,
            state: planned.state,
            since: Some(now),
            planned: Some(planned.load),
            load: None,
            scrapes: 0,
        };
        self.held.insert(id, held);
        let key = u64::from(self.key.replica) << 32 | u64::from(self.key.ordinal);
        let seen_after = chance::mixed(now.0.unsigned_abs() ^ chance::mixed(key)) % LOOKS_AT_FILES;
        let first = self.scrape_after(id, interval, Timestamp(now.0 + seen_after as i64));
        self.warming.insert(id, first);
        true
    }

    /// Takes a target from its list.
    pub(crate) fn remove(&mut self, id: TargetId, now: Timestamp) -> Option<HeldTarget> {
        let held = self.held.remove(&id)?;
        self.warming.remove(&id);
        self.changed.remove(&id);
        self.forget_load(held.load, held.interval, now);
        if self.held.is_empty() {
            self.idle_since = Some(now);
        }
        Some(held)
    }

    fn forget_load(&mut self, load: Option<Load>, interval: PromDuration, now: Timestamp) {
        if let Some(load) = load {
            self.used = self.used.minus(Cost::of(load, interval.to_std()));
            self.head.leave_over(load.kept, now);
        }
    }

    /// Its last scrape of a target brought so much.
    pub(crate) fn measure(&mut self, id: TargetId, load: Load, now: Timestamp) {
        let Some(held) = self.held.get_mut(&id) else { return };
        let (before, interval) = (held.load.replace(load), held.interval.to_std());
        self.used = self.used.plus(Cost::of(load, interval));
        if let Some(before) = before {
            self.used = self.used.minus(Cost::of(before, interval));
            self.head.ebb_and_flow(before.kept, load.kept, now);
        }
    }

    /// It starts again, with what is on its disk: every target is scraped anew.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.life = Life::Running;
        let held = self.held.iter().map(|(&id, held)| (id, HeldTarget { load: None, scrapes: 0, ..held.clone() }));
        self.held = held.collect();
        let first = |(&id, held): (&TargetId, &HeldTarget)| (id, self.scrape_after(id, held.interval, now));
        self.warming = self.held.iter().map(first).collect();
        self.changed.clear();
    }

    /// It ends: nothing is scraped.
    pub(crate) fn end(&mut self, until: Option<Timestamp>, now: Timestamp) {
        self.life = Life::Away { until };
        self.head.die(self.used.series, now);
        self.used = Cost::ZERO;
        self.warming.clear();
        self.changed.clear();
    }
}
