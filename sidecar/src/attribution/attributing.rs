//! Asking Prometheus what became of the targets that it relabels, as often as something is not known yet.

use std::{collections::BTreeMap, time::Duration};

use narthex_common::{job::JobName, target::TargetId};
use narthex_runtime::shutdown::Shutdown;
use tokio::{sync::watch, time::Instant};

use super::{Attribution, Listed};
use crate::{
    prometheus::{HttpPrometheus, PrometheusSeen},
    shard::{ShardHandle, ShardState},
};

/// How often Prometheus is asked while something is not known: it takes up a changed target file within some five
/// seconds.
const LOOK: Duration = Duration::from_secs(2);

/// How often it is asked when all is known.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How long Prometheus may take to read a target file that changed. What it does not list by then it does not scrape.
const READING: Duration = Duration::from_secs(30);

/// For how many times as long as Prometheus took to answer it is left alone: asking costs it no more than a twentieth of
/// a core.
const REST: u32 = 20;

/// Learns what becomes of the targets that Prometheus relabels.
#[derive(Debug)]
pub struct Attributing {
    /// Who is asked.
    pub prometheus: HttpPrometheus,
    /// What is assigned, and what is known.
    pub state: watch::Receiver<ShardState>,
    /// Whether Prometheus can be asked.
    pub seen: watch::Receiver<PrometheusSeen>,
    /// Who is told.
    pub shard: ShardHandle,
}

impl Attributing {
    /// Asks until the process ends.
    pub async fn run(mut self, shutdown: Shutdown) {
        tokio::select! {
            () = self.learn_on() => {}
            () = shutdown.wait() => {}
        }
    }

    async fn learn_on(&mut self) {
        // Since when targets are wanted of which nothing is known.
        let mut waiting: BTreeMap<TargetId, Instant> = BTreeMap::new();
        let mut is_failing = false;
        loop {
            let state = self.state.borrow_and_update().clone();
            let wanted = wanted(&state);
            if wanted.is_empty() {
                waiting.clear();
                if self.state.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if !self.seen.borrow().report.ready {
                // When it is back, it reads its targets anew.
                waiting.clear();
                tokio::time::sleep(LOOK).await;
                continue;
            }
            let started = Instant::now();
            let mut all_known = false;
            match self.listed(&state).await {
                Ok(listed) => {
                    is_failing = false;
                    let is_overdue =
                        |id| waiting.get(&id).is_some_and(|since| started.duration_since(*since) >= READING);
                    let learned = state.attribution.learn(&wanted, &listed, is_overdue);
                    waiting.retain(|id, _| wanted.contains_key(id) && !learned.knows(*id));
                    for id in wanted.keys().filter(|id| !learned.knows(**id)) {
                        waiting.entry(*id).or_insert(started);
                    }
                    all_known = waiting.is_empty();
                    if learned != *state.attribution && self.tell(&state, learned).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        let error = format!("{error:#}");
                        tracing::warn!(
                            %error,
                            "Prometheus does not say what it makes of the targets that it relabels; their loads are not \
                             known"
                        );
                    }
                }
            }
            let rest = started.elapsed() * REST;
            tokio::time::sleep(rest.max(LOOK)).await;
            if all_known {
                // What is told meanwhile is looked at once more: it may be the very attribution.
                drop(tokio::time::timeout(LOOK_AGAIN, self.state.changed()).await);
            }
        }
    }

    async fn tell(&self, state: &ShardState, learned: Attribution) -> Result<(), crate::shard::Ending> {
        tracing::info!(
            targets = learned.len(),
            dropped = learned.dropped().count(),
            "learned what Prometheus makes of the targets that it relabels"
        );
        self.shard.attribute(state.config, learned).await
    }

    async fn listed(&self, state: &ShardState) -> anyhow::Result<Listed> {
        let mut listed = Listed::default();
        for (pool, job) in state.pools.relabeled_here() {
            listed.add(pool, job, self.prometheus.relabeled_targets(pool).await?);
        }
        Ok(listed)
    }
}

/// The targets whose fate matters, with the job of each.
fn wanted(state: &ShardState) -> BTreeMap<TargetId, JobName> {
    let all = state.leaving.beside(&state.assignment);
    let relabeled = all.targets.iter().filter(|(_, assigned)| {
        assigned.target.is_relabeled_by_shard() && state.pools.is_relabeled_here(&assigned.target.job)
    });
    relabeled.map(|(id, assigned)| (*id, assigned.target.job.clone())).collect()
}
