use std::{collections::BTreeMap, path::Path, sync::Arc};

use narthex_common::{
    config::Config, labels::Labels, semantics::PrometheusVersion, shard::Ordinal, target::Target, time::Timestamp,
};
use narthex_planner::{
    ReplicaPlan,
    memory::{Memory, Suspect},
};

use super::*;
use crate::{
    discover::{ActiveTarget, JobTargets},
    probe::Probed,
    round::{tests::EmptyConfig, world},
};

fn target(n: u32) -> Target {
    Target::new("db".into(), Labels::default(), format!("http://db-{n}/metrics?token=hunter2"))
}

fn discovered() -> Discovered {
    let config = Config::load(Path::new("/prometheus.yml"), &EmptyConfig, PrometheusVersion::V3_5).unwrap();
    let active =
        |target: Target| (target.id, ActiveTarget { target: Arc::new(target), discovered_labels: Labels::default() });
    let job =
        JobTargets { discovered: true, active: (1..=5).map(target).map(active).collect(), ..JobTargets::default() };
    Discovered { config: Arc::new(config), jobs: BTreeMap::from([("db".into(), Arc::new(job))]) }
}

/// What is said of a plan; and what is remembered afterwards.
fn look(attention: &mut Attention, plan: ReplicaPlan) -> Vec<String> {
    let discovered = discovered();
    let world = world(Timestamp(0), &discovered, &Probed::new(), Vec::new());
    let plan = Plan { replicas: BTreeMap::from([(ReplicaId("replica-0".into()), plan)]) };
    attention.look(&world, &plan, &discovered)
}

#[test]
fn a_suspect_is_named_for_as_long_as_it_is_one() {
    let id = target(1).id;
    let suspect = Suspect { since: Timestamp(0), why: Suspicion::Grew, isolated_on: None, lives_since: None };
    let memory = Memory { suspects: BTreeMap::from([(id, suspect)]), ..Memory::default() };
    let suspected = Change::Suspect { target: id, shard: Ordinal(3), why: Suspicion::Grew };
    let mut attention = Attention::default();
    let expected = "replica-0: http://db-1/metrics of job \"db\" may have killed its shard: it had grown before; it gets a \
                    shard of its own until it has proved harmless; look at how many series it has, and bound them with \
                    sample_limit";
    let first = ReplicaPlan { changes: vec![suspected], memory: memory.clone(), ..ReplicaPlan::default() };
    assert_eq!(look(&mut attention, first), [expected]);
    assert_eq!(look(&mut attention, ReplicaPlan { memory, ..ReplicaPlan::default() }), [expected]);
    assert_eq!(look(&mut attention, ReplicaPlan::default()), [""; 0]);
}

#[test]
fn targets_that_are_too_large_are_one_error_however_many_they_are() {
    let ids: BTreeSet<TargetId> = (1..=5).map(|n| target(n).id).collect();
    let errors = look(&mut Attention::default(), ReplicaPlan { oversized: ids, ..ReplicaPlan::default() });
    let [error] = &errors[..] else { panic!("{errors:?}") };
    assert!(error.starts_with("larger than a shard of replica-0 may fill: http://db-"), "{error}");
    assert!(error.contains(" of job \"db\" and 2 more; each gets a shard of its own"), "{error}");
    assert!(error.contains("raise --shard.max-series"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
