//! The config file: read again when told to, the last good one kept.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use narthex_common::{config::Config, semantics::PrometheusVersion};
use narthex_runtime::clock;
use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Mutex,
};
use tracing::{error, info};

use crate::{
    app::load_config,
    discover::{Discovered, DiscoveryManager},
    sharding_rules::ShardingRules,
    status::{Reload, TryConfig},
};

mod previewed;

/// The user's config file and who must hear of a new one.
pub struct ConfigFile {
    path: PathBuf,
    version: PrometheusVersion,
    sharding: ShardingRules,
    /// One reload at a time.
    discovery: Mutex<DiscoveryManager>,
    last_successful: Gauge,
    last_success: Gauge<f64, AtomicU64>,
}

impl ConfigFile {
    /// A file that was read once already.
    pub fn new(
        path: PathBuf,
        (version, sharding): (PrometheusVersion, ShardingRules),
        discovery: DiscoveryManager,
        registry: &mut Registry,
    ) -> Arc<Self> {
        let (last_successful, last_success) = (Gauge::default(), Gauge::default());
        let metrics = registry.sub_registry_with_prefix("narthex_coordinator_config");
        metrics.register(
            "last_reload_successful",
            "Whether the config file was taken the last time it was read",
            last_successful.clone(),
        );
        metrics.register_with_unit(
            "last_reload_success_timestamp",
            "When a config file was taken last",
            Unit::Seconds,
            last_success.clone(),
        );
        let file = Self { path, version, sharding, discovery: Mutex::new(discovery), last_successful, last_success };
        file.count_success();
        Arc::new(file)
    }

    /// Reloads on every SIGHUP.
    ///
    /// # Errors
    /// When the signal cannot be listened to.
    pub fn reload_on_hangup(self: &Arc<Self>) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let file = Arc::clone(self);
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                // Already logged, and there is nobody to answer.
                drop(file.reload().await);
            }
        });
        Ok(())
    }

    fn count_success(&self) {
        self.last_successful.set(1);
        #[expect(clippy::cast_precision_loss, reason = "a timestamp in milliseconds fits a float for 285,000 years")]
        self.last_success.set(clock::now().0 as f64 / 1000.0);
    }
}

impl Reload for ConfigFile {
    fn reload(&self) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async move {
            let discovery = self.discovery.lock().await;
            match load_config(&self.path, self.version, self.sharding) {
                Ok(config) => {
                    info!(path = %self.path.display(), jobs = config.jobs.len(), "config reloaded");
                    discovery.apply(Arc::new(config)).await;
                    self.count_success();
                    Ok(())
                }
                Err(error) => {
                    self.last_successful.set(0);
                    error!(error = %format!("{error:#}"), "the config was not taken; going on with the last good one");
                    Err(error)
                }
            }
        })
    }
}

impl TryConfig for ConfigFile {
    fn try_config(&self, running: Arc<Config>, text: String) -> BoxFuture<'_, anyhow::Result<Discovered>> {
        Box::pin(async move {
            let (version, sharding) = (self.version, self.sharding);
            let config =
                tokio::task::spawn_blocking(move || previewed::read(&running, &text, version, sharding)).await??;
            let discovery = self.discovery.lock().await.clone();
            discovery.preview(Arc::new(config)).await.context("the coordinator is shutting down")
        })
    }
}
