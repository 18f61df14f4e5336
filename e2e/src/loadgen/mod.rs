//! The load generator: targets to scrape, each with exactly the series it is told to have, which can be changed and
//! broken while it runs.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use narthex_e2e::loadgen::{Config, Loadgen, TargetSettings};
//! use serde_json::json;
//!
//! let targets = vec![TargetSettings { series: 500, ..TargetSettings::default() }; 2];
//! let loadgen = Loadgen::start(Config::on_free_ports(targets)).await?;
//! let address = loadgen.addresses()[1];
//! loadgen.patch(1, &json!({"failure": "status:500"}))?;
//! assert_eq!(loadgen.scrapes(1), 0);
//! # Ok(()) }
//! ```

mod answer;
pub mod certificates;
mod control;
mod exposition;
mod listening;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use http::{HeaderMap, Uri};
use serde_json::Value;
use tokio::{net::lookup_host, task::JoinSet};

use self::{
    listening::{Acceptor, bind},
    target::Target,
};
pub use self::{
    settings::{BasicAuth, Config, Failure, TargetSettings, Tls},
    target::compressed,
};

/// What a target was asked.
#[derive(Clone, Debug)]
pub struct RequestSeen {
    /// Path and parameters.
    pub uri: Uri,
    /// Headers.
    pub headers: HeaderMap,
}

/// A running load generator. Dropped, it ends.
#[derive(Debug)]
pub struct Loadgen {
    targets: Arc<[Target]>,
    addresses: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    /// What serves the targets; ends with this.
    _serving: JoinSet<()>,
}

impl Loadgen {
    /// Starts to listen, on every address or on none.
    ///
    /// # Errors
    /// When an address cannot be listened on, or a certificate cannot be used.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let first = resolved(&config.listen).await?;
        let mut bound = Vec::with_capacity(config.targets.len());
        for (index, settings) in config.targets.iter().enumerate() {
            let mut address = first;
            if first.port() != 0 {
                let port =
                    u16::try_from(usize::from(first.port()) + index).context("too many targets for the ports")?;
                address.set_port(port);
            }
            let listener = bind(address)?;
            let acceptor = Acceptor::new(settings.tls.as_ref()).with_context(|| format!("target {index}"))?;
            bound.push((listener, acceptor));
        }
        let control = match &config.control {
            Some(control) => Some(bind(resolved(control).await?)?),
            None => None,
        };

        let targets: Arc<[Target]> =
            config.targets.into_iter().enumerate().map(|(index, settings)| Target::new(index, settings)).collect();
        let mut serving = JoinSet::new();
        let mut addresses = Vec::with_capacity(bound.len());
        for (index, (listener, acceptor)) in bound.into_iter().enumerate() {
            let address = listener.local_addr().context("ask for the address of a target")?;
            tracing::info!(target_index = index, %address, tls = acceptor.is_tls(), "target listens");
            addresses.push(address);
            serving.spawn(listening::serve(listener, address, acceptor, Arc::clone(&targets), index));
        }
        let mut control_address = None;
        if let Some(listener) = control {
            let address = listener.local_addr().context("ask for the address of the control API")?;
            tracing::info!(%address, "control API listens");
            control_address = Some(address);
            serving.spawn(control::serve(listener, Arc::clone(&targets), addresses.clone()));
        }
        Ok(Self { targets, addresses, control: control_address, _serving: serving })
    }

    /// The targets' addresses, in their order.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The control API's address.
    #[must_use]
    pub fn control_address(&self) -> Option<SocketAddr> {
        self.control
    }

    /// Changes a target: see [`TargetSettings::changed`].
    ///
    /// # Errors
    /// When there is no such target, or the change cannot be.
    pub fn patch(&self, target: usize, change: &Value) -> anyhow::Result<()> {
        self.targets.get(target).with_context(|| format!("no target {target}"))?.change(change)
    }

    /// How many requests a target has got, answered well or not; 0 when there is no such target.
    #[must_use]
    pub fn scrapes(&self, target: usize) -> u64 {
        self.targets.get(target).map_or(0, Target::scrapes)
    }

    /// How many series a target has at this moment; 0 when there is no such target.
    #[must_use]
    pub fn series(&self, target: usize) -> u64 {
        self.targets.get(target).map_or(0, Target::current_series)
    }

    /// The newest request to a target.
    #[must_use]
    pub fn last_request(&self, target: usize) -> Option<RequestSeen> {
        self.targets.get(target)?.last_request()
    }
}

async fn resolved(address: &str) -> anyhow::Result<SocketAddr> {
    let found = lookup_host(address).await.with_context(|| format!("look up {address}"))?.next();
    found.with_context(|| format!("look up {address}: no such host"))
}
