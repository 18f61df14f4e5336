//! Everything one round saw and decided.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use narthex_common::{
    fingerprint::Fingerprint,
    report::{Health, TargetReport},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{Plan, Policy, World, world::KnownLoad};

use super::{History, live::LiveReports};
use crate::{discover::Discovered, observe::Observed, probe::Probed, round::Rules};

/// What one round saw and decided. Published whole; whoever reads it never sees half a round.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When the round began.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// How long the planner took, of that.
    pub planning: Duration,
    /// The fingerprint of the config it ran with.
    pub config: Fingerprint,
    /// What discovery knew.
    pub discovered: Arc<Discovered>,
    /// What probes knew.
    pub probed: Arc<Probed>,
    /// What the shards said.
    pub observed: Arc<Observed>,
    /// What the planner was asked.
    pub world: World,
    /// The rules it was to keep.
    pub policy: Policy,
    /// What they were made of: under another config they are others.
    pub rules: Rules,
    /// What the planner answered.
    pub plan: Plan,
    /// What was decided about targets, this round included.
    pub history: History,
    /// What could not be done, in words for people.
    pub errors: Vec<String>,
}

/// What is known of one target over all shards.
#[derive(Clone, Debug, Default)]
pub(super) struct Scraped<'a> {
    /// The shards that scrape it, by name.
    pub(super) shards: Vec<&'a str>,
    /// The report that counts: the owner's, or the only one.
    pub(super) report: Option<&'a TargetReport>,
}

impl Snapshot {
    /// Where every target is scraped, and how that goes: as the shards say now, or else as the round saw it.
    pub(super) fn scraped<'a>(&'a self, live: &'a LiveReports) -> BTreeMap<TargetId, Scraped<'a>> {
        let mut scraped: BTreeMap<TargetId, Scraped<'a>> = BTreeMap::new();
        for shard in self.observed.replicas.iter().flat_map(|replica| &replica.shards) {
            let Some(state) = shard.seen.last() else { continue };
            let live = live.get(&shard.address.url);
            for id in state.assignment.targets.keys() {
                let entry = scraped.entry(*id).or_default();
                entry.shards.push(&shard.address.id.0);
                if let Some(report) = live.and_then(|live| live.get(id)).or_else(|| state.targets.get(id))
                    && entry.report.is_none_or(|known| counts_more(report) > counts_more(known))
                {
                    entry.report = Some(report);
                }
            }
        }
        scraped
    }

    /// The probed load of a target, when a probe has measured it.
    pub(super) fn probed_load(&self, id: TargetId) -> Option<narthex_common::load::Load> {
        match self.probed.get(&id) {
            Some(KnownLoad::Measured(load)) => Some(*load),
            Some(KnownLoad::Unknown | KnownLoad::ProbeFailed { .. }) | None => None,
        }
    }
}

/// Which of two shards' reports of one target is the better one: the one that has scraped it, the later one.
fn counts_more(report: &TargetReport) -> (bool, Option<Timestamp>) {
    (report.health != Health::Unknown, report.last_scrape)
}
