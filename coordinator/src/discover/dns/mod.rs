//! `dns_sd_configs`: names that are looked up at an interval, each a group of its own.
//!
//! Names are looked up as Prometheus looks them up (its `discovery/dns` on the `miekg/dns` library) and not as the
//! system's resolver would: the file with the servers is read at every refresh, every server is asked in turn, and
//! nothing is remembered between refreshes.

mod ask;
mod group;
mod lookup;
mod name;
mod resolv_conf;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    future::{BoxFuture, FutureExt as _},
    stream,
};
use hickory_proto::rr::Record;
use narthex_common::config::{
    Files as _,
    scrape::{DnsRecords, DnsSdConfig},
};
use narthex_runtime::files::Disk;
use tokio::time::{Instant, MissedTickBehavior};

use self::{group::group_of, lookup::look_up, resolv_conf::ResolvConf};
use super::{
    discoverer::{Discoverer, Update, Updates},
    metrics::{DnsMetrics, RefreshMetrics},
    refreshing::{Failures, summary},
};

/// How many names are looked up at once: each needs a socket or two, of which a process may have 1,024.
const AT_ONCE: usize = 200;

/// Looks up the names of one `dns_sd_configs` entry.
pub(super) struct DnsDiscoverer {
    config: DnsSdConfig,
    resolv_conf: PathBuf,
    metrics: DnsMetrics,
    refreshes: RefreshMetrics,
}

impl DnsDiscoverer {
    /// A discoverer that asks the servers that a file like `/etc/resolv.conf` names.
    pub(super) const fn new(
        config: DnsSdConfig,
        resolv_conf: PathBuf,
        metrics: DnsMetrics,
        refreshes: RefreshMetrics,
    ) -> Self {
        Self { config, resolv_conf, metrics, refreshes }
    }

    async fn keep_looking_up(self, updates: Updates) {
        let mut refresh = tokio::time::interval(self.config.refresh_interval.to_std().max(Duration::from_millis(1)));
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failures = Failures::default();
        loop {
            refresh.tick().await;
            let begun = Instant::now();
            let update = self.look_up_all(&mut failures).await;
            self.refreshes.observe("dns", begun.elapsed());
            updates.tell(update).await;
        }
    }

    /// Looks up every name. One that cannot be looked up keeps the group it had.
    async fn look_up_all(&self, failures: &mut Failures) -> Update {
        let servers = read_resolv_conf(&self.resolv_conf).await;
        let lookups: Vec<_> = self.config.names.iter().map(|name| self.look_up_one(&servers, name)).collect();
        let looked_up: BTreeMap<&str, _> = stream::iter(lookups).buffer_unordered(AT_ONCE).collect().await;
        let mut groups = Vec::new();
        let mut failed = Vec::new();
        for (name, answers) in looked_up {
            self.metrics.looked_up(answers.is_err());
            match answers {
                Ok(records) => {
                    failures.is_good(name, || tracing::info!(name, "dns_sd: the name can be looked up again"));
                    groups.push(group_of(name, &records, self.config.port));
                }
                Err(error) => {
                    failures.is_bad(name, &error, || {
                        tracing::warn!(name, %error, "dns_sd: cannot look up; keeping the last targets");
                    });
                    failed.push(error);
                }
            }
        }
        Update { groups, failure: summary(&failed) }
    }

    async fn look_up_one<'a>(
        &self,
        servers: &Result<ResolvConf, String>,
        name: &'a str,
    ) -> (&'a str, Result<Vec<Record>, String>) {
        let records = match servers {
            Ok(servers) => look_up(servers, name, self.config.records).await,
            Err(error) => Err(error.clone()),
        };
        (name, records)
    }
}

impl Discoverer for DnsDiscoverer {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        self.keep_looking_up(updates).boxed()
    }
}

async fn read_resolv_conf(path: &Path) -> Result<ResolvConf, String> {
    let file = path.to_owned();
    let text = tokio::task::spawn_blocking(move || Disk.read(&file)).await.map_err(|error| error.to_string())?;
    let text = text.map_err(|error| format!("could not load resolv.conf: {}: {error}", path.display()))?;
    Ok(ResolvConf::read(&text))
}

/// The block in an error's words.
pub(super) fn describe(config: &DnsSdConfig) -> String {
    let kind = match config.records {
        DnsRecords::Srv => "SRV",
        DnsRecords::A => "A",
        DnsRecords::Aaaa => "AAAA",
        DnsRecords::Mx => "MX",
        DnsRecords::Ns => "NS",
    };
    format!("dns_sd_configs {kind}")
}
