//! Telling shards what to do, without a round waiting for the slow ones.
//!
//! A shard that has not answered when the round's patience ends is not given up: its request goes on, and until it ends
//! the shard is told nothing else. The rounds meanwhile plan without it, see [`UnderWay`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use narthex_common::{
    assignment::AssignmentUpdate,
    config::ConfigSources,
    shard::{Ordinal, ReplicaId},
};
use tokio::sync::Semaphore;
use tracing::info;
use url::Url;

use super::{Applied, ShardChange};
use crate::{
    observe::{Refused, ShardClient},
    provider::ShardAddress,
};

/// Shards told at once; see how many are asked at once.
const TOLD_AT_ONCE: usize = 128;

/// What a shard is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// To scrape something else.
    Assignment(Arc<ShardChange>),
    /// To run this config, because it runs another one and has no file of its own.
    Config {
        /// The replica it belongs to.
        replica: ReplicaId,
        /// Where it is.
        address: ShardAddress,
        /// The config.
        config: Arc<ConfigSources>,
    },
    /// To read its config again, because it runs another one: it is the same file, read at another time.
    Reload {
        /// The replica it belongs to.
        replica: ReplicaId,
        /// Where it is.
        address: ShardAddress,
    },
}

/// What shards were told and have not answered yet, by their addresses.
#[derive(Clone, Debug, Default)]
pub struct UnderWay(BTreeMap<Url, Told>);

impl UnderWay {
    /// What the shard at an address has not answered yet.
    #[must_use]
    pub fn of(&self, shard: &Url) -> Option<&Told> {
        self.0.get(shard)
    }

    #[cfg(test)]
    pub(crate) fn of_one(told: Told) -> Self {
        Self(BTreeMap::from([(told.address().url.clone(), told)]))
    }
}

type Answer = (Told, anyhow::Result<()>);

/// Tells shards what to do.
pub struct Teller {
    client: Arc<dyn ShardClient>,
    /// How long a round waits for answers.
    patience: Duration,
    permits: Arc<Semaphore>,
    under_way: UnderWay,
    answers: FuturesUnordered<BoxFuture<'static, Answer>>,
}

impl Teller {
    /// One that lets a round wait for so long.
    #[must_use]
    pub fn new(client: Arc<dyn ShardClient>, patience: Duration) -> Self {
        Self {
            client,
            patience,
            permits: Arc::new(Semaphore::new(TOLD_AT_ONCE)),
            under_way: UnderWay::default(),
            answers: FuturesUnordered::new(),
        }
    }

    /// What has not been answered yet.
    #[must_use]
    pub const fn under_way(&self) -> &UnderWay {
        &self.under_way
    }

    /// Tells a shard something, unless it has not answered yet what it was told before; returns its address if so. Each
    /// request goes on by itself.
    pub(super) fn tell(&mut self, told: Told) -> Option<Url> {
        let url = told.address().url.clone();
        if self.under_way.0.contains_key(&url) {
            return None;
        }
        self.under_way.0.insert(url.clone(), told.clone());
        let (client, permits, request) = (Arc::clone(&self.client), Arc::clone(&self.permits), told.clone());
        let at = url.clone();
        let task = tokio::spawn(async move {
            let _permit = permits.acquire().await?;
            match &request {
                Told::Assignment(change) => client.put_assignment(&at, &change.update).await,
                Told::Config { config, .. } => client.put_config(&at, config).await,
                Told::Reload { .. } => client.reload(&at).await,
            }
        });
        self.answers.push(async move { (told, task.await.unwrap_or_else(|broken| Err(broken.into()))) }.boxed());
        Some(url)
    }

    /// What came of requests that have ended, without waiting for any.
    pub fn ended(&mut self) -> Applied {
        let mut ended = Vec::new();
        while let Some(Some(answer)) = self.answers.next().now_or_never() {
            ended.push(answer);
        }
        self.result(ended)
    }

    /// What came of what these shards were told, once all have answered or patience has ended. What was under way for
    /// longer is not waited for.
    pub(super) async fn settle(&mut self, waited_for: &BTreeSet<Url>) -> Applied {
        let deadline = tokio::time::Instant::now() + self.patience;
        let mut ended = Vec::new();
        let mut waiting = waited_for.len();
        while waiting > 0 {
            match tokio::time::timeout_at(deadline, self.answers.next()).await {
                Ok(Some(answer)) => {
                    waiting -= usize::from(waited_for.contains(&answer.0.address().url));
                    ended.push(answer);
                }
                Ok(None) | Err(_) => break,
            }
        }
        let mut applied = self.result(ended);
        applied.errors.extend(self.under_way.0.values().map(|told| told.waiting(self.patience)));
        applied
    }

    fn result(&mut self, mut ended: Vec<Answer>) -> Applied {
        ended.sort_by(|(a, _), (b, _)| a.place().cmp(&b.place()));
        let mut applied = Applied::default();
        for (told, answer) in ended {
            self.under_way.0.remove(&told.address().url);
            match answer {
                Ok(()) => {
                    told.log_success();
                    applied.taken.extend(told.into_change());
                }
                Err(error) => applied.errors.push(told.failure(&error)),
            }
        }
        applied
    }
}

impl Told {
    fn replica(&self) -> &ReplicaId {
        match self {
            Self::Assignment(change) => &change.replica,
            Self::Config { replica, .. } | Self::Reload { replica, .. } => replica,
        }
    }

    pub(super) fn address(&self) -> &ShardAddress {
        match self {
            Self::Assignment(change) => &change.address,
            Self::Config { address, .. } | Self::Reload { address, .. } => address,
        }
    }

    /// The assignment's update, if that is what it is told.
    #[must_use]
    pub fn update(&self) -> Option<&AssignmentUpdate> {
        match self {
            Self::Assignment(change) => Some(&change.update),
            Self::Config { .. } | Self::Reload { .. } => None,
        }
    }

    fn into_change(self) -> Option<Arc<ShardChange>> {
        match self {
            Self::Assignment(change) => Some(change),
            Self::Config { .. } | Self::Reload { .. } => None,
        }
    }

    fn place(&self) -> (&ReplicaId, Ordinal) {
        (self.replica(), self.address().ordinal)
    }

    fn log_success(&self) {
        let (replica, shard) = (self.replica(), &self.address().id);
        match self {
            Self::Assignment(change) => {
                let AssignmentUpdate { revision, put, remove, handed_over, .. } = &change.update;
                let (put, handed_over, removed) =
                    (put.len(), handed_over.len(), remove.len().saturating_sub(handed_over.len()));
                info!(%replica, %shard, revision = revision.0, put, handed_over, removed, "assigned");
            }
            Self::Config { .. } => info!(%replica, %shard, "has taken the config"),
            Self::Reload { .. } => info!(%replica, %shard, "told to read the config again, it runs another one"),
        }
    }

    fn failure(&self, error: &anyhow::Error) -> String {
        let (replica, shard) = (self.replica(), &self.address().id);
        match self {
            Self::Assignment(_) if error.is::<Refused>() => format!(
                "assign targets to {shard} of {replica}, which has changed since it was asked: {error:#}; looking again \
                 next round"
            ),
            Self::Assignment(_) => {
                format!("assign targets to {shard} of {replica}: {error:#}; it goes on with those it has")
            }
            Self::Config { .. } => format!(
                "give the config to {shard} of {replica}: {error:#}; it goes on with the one it has and gets no new \
                 targets"
            ),
            Self::Reload { .. } => format!(
                "reload {shard} of {replica}, which runs another config: {error:#}; it goes on with the one it has and \
                 gets no new targets"
            ),
        }
    }

    fn waiting(&self, patience: Duration) -> String {
        let (replica, shard) = (self.replica(), &self.address().id);
        let asked = match self {
            Self::Assignment(_) => "assign targets to",
            Self::Config { .. } => "give the config to",
            Self::Reload { .. } => "reload",
        };
        format!(
            "{asked} {shard} of {replica}: no answer within {patience:?}; still waiting, the others go on without it"
        )
    }
}
