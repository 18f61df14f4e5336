//! The self-check: whether Prometheus scrapes what is assigned. It asks now and then, and tells; it changes nothing.
//!
//! Prometheus follows a change of its targets within some tens of seconds. What differs in two checks in a row is no
//! such delay: a target file that somebody else changed or that could not be watched, a pool that Prometheus could not
//! make, labels that it takes for others.

mod compare;
mod metrics;

use std::time::Duration;

use narthex_common::report::TargetMismatch;
use narthex_runtime::{clock, shutdown::Shutdown};
use tokio::{sync::watch, time::Instant};

pub use self::{
    compare::{Differences, ScrapePools, ScrapedTarget, compare},
    metrics::SelfCheckMetrics,
};
use crate::{
    prometheus::{HttpPrometheus, PrometheusSeen},
    shard::ShardState,
};

/// For how many times as long as Prometheus took to answer it is left alone: the check costs it no more than a
/// twentieth of a core.
const REST: u32 = 20;

/// Compares what Prometheus scrapes with what is assigned.
#[derive(Debug)]
pub struct SelfCheck {
    /// Who is asked.
    pub prometheus: HttpPrometheus,
    /// What is assigned.
    pub shard: watch::Receiver<ShardState>,
    /// Whether Prometheus can be asked.
    pub seen: watch::Receiver<PrometheusSeen>,
    /// Who is told.
    pub metrics: SelfCheckMetrics,
    /// Who else is told.
    pub found: watch::Sender<Option<TargetMismatch>>,
}

impl SelfCheck {
    /// Checks again and again until the process ends; with an interval of zero, never.
    pub async fn run(self, interval: Duration, shutdown: Shutdown) {
        if interval.is_zero() {
            return;
        }
        tokio::select! {
            () = self.check_every(interval) => {}
            () = shutdown.wait() => {}
        }
    }

    async fn check_every(&self, interval: Duration) {
        let mut before = Differences::default();
        let mut is_failing = false;
        let mut pause = interval;
        loop {
            tokio::time::sleep(pause).await;
            pause = interval;
            if !self.seen.borrow().report.ready {
                // When it is back, it reads its targets anew.
                before = Differences::default();
                continue;
            }
            let started = Instant::now();
            match self.differences().await {
                Ok(now) => {
                    self.tell(&now.lasting_since(&before));
                    before = now;
                    is_failing = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        let error = format!("{error:#}");
                        tracing::warn!(%error, "the targets of Prometheus cannot be compared with those assigned");
                    }
                }
            }
            pause = interval.max(started.elapsed() * REST);
        }
    }

    async fn differences(&self) -> anyhow::Result<Differences> {
        let active = self.prometheus.all_active_targets().await?;
        let shard = self.shard.borrow().clone();
        let comparing = move || compare(&shard.assignment, &shard.leaving, &shard.pools, active);
        Ok(tokio::task::spawn_blocking(comparing).await?)
    }

    fn tell(&self, differences: &Differences) {
        let count = |targets: &std::collections::BTreeMap<ScrapedTarget, usize>| targets.values().sum();
        let (missing, unexpected) = (count(&differences.missing), count(&differences.unexpected));
        self.metrics.checked(missing, unexpected, clock::now());
        let now = (missing + unexpected > 0).then(|| TargetMismatch {
            missing,
            unexpected,
            examples: differences.examples(),
        });
        let was_there = self.found.borrow().is_some();
        match &now {
            Some(mismatch) if !was_there => {
                let examples = mismatch.examples.join("; ");
                tracing::warn!(missing, unexpected, %examples, "Prometheus scrapes other targets than those assigned");
            }
            None if was_there => tracing::info!("Prometheus scrapes the targets assigned again"),
            Some(_) | None => {}
        }
        self.found.send_replace(now);
    }
}
