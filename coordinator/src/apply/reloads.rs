//! Reloads: which shards run another config, and when each is told to read it again.
//!
//! Mostly it is the same file read at another time, and telling a shard once is enough. A shard that has really another
//! file, or whose Prometheus refuses this one, is told again with growing pauses: each time it reloads its Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use narthex_common::{fingerprint::Fingerprint, time::Timestamp};
use narthex_planner::world::Seen;
use url::Url;

use crate::observe::{Observed, ObservedShard};

/// The pause after the first time; it doubles after every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause: what a person who mends a file on a shard's machine may have to wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// When shards were told to reload.
#[derive(Debug, Default)]
pub struct Reloads {
    config: Fingerprint,
    told: BTreeMap<Url, Told>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    at: Timestamp,
    pause: Duration,
}

impl Reloads {
    /// The shards to tell now, which counts as having told them.
    pub fn due(&mut self, observed: &Observed, config: Fingerprint, now: Timestamp) -> BTreeSet<Url> {
        if self.config != config {
            *self = Self { config, told: BTreeMap::new() };
        }
        let shards = observed.replicas.iter().flat_map(|replica| &replica.shards);
        let others: BTreeSet<Url> =
            shards.filter(|shard| runs_another(shard, config)).map(|shard| shard.address.url.clone()).collect();
        self.told.retain(|url, _| others.contains(url));
        others.into_iter().filter(|url| self.is_due(url, now)).collect()
    }

    fn is_due(&mut self, url: &Url, now: Timestamp) -> bool {
        let pause = match self.told.get(url) {
            None => FIRST_PAUSE,
            Some(told) if now.since(told.at) >= told.pause => (told.pause * 2).min(LONGEST_PAUSE),
            Some(_) => return false,
        };
        self.told.insert(url.clone(), Told { at: now, pause });
        true
    }
}

fn runs_another(shard: &ObservedShard, config: Fingerprint) -> bool {
    match &shard.seen {
        Seen::Fresh(state) => state.report.config != config,
        Seen::Never | Seen::Stale { .. } => false,
    }
}
