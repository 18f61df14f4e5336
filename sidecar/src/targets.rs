//! What the shard knows of each of its targets: the one place that the proxy writes and the report reads.
//!
//! Flow: the assignment says which targets there are ([`TargetTable::assign`]); the proxy finds the target a request is
//! for and records how the scrape went ([`TargetTable::record`]); the report reads what changed since a cursor
//! ([`TargetTable::changed_since`]).

use std::time::Duration;

use narthex_common::{
    assignment::Assignment,
    load::Load,
    report::{Cursor, TargetReport},
    target::TargetId,
    time::Timestamp,
};

/// The shard's targets.
#[derive(Debug, Default)]
pub struct TargetTable(());

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

impl TargetTable {
    /// Takes over a new assignment. What is known of targets that stay is kept; scrapes are counted anew only for a
    /// target that was not here.
    pub fn assign(&self, assignment: &Assignment) {
        let _ = assignment;
        todo!()
    }

    /// Records a scrape of a target.
    pub fn record(&self, id: TargetId, scrape: Scrape) {
        let _ = (id, scrape);
        todo!()
    }

    /// The targets that changed since a cursor (all, and `true`, when the cursor is none or of another process), and
    /// the cursor to ask with next.
    #[must_use]
    pub fn changed_since(&self, cursor: Option<&Cursor>) -> (Vec<TargetReport>, bool, Cursor) {
        let _ = cursor;
        todo!()
    }
}
