//! Discovering once: what the dry commands do.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use narthex_common::config::Config;
use tokio::sync::mpsc;

use super::{
    Discovered,
    discoverer::{DiscoveryId, Mechanisms, Update, Updates},
    manager::relabel_all,
    metrics::KindMetrics,
    settings::DiscoverySettings,
    state::State,
};

/// Waits for the first answer of every discovery of a config, each for at most `timeout`, and builds all targets. What
/// did not answer is among the [`failures`](super::JobTargets::failures) of its jobs.
pub async fn discover_once(config: Arc<Config>, settings: DiscoverySettings, timeout: Duration) -> Discovered {
    let mut state = State::new(config, settings.version);
    state.keep_all_dropped();
    let mechanisms = Mechanisms::new(settings, KindMetrics::default());
    let first_answers = state.discoveries().iter().map(|(id, discovery)| {
        let discoverer = discovery.config.discoverer(&mechanisms);
        let (sender, mut updates) = mpsc::channel(1);
        let running = discoverer.run(Updates::new(*id, sender));
        let id = *id;
        async move {
            let first = tokio::select! {
                first = updates.recv() => first,
                () = running => None,
                () = tokio::time::sleep(timeout) => None,
            };
            first.unwrap_or_else(|| no_answer(id, timeout))
        }
    });
    let first_answers = join_all(first_answers).await;
    for (from, update) in first_answers {
        state.take(from, update);
    }
    for relabeled in relabel_all(state.take_changed()).await {
        state.accept(relabeled);
    }
    state.snapshot()
}

fn no_answer(from: DiscoveryId, timeout: Duration) -> (DiscoveryId, Update) {
    let failure = Some(format!("no answer within {} s", timeout.as_secs_f64()));
    (from, Update { groups: Vec::new(), failure })
}
