//! The border between when to probe and how.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use narthex_common::{config::Config, load::Load, target::Target};

/// Scrapes a target once.
pub trait Prober: Send + Sync + 'static {
    /// The load of one scrape, made with the settings that the target's job has in `config`, within the target's own
    /// scrape timeout; or why there is none, in Prometheus' words where it has some.
    fn probe(&self, config: &Arc<Config>, target: Arc<Target>) -> BoxFuture<'static, Result<Load, String>>;
}
