//! Discoverers: one running SD block each. What they find they tell as target groups.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use narthex_common::{
    config::{
        ScrapeConfig, SdConfig,
        scrape::{ConsulSdConfig, DnsSdConfig, FileSdConfig, HttpSdConfig},
    },
    semantics::NameValidation,
};
use tokio::sync::mpsc;

use super::{
    consul::{self, ConsulDiscoverer},
    directories::Directories,
    dns::{self, DnsDiscoverer},
    file::FileDiscoverer,
    group::TargetGroup,
    http::HttpDiscoverer,
    metrics::KindMetrics,
    settings::DiscoverySettings,
};

/// One running SD block.
pub trait Discoverer: Send {
    /// Tells what it finds, at once and then whenever that changes, for as long as anybody listens. It is ended by
    /// dropping the future.
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()>;
}

/// What a discoverer tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Groups that are new or may have changed; one without targets has gone. Groups that are not mentioned stay.
    pub groups: Vec<TargetGroup>,
    /// Why the last try failed, or a part of it. None says that everything there is has been told.
    pub failure: Option<String>,
}

/// Which of the running discoveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiscoveryId(pub u64);

/// Where a discoverer tells what it finds.
#[derive(Clone, Debug)]
pub struct Updates {
    from: DiscoveryId,
    to: mpsc::Sender<(DiscoveryId, Update)>,
}

impl Updates {
    /// Tells everything to `to`, as coming from `from`.
    #[must_use]
    pub const fn new(from: DiscoveryId, to: mpsc::Sender<(DiscoveryId, Update)>) -> Self {
        Self { from, to }
    }

    /// Tells an update. Waits while the listener is busy.
    pub async fn tell(&self, update: Update) {
        // A listener that has gone is about to end the discoverer, too.
        drop(self.to.send((self.from, update)).await);
    }
}

/// What discoverers share.
#[derive(Clone, Debug)]
pub(super) struct Mechanisms {
    names: NameValidation,
    directories: Arc<Directories>,
    settings: Arc<DiscoverySettings>,
    metrics: KindMetrics,
}

impl Mechanisms {
    /// What they share by these settings, counting into `metrics`.
    pub(super) fn new(settings: DiscoverySettings, metrics: KindMetrics) -> Self {
        Self {
            names: settings.version.default_name_validation(),
            directories: Directories::new(),
            settings: Arc::new(settings),
            metrics,
        }
    }
}

/// An SD block that has to be run. Equal blocks, of whatever jobs, are run once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DiscoveryConfig {
    /// `file_sd_configs`
    File(FileSdConfig),
    /// `http_sd_configs`
    Http(Box<HttpSdConfig>),
    /// `dns_sd_configs`
    Dns(DnsSdConfig),
    /// `consul_sd_configs`
    Consul(Box<ConsulSdConfig>),
}

impl DiscoveryConfig {
    /// What is to be run for a job; nothing for its static lists, and for what [`check`](super::check) refuses.
    pub(super) fn of_job(job: &ScrapeConfig) -> impl Iterator<Item = Self> {
        job.discovery.iter().filter_map(|sd| match sd {
            SdConfig::File(file) => Some(Self::File(file.clone())),
            SdConfig::Http(http) => Some(Self::Http(Box::new(HttpSdConfig::clone(http)))),
            SdConfig::Dns(dns) => Some(Self::Dns(dns.clone())),
            SdConfig::Consul(consul) => Some(Self::Consul(Box::new(ConsulSdConfig::clone(consul)))),
            SdConfig::Static(_) | SdConfig::Kubernetes(_) | SdConfig::Other(_) => None,
        })
    }

    /// The name Prometheus' metrics have for this kind.
    pub(super) const fn mechanism(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Http(_) => "http",
            Self::Dns(_) => "dns",
            Self::Consul(_) => "consul",
        }
    }

    /// The block in an error's words, without secrets.
    pub(super) fn describe(&self) -> String {
        match self {
            // A failure names the file it is about.
            Self::File(_) => "file_sd_configs".to_owned(),
            Self::Http(http) => format!("http_sd_configs {}", super::http::without_password(http.url.expose())),
            Self::Dns(dns) => dns::describe(dns),
            Self::Consul(consul) => consul::describe(consul),
        }
    }

    /// What runs this block.
    pub(super) fn discoverer(&self, mechanisms: &Mechanisms) -> Box<dyn Discoverer> {
        let Mechanisms { names, directories, settings, metrics } = mechanisms;
        match self {
            Self::File(file) => Box::new(FileDiscoverer::new(
                file.clone(),
                *names,
                Arc::clone(directories),
                settings.working_dir.clone(),
                metrics.file.clone(),
            )),
            Self::Http(http) => Box::new(HttpDiscoverer::new(
                HttpSdConfig::clone(http),
                *names,
                metrics.http.clone(),
                metrics.refreshes.clone(),
            )),
            Self::Dns(dns) => Box::new(DnsDiscoverer::new(
                dns.clone(),
                settings.resolv_conf.clone(),
                metrics.dns.clone(),
                metrics.refreshes.clone(),
            )),
            Self::Consul(consul) => {
                Box::new(ConsulDiscoverer::new(ConsulSdConfig::clone(consul), metrics.consul.clone()))
            }
        }
    }
}
