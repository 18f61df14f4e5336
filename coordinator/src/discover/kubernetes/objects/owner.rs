//! What stands between a pod and the workload it belongs to; only who controls it is kept.

use serde::Deserialize;

use super::{Meta, Pairs, Text, kind, parts::null_is_default};

/// A ReplicaSet, which a Deployment may control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ReplicaSet {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
}

kind!(
    ReplicaSet,
    "apps",
    "v1",
    "replicasets",
    NamespaceResourceScope,
    fn slim(&mut self) {
        forget_all_but_controller(&mut self.metadata);
    }
);

/// A Job, which a CronJob may control.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Job {
    /// Its metadata.
    #[serde(deserialize_with = "null_is_default")]
    pub metadata: Meta,
}

kind!(
    Job,
    "batch",
    "v1",
    "jobs",
    NamespaceResourceScope,
    fn slim(&mut self) {
        forget_all_but_controller(&mut self.metadata);
    }
);

fn forget_all_but_controller(meta: &mut Meta) {
    meta.uid = Text::default();
    meta.labels = Pairs::default();
    meta.annotations = Pairs::default();
}
