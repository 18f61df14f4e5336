//! Which target is probed when. Time and chance are arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use narthex_common::{
    load::Load,
    target::{Target, TargetId},
    time::Timestamp,
};
use narthex_planner::world::KnownLoad;
use tokio::time::Instant;

use super::Probed;

/// How long after a first failure a target is tried again: about as long as a target takes to start.
const FIRST_RETRY: Duration = Duration::from_secs(5);

/// The longest time between tries. A target that comes back is scraped by its shard before, and known from there.
const LAST_RETRY: Duration = Duration::from_secs(5 * 60);

/// The targets to probe and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    targets: BTreeMap<TargetId, Entry>,
    /// Exactly the targets that wait, the next first.
    due: BTreeSet<(Instant, TargetId)>,
    /// What is known of each.
    probed: Probed,
}

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    phase: Phase,
    failures: Option<Failures>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Waiting { until: Instant },
    Running,
    Measured(Load),
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    since: Timestamp,
    count: u32,
}

impl Schedule {
    /// Takes the targets that are to be probed now. New ones are due at once, others stay as they were, and what is
    /// known of any other target is dropped. Says whether [`probed`](Self::probed) changed.
    pub(super) fn want(&mut self, wanted: &BTreeMap<TargetId, Arc<Target>>, now: Instant) -> bool {
        let gone: Vec<TargetId> = self.targets.keys().filter(|id| !wanted.contains_key(id)).copied().collect();
        let mut changed = false;
        for id in gone {
            changed |= self.forget(id);
        }
        for (id, target) in wanted {
            if !self.targets.contains_key(id) {
                let phase = Phase::Waiting { until: now };
                self.targets.insert(*id, Entry { target: Arc::clone(target), phase, failures: None });
                self.due.insert((now, *id));
            }
        }
        changed
    }

    fn forget(&mut self, id: TargetId) -> bool {
        let Some(entry) = self.targets.remove(&id) else { return false };
        if let Phase::Waiting { until } = entry.phase {
            self.due.remove(&(until, id));
        }
        self.probed.remove(&id).is_some()
    }

    /// Lets every failed target be tried again now: other settings may have been the cure.
    pub(super) fn retry_failed(&mut self, now: Instant) {
        for (id, entry) in &mut self.targets {
            if let Phase::Waiting { until } = entry.phase {
                self.due.remove(&(until, *id));
                self.due.insert((now, *id));
                entry.phase = Phase::Waiting { until: now };
            }
        }
    }

    /// When the next target is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The next target, if it is due: it counts as running until it is [recorded](Self::record).
    pub(super) fn start_next(&mut self, now: Instant) -> Option<Arc<Target>> {
        let (at, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, id));
        let entry = self.targets.get_mut(&id)?;
        entry.phase = Phase::Running;
        Some(Arc::clone(&entry.target))
    }

    /// Takes what a probe brought. `chance` is between 0 and 1.
    pub(super) fn record(
        &mut self,
        id: TargetId,
        result: Result<Load, String>,
        (now, at): (Instant, Timestamp),
        chance: f64,
    ) {
        // A target that went away meanwhile is not told of; one that is back already waits for a probe of its own.
        let Some(entry) = self.targets.get_mut(&id).filter(|entry| entry.phase == Phase::Running) else { return };
        match result {
            Ok(load) => entry.phase = Phase::Measured(load),
            Err(error) => {
                let before = entry.failures.unwrap_or(Failures { since: at, count: 0 });
                if before.count == 0 {
                    tracing::debug!(job = %entry.target.job, url = entry.target.url, %error, "probe failed; will retry");
                }
                let until = now + retry_after(before.count, chance);
                entry.failures = Some(Failures { count: before.count.saturating_add(1), ..before });
                entry.phase = Phase::Waiting { until };
                self.due.insert((until, id));
            }
        }
        if let Some(known) = entry.known() {
            self.probed.insert(id, known);
        }
    }

    /// What is known of the targets that were probed.
    pub(super) fn probed(&self) -> Probed {
        self.probed.clone()
    }

    /// How many targets have not been measured.
    pub(super) fn unmeasured(&self) -> usize {
        self.targets.values().filter(|entry| !matches!(entry.phase, Phase::Measured(_))).count()
    }
}

impl Entry {
    fn known(&self) -> Option<KnownLoad> {
        match (&self.phase, self.failures) {
            (Phase::Measured(load), _) => Some(KnownLoad::Measured(*load)),
            (Phase::Waiting { .. } | Phase::Running, Some(failures)) => {
                Some(KnownLoad::ProbeFailed { since: failures.since })
            }
            (Phase::Waiting { .. } | Phase::Running, None) => None,
        }
    }
}

/// Twice as long after every failure, up to a limit; and by chance up to half of it less, so that targets that failed
/// together are not tried together.
fn retry_after(failures_before: u32, chance: f64) -> Duration {
    let longest = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures_before)).min(LAST_RETRY);
    longest.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use narthex_common::{labels::Labels, load::Series};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 0.0, 5_000)]
    #[case(0, 1.0, 2_500)]
    #[case(1, 0.0, 10_000)]
    #[case(6, 0.0, 300_000)]
    #[case(6, 0.5, 225_000)]
    #[case(u32::MAX, 0.0, 300_000)]
    fn retries_come_slower_and_slower(#[case] failures: u32, #[case] chance: f64, #[case] millis: u64) {
        assert_eq!(retry_after(failures, chance), Duration::from_millis(millis));
    }

    #[tokio::test]
    async fn what_is_known_of_a_target_goes_with_it() {
        let target = Arc::new(Target::new("job".into(), Labels::default(), "http://a/".into()));
        let wanted = BTreeMap::from([(target.id, Arc::clone(&target))]);
        let load = Load { exposed: Series(3), kept: Series(2) };
        let (now, at) = (Instant::now(), Timestamp(0));
        let mut schedule = Schedule::default();

        assert!(!schedule.want(&wanted, now), "nothing is known yet");
        assert_eq!(schedule.start_next(now), Some(Arc::clone(&target)));
        assert_eq!(schedule.start_next(now), None, "it runs once");
        schedule.record(target.id, Ok(load), (now, at), 0.0);
        assert_eq!(schedule.probed(), Probed::unit(target.id, KnownLoad::Measured(load)));
        assert!(!schedule.want(&wanted, now), "still the same");
        assert!(schedule.want(&BTreeMap::new(), now));
        assert_eq!(schedule.probed(), Probed::new());
    }

    #[tokio::test]
    async fn a_probe_that_outlives_its_target_tells_nothing() {
        let target = Arc::new(Target::new("job".into(), Labels::default(), "http://a/".into()));
        let wanted = BTreeMap::from([(target.id, Arc::clone(&target))]);
        let (now, at) = (Instant::now(), Timestamp(0));
        let mut schedule = Schedule::default();
        schedule.want(&wanted, now);
        schedule.start_next(now);
        schedule.want(&BTreeMap::new(), now);
        schedule.record(target.id, Err("late".into()), (now, at), 0.0);
        assert_eq!((schedule.probed(), schedule.next_due()), (Probed::new(), None));
    }
}
