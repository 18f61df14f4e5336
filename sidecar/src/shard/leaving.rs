//! Leaving pools at the rim: what [`Leaving`](crate::leaving::Leaving) decides is written, and Prometheus told.
//!
//! Prometheus is asked and told beside everything else: an assignment never waits for it.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use narthex_common::time::Timestamp;
use narthex_runtime::clock;
use tokio::task::JoinHandle;

use super::{Shard, config_change::modified};
use crate::{
    assignment::{self, Saved},
    leaving::{GenerationId, Leaver},
    prometheus::{PrometheusControl, ReloadFailed},
    render::{self, LeavingPools as Pools, job::pool_name},
};

/// How long no pools are opened after Prometheus has refused to read its config: each try may cost it much.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);

/// How long the end of a generation's loops is waited for: Prometheus reads a target file within seconds, and a scrape
/// under way ends within its timeout. After that its pools are removed all the same.
const LONGEST_END: Duration = Duration::from_secs(90);

/// How often Prometheus is told to open pools at most: moves that begin in several rounds share a reload, and hardly
/// any of them settles sooner.
const BETWEEN_RELOADS: Duration = Duration::from_secs(10);

/// How often Prometheus is asked whether they have ended: the pools must be gone before an interval is over.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What the shard remembers of leaving pools while it runs.
#[derive(Debug, Default)]
pub(super) struct LeavingPools {
    /// The pools in the generated config on disk.
    written: Pools,
    /// What Prometheus is being asked or told.
    under_way: Option<JoinHandle<Outcome>>,
    /// When it was last told to read its config because of leaving pools.
    reloaded: Option<Timestamp>,
    /// No pools are opened before.
    refused_until: Option<Timestamp>,
    /// The generation that is about to be closed, and when its loops were last seen.
    ending: Option<(GenerationId, Timestamp)>,
    /// The target files could not be written as they should be.
    files_behind: bool,
}

/// What Prometheus answered.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was told to read the config with these pools, which was written then.
    Reloaded { pools: Pools, written: Option<Timestamp>, closed: Closed, outcome: Result<(), ReloadFailed> },
    /// It was asked for the loops of a generation.
    Loops { generation: GenerationId, asked: Timestamp, active: anyhow::Result<usize> },
    /// The task that asked has panicked.
    Lost,
}

/// A generation whose pools a reload removes.
#[derive(Debug, Default)]
pub(super) struct Closed {
    targets: usize,
    /// When the first of its loops writes stale markers, if its pool is still there.
    deadline: Option<Timestamp>,
}

impl LeavingPools {
    pub(super) fn replace_written(&mut self, pools: Pools) -> Pools {
        std::mem::replace(&mut self.written, pools)
    }

    /// What Prometheus answers next; never, when it is not asked anything.
    pub(super) async fn outcome(&mut self) -> Outcome {
        let Some(task) = &mut self.under_way else { return std::future::pending().await };
        let outcome = task.await.unwrap_or(Outcome::Lost);
        self.under_way = None;
        outcome
    }

    /// Whether Prometheus is being asked or told something.
    pub(super) const fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    fn can_reload(&self, now: Timestamp) -> bool {
        self.refused_until.is_none_or(|until| now >= until)
    }
}

impl<P: PrometheusControl> Shard<P> {
    /// Takes all that is on its way out as far as it has come.
    pub(super) fn look_after_leaving(&mut self) {
        if self.saved.leaving.is_empty() && self.leaving.written.is_empty() {
            return;
        }
        let now = clock::now();
        let can_reload = self.leaving.can_reload(now);
        let before = self.saved.leaving.clone();
        let leaving = &mut self.saved.leaving;
        if can_reload {
            leaving.admit(now);
        }
        // What is not scraped leaves no trace, and what nobody can see is not waited for.
        let scrapes = |target, generation| match self.attribution.is_never_seen(target) {
            true => u32::MAX,
            false => self.told.table.pool_scrapes().of(target, generation),
        };
        leaving.step(scrapes, now);
        let given_up = leaving.give_up(can_reload, now);
        if *leaving != before || self.leaving.files_behind {
            if let Err(error) = assignment::save(&self.setup.assignment, &self.saved) {
                tracing::warn!(%error, "keep how far targets have left; they go on as before");
                self.saved.leaving = before;
                return;
            }
            self.leaves_plainly(&given_up, now);
            self.write_leaving();
        }
        if self.leaving.under_way.is_none() && !self.is_lost {
            self.tell_prometheus(can_reload, now);
        }
    }

    fn leaves_plainly(&mut self, given_up: &[Leaver], now: Timestamp) {
        if given_up.is_empty() {
            return;
        }
        self.departed.add(given_up.iter().map(|leaver| leaver.assigned.clone()), now);
        self.told.metrics.left_plainly(given_up.len());
        tracing::warn!(
            targets = given_up.len(),
            "targets that another shard has taken over leave without a leaving pool: their series end here with stale \
             markers, which a global view shows as a gap"
        );
    }

    /// Puts every target where it is to be, and tells who must know.
    fn write_leaving(&mut self) {
        let written = self.write_target_files();
        self.leaving.files_behind = written.is_err();
        if let Err(error) = written {
            tracing::warn!(%error, "write target files of leaving targets; trying again");
        }
        let leaving = self.saved.leaving.leavers().map(|(_, id, _)| *id).collect();
        self.told.table.pool_scrapes().retain(&leaving);
        self.tell();
    }

    /// Has Prometheus open and close pools, one thing at a time.
    fn tell_prometheus(&mut self, can_reload: bool, now: Timestamp) {
        // First what must be gone before its loops write stale markers.
        let emptied = self.saved.leaving.generations().iter().find(|(_, generation)| generation.emptied().is_some());
        let Some((&id, generation)) = emptied else {
            let is_due = self.leaving.reloaded.is_none_or(|last| now.since(last) >= BETWEEN_RELOADS);
            if can_reload && is_due && self.saved.leaving.pools() != self.leaving.written {
                self.reload_pools(Closed::default());
            }
            return;
        };
        let last_seen = match self.leaving.ending {
            Some((ending, last_seen)) if ending == id => last_seen,
            Some(_) | None => now,
        };
        self.leaving.ending = Some((id, last_seen));
        let pools: Vec<_> = generation.jobs().map(|job| pool_name(job.as_str(), id, &self.ids)).collect();
        let prometheus = self.prometheus.clone();
        self.leaving.under_way = Some(tokio::spawn(async move {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            let asked = clock::now();
            let active = async {
                let mut active = 0;
                for pool in &pools {
                    active += prometheus.active_targets(pool).await?;
                }
                anyhow::Ok(active)
            };
            Outcome::Loops { generation: id, asked, active: active.await }
        }));
    }

    /// Writes the config with the pools as they are to be, and has Prometheus read it.
    fn reload_pools(&mut self, closed: Closed) {
        let generated = self.render_with_pools();
        let before = std::mem::replace(&mut self.generated, generated);
        // Files first: a directory that is missing could not be watched.
        if let Err(error) = self.write_target_files().and_then(|()| self.write_generated()) {
            tracing::warn!(%error, "write the generated config with leaving pools; targets leave without them");
            self.generated = before;
            self.pools_refused(clock::now());
            return;
        }
        self.leaving.reloaded = Some(clock::now());
        let pools = self.leaving.written.clone();
        let written = modified(&self.setup.output).ok();
        let prometheus = self.prometheus.clone();
        self.leaving.under_way = Some(tokio::spawn(async move {
            Outcome::Reloaded { pools, written, closed, outcome: prometheus.reload().await }
        }));
    }

    /// The generated config, with the pools as they are to be.
    pub(super) fn render_with_pools(&mut self) -> String {
        self.leaving.written = self.saved.leaving.pools();
        render::config(&self.config, &self.ids, &self.leaving.written, &self.render_settings())
    }

    pub(super) fn target_files(&self) -> BTreeMap<PathBuf, String> {
        self.target_files_of(&self.saved)
    }

    pub(super) fn target_files_of(&self, saved: &Saved) -> BTreeMap<PathBuf, String> {
        render::target_files(&saved.assignment, &saved.leaving, &self.ids, self.layout(), self.setup.kind)
    }

    /// Waits for what Prometheus is being asked or told.
    pub(super) async fn hear_out(&mut self) {
        while self.leaving.under_way.is_some() {
            let outcome = self.leaving.outcome().await;
            self.heard(outcome);
        }
    }

    /// Prometheus has answered.
    pub(super) fn heard(&mut self, outcome: Outcome) {
        let now = clock::now();
        match outcome {
            Outcome::Reloaded { pools, written, closed, outcome } => {
                self.reloaded(&pools, written, &closed, outcome, now)
            }
            Outcome::Loops { generation, asked, active } => self.loops(generation, asked, active, now),
            Outcome::Lost => tracing::error!("asking Prometheus about leaving pools has ended abnormally"),
        }
    }

    fn reloaded(
        &mut self,
        pools: &Pools,
        written: Option<Timestamp>,
        closed: &Closed,
        outcome: Result<(), ReloadFailed>,
        now: Timestamp,
    ) {
        let is_in_time = closed.deadline.is_none_or(|deadline| now < deadline);
        match outcome {
            Ok(()) => {
                self.answered = written;
                self.count_closed(closed, is_in_time);
                tracing::info!(
                    generations = pools.len(),
                    left = closed.targets,
                    "Prometheus has read its leaving pools"
                );
                self.has_read();
                self.tell();
            }
            Err(ReloadFailed::Unreachable(error)) => {
                // One that is away has no loops that could write markers; of one that hangs nobody knows. It reads the
                // config when it starts.
                self.count_closed(closed, is_in_time);
                tracing::warn!(%error, "Prometheus is not there to read its leaving pools; it will find them");
            }
            Err(ReloadFailed::Refused(error) | ReloadFailed::Forbidden(error)) => {
                self.answered = written;
                self.count_closed(closed, false);
                tracing::error!(
                    %error, "Prometheus does not read its leaving pools; until it does, targets leave without them"
                );
                self.pools_refused(now);
            }
        }
    }

    fn count_closed(&self, closed: &Closed, is_without_trace: bool) {
        if is_without_trace {
            self.told.metrics.left_without_a_trace(closed.targets);
        } else if closed.targets > 0 {
            self.told.metrics.left_plainly(closed.targets);
            tracing::warn!(
                targets = closed.targets,
                "a leaving pool was removed too late; its targets may show stale markers"
            );
        }
    }

    /// Prometheus goes on with the pools that it has: so does the config on disk.
    fn pools_refused(&mut self, now: Timestamp) {
        self.leaving.refused_until = Some(now.after(AFTER_REFUSAL));
        self.saved.leaving.refused();
        self.generated = self.render_with_pools();
        if let Err(error) = self.write_generated() {
            tracing::warn!(%error, "write the generated config without leaving pools");
        }
        self.answered = modified(&self.setup.output).ok();
        self.leaving.files_behind = true;
    }

    /// The pools that are written are there.
    pub(super) fn has_read_pools(&mut self) {
        self.saved.leaving.loaded(&self.leaving.written);
    }

    fn loops(&mut self, id: GenerationId, asked: Timestamp, active: anyhow::Result<usize>, now: Timestamp) {
        let generation = self.saved.leaving.generations().get(&id);
        let Some((emptied, time_to_close)) = generation.and_then(|g| Some((g.emptied()?, g.time_to_close()))) else {
            return;
        };
        let is_ended = match active {
            Ok(0) => true,
            Ok(_) => {
                self.leaving.ending = Some((id, asked));
                false
            }
            Err(error) => {
                tracing::debug!(%error, "ask Prometheus for the loops of a leaving pool; asking again");
                false
            }
        };
        if !is_ended && now.since(emptied) < LONGEST_END {
            return;
        }
        let last_seen = self.leaving.ending.take().map_or(asked, |(_, last_seen)| last_seen);
        let targets = self.saved.leaving.close(id);
        self.departed.add(targets.iter().map(|leaver| leaver.assigned.clone()), now);
        let closed = Closed { targets: targets.len(), deadline: Some(last_seen.after(time_to_close)) };
        if let Err(error) = assignment::save(&self.setup.assignment, &self.saved) {
            tracing::warn!(%error, "keep that targets have left; a restart will close their pools once more");
        }
        self.reload_pools(closed);
        self.tell();
    }
}
