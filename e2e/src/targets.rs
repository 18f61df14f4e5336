//! Plain targets for tests that are about something else.

use serde_json::json;

use crate::loadgen::{Config, Loadgen, TargetSettings};

/// Targets of equal weight, on free ports.
pub struct Targets {
    loadgen: Loadgen,
}

impl Targets {
    /// Starts `count` targets of `series` series each.
    ///
    /// # Errors
    /// When they cannot listen.
    pub async fn start(count: usize, series: u64) -> anyhow::Result<Self> {
        let settings = TargetSettings { series, ..TargetSettings::default() };
        let loadgen = Loadgen::start(Config::on_free_ports(vec![settings; count])).await?;
        Ok(Self { loadgen })
    }

    /// Their addresses, as a config writes them.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.loadgen.addresses().iter().map(ToString::to_string).collect()
    }

    /// Makes one of them lighter or heavier.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn set_series(&self, target: usize, series: u64) -> anyhow::Result<()> {
        self.loadgen.patch(target, &json!({ "series": series }))
    }
}
