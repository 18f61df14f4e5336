//! The Prometheus next door: asked how it is, told to reload, and, when wanted, run as a child.

mod active_targets;
mod address;
#[cfg(test)]
pub(crate) mod fake;
mod http;
mod kind;
mod observe;
mod own_metrics;
pub mod supervise;
mod vmagent;

use std::future::Future;

use narthex_common::{load::Series, report::PrometheusReport, semantics::PrometheusVersion, time::Timestamp};

pub use self::{
    active_targets::{ActiveTarget, DroppedTarget, RelabeledTarget, RelabeledTargets},
    address::{BadPrometheusUrl, PrometheusAddress},
    http::{Body, HttpPrometheus},
    kind::PrometheusKind,
    observe::observe,
};

/// Whether a Prometheus can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does not answer: it is not there, or hangs.
    Silent,
    /// It answers that it is not ready: it starts, and may have a long log to replay.
    NotReady,
    /// It is ready.
    Ready,
}

/// What the sidecar asks of its Prometheus.
pub trait PrometheusControl: Clone + Send + Sync + 'static {
    /// Whether it answers, and is ready to be asked.
    fn readiness(&self) -> impl Future<Output = Readiness> + Send;

    /// Tells it to read its config again, and waits until it has.
    ///
    /// # Errors
    /// When it cannot be reached or does not take the config.
    fn reload(&self) -> impl Future<Output = Result<(), ReloadFailed>> + Send;

    /// How many targets it scrapes in a scrape pool.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn active_targets(&self, pool: &str) -> impl Future<Output = anyhow::Result<usize>> + Send;

    /// Which version it is.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn version(&self) -> impl Future<Output = anyhow::Result<PrometheusVersion>> + Send;

    /// What its own metrics say.
    ///
    /// # Errors
    /// When it cannot be asked.
    fn own_metrics(&self) -> impl Future<Output = anyhow::Result<OwnMetrics>> + Send;

    /// What of its flags does not suit a shard, in words; nothing where that cannot be asked.
    fn unsuitable_flags(&self) -> impl Future<Output = Vec<String>> + Send;
}

/// Why a reload did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReloadFailed {
    /// It was not there. It reads the config when it starts.
    #[error("{0}")]
    Unreachable(String),
    /// It does not take the config and goes on with the one before.
    #[error("{0}")]
    Refused(String),
    /// It may not be told to: it was started without `--web.enable-lifecycle`. Of the config that says nothing.
    #[error("{0}")]
    Forbidden(String),
}

/// What a Prometheus' own metrics say, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnMetrics {
    /// Series in memory: `prometheus_tsdb_head_series`, or `prometheus_agent_active_series`.
    pub head_series: Option<Series>,
    /// When it last read its config with success: `prometheus_config_last_reload_success_timestamp_seconds`. Of a vmagent
    /// up to two seconds too early, and the last time that it found something new.
    pub config_loaded: Option<Timestamp>,
    /// Whether the last try to read it succeeded: `prometheus_config_last_reload_successful`.
    pub config_is_good: Option<bool>,
    /// How often it read it again, of a vmagent.
    pub config_reads: Option<ConfigReads>,
}

/// How often a vmagent has read its config again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigReads {
    /// And found something new: `vm_promscrape_config_reloads_total`.
    pub taken: u64,
    /// And refused it: `vm_promscrape_config_reloads_errors_total`.
    pub refused: u64,
}

/// What was last seen of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PrometheusSeen {
    /// What the report says of it.
    pub report: PrometheusReport,
    /// When it last read its config with success.
    pub config_loaded: Option<Timestamp>,
}
