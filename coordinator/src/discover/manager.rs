//! The discovery manager: runs every distinct SD block once, relabels what it finds for each job that uses it, and
//! publishes one snapshot of everything.

use std::sync::Arc;

use narthex_common::{config::Config, semantics::PrometheusVersion};
use narthex_runtime::shutdown::Shutdown;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::Discovered;

/// Keeps discovery going. Cheap to clone; discovery ends at shutdown.
#[derive(Clone, Debug)]
pub struct DiscoveryManager(());

impl DiscoveryManager {
    /// Starts discovering the jobs of a config that [`check`](super::check) has let through.
    ///
    /// The snapshot lists every job from the beginning; [`JobTargets::discovered`](super::JobTargets::discovered) says
    /// which have answered. It is published as soon as jobs answer for the first time, later at most once a second.
    #[must_use]
    pub fn start(
        config: Arc<Config>,
        version: PrometheusVersion,
        registry: &mut Registry,
        shutdown: Shutdown,
    ) -> (Self, watch::Receiver<Arc<Discovered>>) {
        let _ = (config, version, registry, shutdown);
        todo!()
    }

    /// Goes over to a new config that [`check`](super::check) has let through. SD blocks that stay keep running and
    /// keep what they know. Returns once the config is taken over; the snapshot follows as soon as it is relabeled.
    pub async fn apply(&self, config: Arc<Config>) {
        let _ = config;
        todo!()
    }
}
