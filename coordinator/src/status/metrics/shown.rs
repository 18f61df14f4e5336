//! Gauges by label that follow a snapshot: what is still there is set in place, and only what has gone is removed. A
//! scrape at any moment finds every series.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Gauges by label.
#[derive(Debug)]
pub(super) struct Shown<L: Clone + Hash + Eq + Ord> {
    family: Family<L, Gauge>,
    /// What was shown last.
    labels: Mutex<BTreeSet<L>>,
}

impl<L: Clone + Hash + Eq + Ord + EncodeLabelSet + Debug + Send + Sync + 'static> Shown<L> {
    /// Registers gauges that show nothing yet.
    pub(super) fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family = Family::<L, Gauge>::default();
        registry.register(name, help, family.clone());
        Self { family, labels: Mutex::default() }
    }

    /// Shows these, and nothing else.
    pub(super) fn show(&self, values: BTreeMap<L, i64>) {
        for (labels, value) in &values {
            self.family.get_or_create(labels).set(*value);
        }
        let now: BTreeSet<L> = values.into_keys().collect();
        let mut before = self.labels.lock().unwrap_or_else(PoisonError::into_inner);
        for gone in before.difference(&now) {
            self.family.remove(gone);
        }
        *before = now;
    }
}
