//! Cases in `testdata/kubernetes`: the objects of a cluster, and the groups that Prometheus makes of them.
//!
//! `groups.json` is what Prometheus 3.5 makes, `groups-VERSION.json` what another version makes where it differs. The
//! labels of their targets are those that Prometheus 3.5 was seen to discover from the same objects.

use std::path::{Path, PathBuf};

use narthex_common::{config::scrape::KubernetesAttach, labels::Labels, semantics::PrometheusVersion};
use serde::Deserialize;

use super::cluster::Objects;
use crate::discover::{group::TargetGroup, kubernetes::roles::Surroundings};

/// What a case is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    role: String,
    #[serde(default)]
    attach: Attached,
    pub(super) objects: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Attached {
    node: bool,
    namespace: bool,
    deployment: bool,
    job: bool,
    cronjob: bool,
}

#[derive(Deserialize)]
struct Group {
    source: String,
    labels: Labels,
    targets: Vec<Labels>,
}

pub(super) fn folders() -> Vec<PathBuf> {
    let below = |folder: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let roles = below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/kubernetes")));
    roles.iter().flat_map(|role| below(role)).collect()
}

pub(super) fn read(folder: &Path) -> Case {
    serde_json::from_str(&std::fs::read_to_string(folder.join("case.json")).unwrap()).unwrap()
}

impl Case {
    /// What we make of it, with the targets of each group sorted.
    pub(super) fn groups(&self, version: PrometheusVersion) -> Vec<TargetGroup> {
        let Attached { node, namespace, deployment, job, cronjob } = self.attach;
        let attach = KubernetesAttach { node, namespace, deployment, job, cron_job: cronjob };
        let objects = Objects::from_list(&self.objects);
        let mut groups = objects.groups(&self.role, &Surroundings { version, attach, cluster: &objects });
        groups.iter_mut().for_each(|group| group.targets.sort());
        groups
    }
}

fn recorded(folder: &Path, version: &str) -> Option<Vec<TargetGroup>> {
    let own = folder.join(format!("groups-{version}.json"));
    let text = std::fs::read_to_string(own).or_else(|_| std::fs::read_to_string(folder.join("groups.json"))).ok()?;
    let groups: Vec<Group> = serde_json::from_str(&text).unwrap();
    let sorted = |Group { source, labels, mut targets }| {
        targets.sort();
        TargetGroup { source, labels, targets }
    };
    Some(groups.into_iter().map(sorted).collect())
}

#[test]
fn every_case_makes_the_groups_that_prometheus_makes() {
    let folders = folders();
    assert!(!folders.is_empty());
    for folder in folders {
        let case = read(&folder);
        for version in ["2.42", "3.5", "3.16"] {
            // What is attached since 3.6 or later is an error of the config before.
            let Some(expected) = recorded(&folder, version) else { continue };
            let groups = case.groups(version.parse().unwrap());
            let sources = |groups: &[TargetGroup]| groups.iter().map(|group| group.source.clone()).collect::<Vec<_>>();
            assert_eq!(sources(&groups), sources(&expected), "{version}: {}", folder.display());
            for (group, expected) in groups.iter().zip(&expected) {
                assert_eq!(group.labels, expected.labels, "{version}: {} of {}", group.source, folder.display());
                assert_eq!(group.targets, expected.targets, "{version}: {} of {}", group.source, folder.display());
            }
        }
    }
}
