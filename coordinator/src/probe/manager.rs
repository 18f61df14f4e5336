//! The probe manager: which targets are probed, when, and how many at once.

use std::{collections::BTreeSet, sync::Arc};

use narthex_common::{semantics::PrometheusVersion, target::TargetId};
use narthex_runtime::shutdown::Shutdown;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::Probed;
use crate::discover::Discovered;

/// Probes targets whose load nobody knows.
#[derive(Debug)]
pub struct ProbeManager(());

impl ProbeManager {
    /// Starts probing the active targets of `discovered`, except the `known` ones, whose load a shard has measured.
    /// At most `concurrency` scrapes (at least one) run at once. Ends at shutdown.
    #[must_use]
    pub fn start(
        discovered: watch::Receiver<Arc<Discovered>>,
        known: watch::Receiver<Arc<BTreeSet<TargetId>>>,
        concurrency: usize,
        version: PrometheusVersion,
        registry: &mut Registry,
        shutdown: Shutdown,
    ) -> watch::Receiver<Arc<Probed>> {
        let _ = (discovered, known, concurrency, version, registry, shutdown);
        todo!()
    }
}
