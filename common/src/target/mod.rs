//! A target: one endpoint with its final labels and URL, and how it is built from what discovery found.

use serde::{Deserialize, Serialize};

mod address;
pub mod build;
mod url;

use crate::{
    config::PromDuration,
    fingerprint::{Fingerprint, Fingerprinter},
    job::JobName,
    labels::{Labels, SCRAPE_INTERVAL},
};

/// The identity of a target: the fingerprint of its job, labels and URL, the same in every process and after every
/// restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TargetId(pub Fingerprint);

impl std::fmt::Display for TargetId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// One endpoint to scrape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its identity.
    pub id: TargetId,
    /// The job it belongs to.
    pub job: JobName,
    /// All labels after relabeling, the reserved ones included, `__meta_*` excluded; or, where its shard relabels it, all
    /// labels before.
    pub labels: Labels,
    /// Where it is scraped, parameters included; empty where its shard relabels it.
    pub url: String,
}

impl Target {
    /// A target with its identity.
    #[must_use]
    pub fn new(job: JobName, labels: Labels, url: String) -> Self {
        let mut fingerprint = Fingerprinter::default();
        fingerprint.add(job.as_str());
        for (name, value) in labels.iter() {
            fingerprint.add(name).add(value);
        }
        fingerprint.add(&url);
        Self { id: TargetId(fingerprint.finish()), job, labels, url }
    }

    /// What discovery found, to be relabeled by the Prometheus of the shard that has it: what becomes of it is not known.
    #[must_use]
    pub fn of_discovered(job: JobName, discovered: Labels) -> Self {
        Self::new(job, discovered, String::new())
    }

    /// Whether its shard relabels it.
    #[must_use]
    pub const fn is_relabeled_by_shard(&self) -> bool {
        self.url.is_empty()
    }

    /// How often it is scraped; none when its labels do not say so, which only hand-made targets have.
    #[must_use]
    pub fn interval(&self) -> Option<PromDuration> {
        self.labels.get(SCRAPE_INTERVAL)?.parse().ok()
    }
}
