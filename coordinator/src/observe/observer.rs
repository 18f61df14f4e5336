//! What was seen of every shard, round after round.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use futures_util::stream::{self, StreamExt as _};
use narthex_common::{
    report::Report,
    shard::{Ordinal, ReplicaId},
    time::Timestamp,
};
use narthex_planner::world::Seen;
use url::Url;

use super::{Observed, ObservedReplica, ObservedShard, ShardAssignment, ShardClient, ShardState};
use crate::{
    apply::Applied,
    provider::{Replica, ShardAddress},
};

/// Shards asked at once: a round over a thousand shards of which none answers takes eight time limits, and the
/// coordinator holds no more than this many reports in flight.
const ASKED_AT_ONCE: usize = 128;

/// Asks shards and remembers what they said.
///
/// Flow: a report since the cursor of the last one is merged into what is known; the whole assignment is fetched only
/// when the shard reports a revision that is not the known one.
///
/// Guarantees: a shard that does not answer keeps what it said last, as [`Seen::Stale`], with what it has acknowledged
/// since: whoever got a target and fell silent has it, and nobody else gets it because it could not say so any more. Nothing is merged from a round
/// that failed half way, so that the next one asks for the same changes again.
pub struct Observer {
    client: Arc<dyn ShardClient>,
    timeout: Duration,
    known: BTreeMap<ShardKey, Known>,
    /// The shards that the first round found, and when that was; none before it.
    at_start: Option<(Timestamp, BTreeSet<ShardKey>)>,
}

/// A shard that moved to another address is another shard until it has answered there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ShardKey {
    replica: ReplicaId,
    ordinal: Ordinal,
    url: Url,
}

/// What is known of a shard.
#[derive(Clone, Debug)]
struct Known {
    /// When it answered last.
    at: Timestamp,
    state: Arc<ShardState>,
    /// An assignment that it has taken since.
    expected: Option<Arc<ShardAssignment>>,
}

impl Observer {
    /// An observer that has seen nothing yet and gives each shard `timeout` to answer.
    #[must_use]
    pub fn new(client: Arc<dyn ShardClient>, timeout: Duration) -> Self {
        Self { client, timeout, known: BTreeMap::new(), at_start: None }
    }

    /// Asks all shards at once. Without any replica, nothing is asked and nothing forgotten.
    pub async fn observe(&mut self, replicas: Vec<Replica>, now: Timestamp) -> Observed {
        if replicas.is_empty() {
            // Not even a replica without shards: the provider could not say. What is known is kept until it can.
            return Observed::default();
        }
        let keys = || replicas.iter().flat_map(|r| r.shards.iter().map(|s| ShardKey::new(&r.id, s)));
        let listed: BTreeSet<ShardKey> = keys().collect();
        self.known.retain(|key, _| listed.contains(key));
        let (start, at_start) = self.at_start.get_or_insert_with(|| (now, listed.clone()));
        at_start.retain(|key| listed.contains(key));
        let start = *start;

        let mut answers = self.ask_all(&replicas).await.into_iter();
        let mut observed = Observed::default();
        for replica in replicas {
            let mut shards = Vec::with_capacity(replica.shards.len());
            for (address, answer) in replica.shards.into_iter().zip(&mut answers) {
                let key = ShardKey::new(&replica.id, &address);
                let found_at_start =
                    self.at_start.as_ref().is_some_and(|(_, shards)| shards.contains(&key)).then_some(start);
                let (seen, error) = self.remember(key, answer, now);
                shards.push(ObservedShard { address, seen, found_at_start, error });
            }
            let Replica { id, scalable, wanted_shards, .. } = replica;
            observed.replicas.push(ObservedReplica { id, scalable, wanted_shards, shards });
        }
        observed
    }

    /// Remembers assignments that shards have taken, so that the next round need not fetch them whole. They count once a
    /// shard reports their revision, or does not report at all: it has said that it took them.
    pub fn expect(&mut self, applied: &Applied) {
        for change in &applied.taken {
            if let Some(known) = self.known.get_mut(&ShardKey::new(&change.replica, &change.address)) {
                let has = &known.state.assignment;
                if change.update.base == Some(has.revision) {
                    known.expected = Some(Arc::new(has.updated(&change.update)));
                }
            }
        }
    }

    /// The answers of all shards, in their order.
    async fn ask_all(&self, replicas: &[Replica]) -> Vec<anyhow::Result<ShardState>> {
        // Collected first: a stream over borrowed iterators is not general enough to be sent between threads.
        let asked: Vec<_> = replicas
            .iter()
            .flat_map(|replica| &replica.shards)
            .zip(replicas.iter().flat_map(|r| r.shards.iter().map(|s| ShardKey::new(&r.id, s))))
            .map(|(address, key)| self.ask(address, self.known.get(&key)))
            .collect();
        stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await
    }

    async fn ask(&self, shard: &ShardAddress, known: Option<&Known>) -> anyhow::Result<ShardState> {
        if let Some(problem) = &shard.problem {
            anyhow::bail!("{problem}");
        }
        let since = known.map(|known| &known.state.report.cursor);
        let report = self.in_time(self.client.report(&shard.url, since)).await.context("ask for its report")?;
        anyhow::ensure!(
            report.complete || known.is_some(),
            "asked for its whole report, it told changes to one that was never seen"
        );
        let assignment = match known.and_then(|known| known.assignment_of(&report)) {
            Some(assignment) => assignment,
            None => Arc::new(
                self.in_time(self.client.assignment(&shard.url)).await.context("ask for its whole assignment")?.into(),
            ),
        };
        Ok(ShardState::merged(known.map(|known| &*known.state), report, assignment))
    }

    async fn in_time<T>(&self, answer: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        tokio::time::timeout(self.timeout, answer)
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {:?}", self.timeout)))
    }

    /// Takes an answer over, and says what is known then and what went wrong.
    fn remember(
        &mut self,
        key: ShardKey,
        answer: anyhow::Result<ShardState>,
        now: Timestamp,
    ) -> (Seen<Arc<ShardState>>, Option<String>) {
        match answer {
            Ok(state) => {
                let state = Arc::new(state);
                self.known.insert(key, Known { at: now, state: Arc::clone(&state), expected: None });
                (Seen::Fresh(state), None)
            }
            Err(error) => {
                let error = format!("{error:#}");
                let seen = match self.known.get_mut(&key) {
                    None => Seen::Never,
                    Some(known) => Seen::Stale { at: known.at, last: known.with_what_it_took() },
                };
                (seen, Some(error))
            }
        }
    }
}

impl ShardKey {
    fn new(replica: &ReplicaId, shard: &ShardAddress) -> Self {
        Self { replica: replica.clone(), ordinal: shard.ordinal, url: shard.url.clone() }
    }
}

impl Known {
    /// What it said last, and took since.
    fn with_what_it_took(&mut self) -> Arc<ShardState> {
        if let Some(assignment) = self.expected.take() {
            self.state = Arc::new(ShardState { assignment, ..ShardState::clone(&self.state) });
        }
        Arc::clone(&self.state)
    }

    /// The assignment a report speaks of, when it is known. A whole report comes from a sidecar that has restarted,
    /// maybe with another disk: its assignment is fetched even if the revision is a known one.
    fn assignment_of(&self, report: &Report) -> Option<Arc<ShardAssignment>> {
        if report.complete {
            return None;
        }
        [Some(&self.state.assignment), self.expected.as_ref()]
            .into_iter()
            .flatten()
            .find(|assignment| assignment.revision == report.revision)
            .cloned()
    }
}

#[cfg(test)]
mod tests;
