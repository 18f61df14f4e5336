//! The report: what this shard does, as the coordinator asks for it every round.

use std::sync::Arc;

use narthex_common::report::{Cursor, Report, TargetMismatch};
use tokio::sync::watch;

use crate::{prometheus::PrometheusSeen, shard::ShardState, targets::TargetTable};

/// Everything a report is made of.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// What is in force.
    pub shard: watch::Receiver<ShardState>,
    /// What was seen of Prometheus.
    pub prometheus: watch::Receiver<PrometheusSeen>,
    /// What the self-check found.
    pub self_check: watch::Receiver<Option<TargetMismatch>>,
    /// How the targets fare.
    pub table: Arc<TargetTable>,
}

impl Reporter {
    /// The report now; since a cursor, with only the targets that changed.
    #[must_use]
    pub fn report(&self, since: Option<&Cursor>) -> Report {
        // The targets before the revision: should an assignment come in between, its targets follow with the next
        // report. The other way round they would be there before the revision that explains them.
        let (targets, complete, cursor) = self.table.changed_since(since);
        let shard = self.shard.borrow().clone();
        Report {
            cursor,
            complete,
            revision: shard.assignment.revision,
            config: shard.config,
            config_from: shard.config_from,
            config_error: shard.config_error,
            idle_since: shard.idle_since,
            prometheus: self.prometheus.borrow().report.clone(),
            target_mismatch: self.self_check.borrow().clone(),
            targets,
        }
    }
}
