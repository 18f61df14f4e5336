//! What was seen of every shard, round after round.

use std::{sync::Arc, time::Duration};

use narthex_common::time::Timestamp;

use super::{Observed, ShardClient};
use crate::{apply::Applied, provider::Replica};

/// Asks shards and remembers what they said.
pub struct Observer {
    client: Arc<dyn ShardClient>,
    timeout: Duration,
}

impl Observer {
    /// An observer that has seen nothing yet and gives each shard `timeout` to answer.
    #[must_use]
    pub fn new(client: Arc<dyn ShardClient>, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// Asks all shards at once.
    pub async fn observe(&mut self, replicas: Vec<Replica>, now: Timestamp) -> Observed {
        let _ = (replicas, now, &self.client, self.timeout);
        todo!()
    }

    /// Remembers assignments that shards have taken, so that the next round need not fetch them whole. It changes
    /// nothing of what was observed: they count once a shard reports their revision.
    pub fn expect(&mut self, applied: &Applied) {
        let _ = applied;
        todo!()
    }
}
