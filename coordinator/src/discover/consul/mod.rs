//! `consul_sd_configs`: the services of a Consul catalog, each a group of its own.
//!
//! One question waits for changes of the list of services, and one more for each service (Consul's blocking queries).
//! Where the config names its services and no tags, the list is not asked for.

mod api;
mod group;
mod progress;
#[cfg(test)]
mod tests;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, FutureExt as _};
use narthex_common::{config::scrape::ConsulSdConfig, redact::without_password};
use tokio::{
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use self::{
    api::Consul,
    progress::Progress,
    watch::{Heard, Pace, watch_service, watch_services},
};
use super::{
    discoverer::{Discoverer, Update, Updates},
    metrics::ConsulMetrics,
};

/// How long after a failure Consul is asked again: what Prometheus waits.
const RETRY: Duration = Duration::from_secs(15);

/// How long the first answers of all services are waited for, to be told together.
const FIRST_ANSWERS: Duration = Duration::from_secs(10);

/// How many answers may wait to be taken. More make watchers wait, which costs nothing.
const WAITING: usize = 64;

/// Follows the services of one `consul_sd_configs` entry.
pub(super) struct ConsulDiscoverer {
    config: ConsulSdConfig,
    metrics: ConsulMetrics,
    pace: Pace,
}

/// A watcher, which ends when this is dropped.
struct Watcher(AbortHandle);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ConsulDiscoverer {
    /// A discoverer that asks once it is run.
    pub(super) fn new(config: ConsulSdConfig, metrics: ConsulMetrics) -> Self {
        let pace = Pace { interval: config.refresh_interval.to_std().max(Duration::from_millis(1)), retry: RETRY };
        Self { config, metrics, pace }
    }

    async fn follow(self, updates: Updates) {
        let mut is_failing = false;
        let (consul, datacenter) = loop {
            match self.connect().await {
                Ok(connected) => break connected,
                Err(failure) => {
                    self.log(&mut is_failing, Some(&failure));
                    updates.tell(Update { groups: Vec::new(), failure: Some(failure) }).await;
                    tokio::time::sleep(self.pace.retry).await;
                }
            }
        };
        let (heard, mut hearing) = mpsc::channel(WAITING);
        let datacenter: Arc<str> = datacenter.into();
        let pace = self.pace;
        let start = |service: &str| {
            let who = (service.to_owned(), Arc::clone(&datacenter));
            let watching = watch_service(Arc::clone(&consul), who, pace, heard.clone());
            Watcher(tokio::spawn(watching).abort_handle())
        };
        let mut progress = Progress::new(&self.config);
        let _list = progress
            .awaits_list()
            .then(|| Watcher(tokio::spawn(watch_services(Arc::clone(&consul), pace, heard.clone())).abort_handle()));
        let mut watchers: BTreeMap<String, Watcher> =
            progress.services().map(|service| (service.to_owned(), start(service))).collect();
        let give_up_waiting = Instant::now() + FIRST_ANSWERS;
        loop {
            let told = tokio::select! {
                // One sender is kept here: this does not end.
                Some(what) = hearing.recv() => progress.hear(what),
                () = sleep_until(give_up_waiting), if progress.is_held_back() => progress.stop_holding_back(),
            };
            for service in &told.ended {
                watchers.remove(service);
            }
            for service in &told.begun {
                watchers.insert(service.clone(), start(service));
            }
            if let Some(update) = told.update {
                self.log(&mut is_failing, update.failure.as_ref());
                updates.tell(update).await;
            }
        }
    }

    /// A client, and the datacenter whose services it lists.
    async fn connect(&self) -> Result<(Arc<Consul>, String), String> {
        let consul = Consul::new(self.config.clone(), self.metrics.clone())?;
        let datacenter = match self.config.datacenter.as_str() {
            "" => consul.datacenter_of_agent().await?,
            named => named.to_owned(),
        };
        Ok((Arc::new(consul), datacenter))
    }

    /// Says when failures begin and end, and not in between: with Consul away, every service fails again and again.
    fn log(&self, is_failing: &mut bool, failure: Option<&String>) {
        let server = without_password(&self.config.server);
        match failure {
            Some(error) if !*is_failing => {
                tracing::warn!(%server, %error, "consul_sd fails; keeping the targets of what does not answer");
            }
            None if *is_failing => tracing::info!(%server, "all that consul_sd asks for is answered again"),
            Some(_) | None => {}
        }
        *is_failing = failure.is_some();
    }
}

impl Discoverer for ConsulDiscoverer {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        self.follow(updates).boxed()
    }
}

/// The block in an error's words.
pub(super) fn describe(config: &ConsulSdConfig) -> String {
    format!("consul_sd_configs {}://{}", config.scheme, without_password(&config.server))
}
