//! What the shard knows of each of its targets: the one place that the proxy writes and the report reads.
//!
//! Flow: the assignment says which targets there are ([`TargetTable::assign`]); the proxy finds the target a request is
//! for and records how the scrape went ([`TargetTable::record`]); the report reads what changed since a cursor
//! ([`TargetTable::changed_since`]).
//!
//! Guarantees: a reader that asks with the cursor it got last misses no change. Asking costs as much as there are
//! changes, not as there are targets. The table's lock is held for a few map operations, never across an await.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use narthex_common::{
    assignment::{AssignedTarget, Assignment},
    load::Load,
    report::{Cursor, Health, SCRAPES_COUNTED, TargetReport},
    target::TargetId,
    time::Timestamp,
};

use crate::leaving::PoolScrapes;

/// The shard's targets.
#[derive(Debug)]
pub struct TargetTable {
    /// Tells this process' cursors from those of the one before a restart, which had counted other changes.
    epoch: u64,
    targets: Mutex<Targets>,
    pool_scrapes: PoolScrapes,
}

/// How one scrape went.
#[derive(Clone, Debug, PartialEq)]
pub struct Scrape {
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it brought, or why it failed.
    pub outcome: Result<Option<Load>, String>,
}

#[derive(Debug, Default)]
struct Targets {
    /// The number of the newest change.
    newest: u64,
    by_id: BTreeMap<TargetId, Entry>,
    /// The newest change of every target: as many entries as there are targets.
    changes: BTreeMap<u64, TargetId>,
}

#[derive(Debug)]
struct Entry {
    report: TargetReport,
    /// The number of its newest change.
    changed: u64,
}

impl Default for TargetTable {
    fn default() -> Self {
        Self { epoch: rand::random(), targets: Mutex::default(), pool_scrapes: PoolScrapes::default() }
    }
}

impl TargetTable {
    /// Takes over a new assignment. What is known of targets that stay is kept; scrapes are counted anew only for a
    /// target that was not here. Until a target has been scraped, its load is the one the coordinator planned with.
    pub fn assign(&self, assignment: &Assignment) {
        let mut targets = self.lock();
        targets.retain(|id| assignment.targets.contains_key(&id));
        for assigned in assignment.targets.values() {
            targets.assign(assigned);
        }
    }

    /// Records a scrape of a target. One that has left meanwhile is not recorded.
    pub fn record(&self, id: TargetId, scrape: Scrape) {
        self.lock().change(id, |report| {
            report.last_scrape = Some(scrape.began);
            report.last_scrape_duration = scrape.took;
            report.scrapes = report.scrapes.saturating_add(1).min(SCRAPES_COUNTED);
            report.dropped = false;
            match scrape.outcome {
                Ok(load) => {
                    report.health = Health::Up;
                    report.last_error.clear();
                    report.load = load.or(report.load);
                }
                Err(error) => {
                    report.health = Health::Down;
                    report.last_error = error;
                }
            }
        });
    }

    /// Prometheus, which relabels it, does not scrape a target: that is all that will come of it.
    pub fn dropped(&self, id: TargetId) {
        self.lock().change(id, |report| {
            report.health = Health::Unknown;
            report.last_error.clear();
            report.load = Some(Load::ZERO);
            report.scrapes = SCRAPES_COUNTED;
            report.dropped = true;
        });
    }

    /// Prometheus, which relabels a target, does not tell which of its scrapes are of it: nobody is to wait for them.
    pub fn untold(&self, id: TargetId) {
        self.lock().change(id, |report| report.scrapes = SCRAPES_COUNTED);
    }

    /// Lets a target have at most this load; one whose load nobody knows has it.
    pub fn bound_load(&self, id: TargetId, most: Load) {
        self.lock().change(id, |report| {
            let known = report.load.unwrap_or(most);
            report.load = Some(Load { exposed: known.exposed.min(most.exposed), kept: known.kept.min(most.kept) });
        });
    }

    /// How often targets were scraped through leaving pools: also those that are no longer assigned.
    #[must_use]
    pub const fn pool_scrapes(&self) -> &PoolScrapes {
        &self.pool_scrapes
    }

    /// The targets that changed since a cursor (all, and `true`, when the cursor is none or of another process), sorted
    /// by id, and the cursor to ask with next. When and how long a target was scraped last is no change, but is told
    /// of those that did change.
    #[must_use]
    pub fn changed_since(&self, cursor: Option<&Cursor>) -> (Vec<TargetReport>, bool, Cursor) {
        let targets = self.lock();
        let next = Cursor(format!("{:016x}.{}", self.epoch, targets.newest));
        match cursor.and_then(|cursor| self.seen(cursor)).filter(|seen| *seen <= targets.newest) {
            Some(seen) => (targets.changed_after(seen), false, next),
            None => (targets.all(), true, next),
        }
    }

    /// All targets, sorted by id.
    #[must_use]
    pub fn all(&self) -> Vec<TargetReport> {
        self.lock().all()
    }

    /// The number of the change that a cursor of this process has seen.
    fn seen(&self, cursor: &Cursor) -> Option<u64> {
        let (epoch, seen) = cursor.0.split_once('.')?;
        (u64::from_str_radix(epoch, 16) == Ok(self.epoch)).then_some(())?;
        seen.parse().ok()
    }

    /// No step under the lock leaves the table half changed in a way that matters: a panicked writer is no reason to
    /// stop reporting.
    fn lock(&self) -> MutexGuard<'_, Targets> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Targets {
    fn retain(&mut self, stays: impl Fn(TargetId) -> bool) {
        let changes = &mut self.changes;
        self.by_id.retain(|id, entry| {
            let stays = stays(*id);
            if !stays {
                changes.remove(&entry.changed);
            }
            stays
        });
    }

    fn assign(&mut self, assigned: &AssignedTarget) {
        let id = assigned.target.id;
        if self.by_id.contains_key(&id) {
            return self.change(id, |report| {
                report.state = assigned.state;
                if report.scrapes == 0 {
                    report.load = assigned.load;
                }
            });
        }
        let report = TargetReport {
            id,
            state: assigned.state,
            health: Health::Unknown,
            last_error: String::new(),
            last_scrape: None,
            last_scrape_duration: Duration::ZERO,
            load: assigned.load,
            scrapes: 0,
            dropped: false,
        };
        self.newest += 1;
        self.changes.insert(self.newest, id);
        self.by_id.insert(id, Entry { report, changed: self.newest });
    }

    /// Changes a target's report, and numbers the change if it is one that a reader must hear of.
    fn change(&mut self, id: TargetId, change: impl FnOnce(&mut TargetReport)) {
        let Some(entry) = self.by_id.get_mut(&id) else { return };
        let before = entry.report.clone();
        change(&mut entry.report);
        if !says_the_same(&before, &entry.report) {
            self.newest += 1;
            self.changes.remove(&entry.changed);
            self.changes.insert(self.newest, id);
            entry.changed = self.newest;
        }
    }

    fn changed_after(&self, seen: u64) -> Vec<TargetReport> {
        let mut ids: Vec<TargetId> = self.changes.range(seen.saturating_add(1)..).map(|(_, id)| *id).collect();
        ids.sort_unstable();
        ids.iter().filter_map(|id| self.by_id.get(id)).map(|entry| entry.report.clone()).collect()
    }

    fn all(&self) -> Vec<TargetReport> {
        self.by_id.values().map(|entry| entry.report.clone()).collect()
    }
}

/// Whether a reader of `before` learns nothing from `after`. Times differ at every scrape and decide nothing: told each
/// time, they would make every report a whole one.
fn says_the_same(before: &TargetReport, after: &TargetReport) -> bool {
    let timeless = |report: &TargetReport| TargetReport {
        last_scrape: None,
        last_scrape_duration: Duration::ZERO,
        ..report.clone()
    };
    timeless(before) == timeless(after)
}

#[cfg(test)]
mod tests {
    use narthex_common::{
        assignment::{Revision, TargetState},
        load::Series,
        target::Target,
    };

    use super::*;

    fn assigned(instance: &str) -> AssignedTarget {
        let labels = [("instance", instance)].into_iter().collect();
        let target = Target::new("job".into(), labels, format!("http://{instance}/metrics"));
        AssignedTarget { target, state: TargetState::Normal, since: None, load: None }
    }

    fn assignment(targets: impl IntoIterator<Item = AssignedTarget>) -> Assignment {
        Assignment {
            revision: Revision(1),
            targets: targets.into_iter().map(|t| (t.target.id, t)).collect(),
            ..Assignment::default()
        }
    }

    fn load(series: u64) -> Load {
        Load { exposed: Series(series), kept: Series(series) }
    }

    fn good(at: i64, series: u64) -> Scrape {
        Scrape { began: Timestamp(at), took: Duration::from_millis(5), outcome: Ok(Some(load(series))) }
    }

    fn failed(at: i64, error: &str) -> Scrape {
        Scrape { began: Timestamp(at), took: Duration::from_millis(5), outcome: Err(error.into()) }
    }

    #[test]
    fn a_reader_hears_of_everything_once_and_then_only_of_what_changed() {
        let (a, b) = (assigned("a"), assigned("b"));
        let table = TargetTable::default();
        table.assign(&assignment([a.clone(), b.clone()]));
        let (all, complete, cursor) = table.changed_since(None);
        assert_eq!((all.len(), complete), (2, true));
        assert_eq!(table.changed_since(Some(&cursor)), (vec![], false, cursor.clone()));

        table.record(b.target.id, good(1_000, 7));
        let (changed, complete, next) = table.changed_since(Some(&cursor));
        assert!(!complete);
        let [report] = changed.as_slice() else { panic!("{changed:?}") };
        assert_eq!((report.id, report.health, report.load), (b.target.id, Health::Up, Some(load(7))));
        assert_eq!((report.scrapes, report.last_scrape), (1, Some(Timestamp(1_000))));
        assert!(table.changed_since(Some(&next)).0.is_empty());
        assert_eq!(table.changed_since(Some(&cursor)).0.len(), 1, "an old cursor still tells everything since it");
    }

    #[test]
    fn a_target_that_runs_along_is_not_reported_again() {
        let a = assigned("a");
        let table = TargetTable::default();
        table.assign(&assignment([a.clone()]));
        for at in 0..i64::from(SCRAPES_COUNTED) {
            table.record(a.target.id, good(at, 7));
        }
        let (_, _, settled) = table.changed_since(None);
        table.record(a.target.id, good(50, 7));
        assert!(table.changed_since(Some(&settled)).0.is_empty());
        assert_eq!(table.all()[0].last_scrape, Some(Timestamp(50)), "though the table knows when it was scraped");
        table.record(a.target.id, good(60, 8));
        assert_eq!(table.changed_since(Some(&settled)).0.len(), 1);
    }

    #[test]
    fn a_failed_scrape_counts_and_keeps_the_load_that_was_known() {
        let a = assigned("a");
        let table = TargetTable::default();
        table.assign(&assignment([a.clone()]));
        table.record(a.target.id, good(1, 7));
        table.record(a.target.id, failed(2, "connection refused"));
        let report = &table.all()[0];
        assert_eq!((report.health, report.last_error.as_str()), (Health::Down, "connection refused"));
        assert_eq!((report.load, report.scrapes), (Some(load(7)), 2));
        table.record(a.target.id, good(3, 7));
        assert_eq!((table.all()[0].health, table.all()[0].last_error.as_str()), (Health::Up, ""));
    }

    #[test]
    fn scrapes_go_on_counting_when_a_target_only_changes_its_state() {
        let a = assigned("a");
        let table = TargetTable::default();
        table.assign(&assignment([a.clone()]));
        table.record(a.target.id, good(1, 7));
        let (_, _, cursor) = table.changed_since(None);
        table.assign(&assignment([AssignedTarget { state: TargetState::InTransfer, ..a }]));
        let (changed, _, _) = table.changed_since(Some(&cursor));
        assert_eq!((changed[0].state, changed[0].scrapes), (TargetState::InTransfer, 1));
    }

    #[test]
    fn a_target_that_left_is_forgotten_and_counts_anew_when_it_comes_back() {
        let (a, b) = (assigned("a"), assigned("b"));
        let table = TargetTable::default();
        table.assign(&assignment([a.clone(), b.clone()]));
        table.record(a.target.id, good(1, 7));
        table.assign(&assignment([b.clone()]));
        table.record(a.target.id, good(2, 7));
        assert_eq!(table.all().iter().map(|t| t.id).collect::<Vec<_>>(), [b.target.id]);
        table.assign(&assignment([a.clone(), b]));
        let back = table.all().into_iter().find(|t| t.id == a.target.id).unwrap();
        assert_eq!((back.scrapes, back.health), (0, Health::Unknown));
        assert_eq!(table.lock().changes.len(), 2, "one change per target is remembered, no more");
    }

    #[test]
    fn a_target_not_scraped_yet_has_the_load_it_was_planned_with() {
        let table = TargetTable::default();
        let planned = AssignedTarget { load: Some(load(9)), ..assigned("a") };
        table.assign(&assignment([planned.clone()]));
        assert_eq!((table.all()[0].load, table.all()[0].health), (Some(load(9)), Health::Unknown));
        table.record(planned.target.id, good(1, 7));
        table.assign(&assignment([planned]));
        assert_eq!(table.all()[0].load, Some(load(7)), "what was measured wins over what was planned");
    }

    #[test]
    fn a_target_that_prometheus_drops_weighs_nothing_and_keeps_nobody_waiting() {
        let a = AssignedTarget { load: Some(load(9)), ..assigned("a") };
        let table = TargetTable::default();
        table.assign(&assignment([a.clone()]));
        table.dropped(a.target.id);
        let (reports, _, cursor) = table.changed_since(None);
        let TargetReport { health, load, scrapes, dropped, .. } = &reports[0];
        assert_eq!((*health, *load, *scrapes, *dropped), (Health::Unknown, Some(Load::ZERO), SCRAPES_COUNTED, true));
        table.dropped(a.target.id);
        assert!(table.changed_since(Some(&cursor)).0.is_empty(), "it is said once");
        table.record(a.target.id, good(1, 7));
        assert!(!table.all()[0].dropped, "it is scraped after all");
    }

    #[test]
    fn a_cursor_of_another_process_or_nonsense_gets_everything() {
        let (table, restarted) = (TargetTable::default(), TargetTable::default());
        table.assign(&assignment([assigned("a")]));
        let ahead = Cursor(format!("{:016x}.{}", table.epoch, 99));
        for cursor in [restarted.changed_since(None).2, Cursor("x".into()), Cursor("1.x".into()), ahead] {
            let (all, complete, _) = table.changed_since(Some(&cursor));
            assert_eq!((all.len(), complete), (1, true), "{cursor:?}");
        }
    }
}
