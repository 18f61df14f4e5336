//! The shards' whole reports, asked when somebody looks at targets.
//!
//! A round asks only for what changed, and a target that just runs along does not change. Whoever looks at targets
//! wants to see when each was scraped last: that is asked then, and kept for a moment, so that a page that polls does
//! not cost a request to every shard each time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream};
use narthex_common::{report::TargetReport, target::TargetId};
use narthex_planner::world::Seen;
use tokio::{sync::Mutex, time::Instant};
use url::Url;

use crate::observe::{Observed, ShardClient};

/// How long an answer is good for.
const FRESH_FOR: Duration = Duration::from_secs(1);
/// How long one shard may take; the round's own knowledge stands in for one that takes longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many shards are asked at once.
const AT_ONCE: usize = 64;

/// The targets' reports by the shard that gave them.
pub(super) type LiveReports = BTreeMap<Url, BTreeMap<TargetId, TargetReport>>;

/// Asks shards for their whole reports.
pub(super) struct Live {
    client: Arc<dyn ShardClient>,
    last: Mutex<Option<(Instant, Arc<LiveReports>)>>,
}

impl Live {
    pub(super) fn new(client: Arc<dyn ShardClient>) -> Self {
        Self { client, last: Mutex::new(None) }
    }

    /// What every shard that answers says of its targets now. Several who ask at once share one answer.
    pub(super) async fn reports(&self, observed: &Observed) -> Arc<LiveReports> {
        let mut last = self.last.lock().await;
        if let Some((at, reports)) = &*last
            && at.elapsed() < FRESH_FOR
        {
            return Arc::clone(reports);
        }
        let shards = observed.replicas.iter().flat_map(|replica| &replica.shards);
        let urls: Vec<Url> = shards
            .filter(|shard| matches!(shard.seen, Seen::Fresh(_)))
            .map(|shard| shard.address.url.clone())
            .collect();
        let asked = stream::iter(urls).map(|url| async move {
            let report = tokio::time::timeout(PATIENCE, self.client.report(&url, None)).await.ok()?.ok()?;
            Some((url, report.targets.into_iter().map(|target| (target.id, target)).collect()))
        });
        let reports: Arc<LiveReports> =
            Arc::new(asked.buffer_unordered(AT_ONCE).filter_map(async |one| one).collect().await);
        *last = Some((Instant::now(), Arc::clone(&reports)));
        reports
    }
}
