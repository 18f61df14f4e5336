use narthex_planner::{
    ReplicaPlan,
    memory::{Suspect, Suspicion},
    reason::{Change, PlaceReason, Unplaced},
};
use prometheus_client::registry::Registry;

use super::{super::RoundMetrics, *};

#[test]
fn targets_that_no_shard_takes_are_counted_by_why() {
    let mut snapshot = snapshot();
    let unplaced = [(target("a:9100").id, Unplaced::ShardLimit)].into_iter().collect();
    snapshot.plan.replicas.insert(ReplicaId("replica-0".into()), ReplicaPlan { unplaced, ..ReplicaPlan::default() });
    let mut registry = Registry::default();
    RoundMetrics::register(&mut registry).show(&snapshot);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    let gauge = |reason| format!("narthex_coordinator_unplaced_targets{{replica=\"replica-0\",reason=\"{reason}\"}}");
    assert!(text.contains(&format!("{} 1", gauge("shard_limit"))), "{text}");
    assert!(text.contains(&format!("{} 0", gauge("load_unknown"))), "{text}");
}

#[test]
fn a_replica_that_is_gone_is_not_shown_in_metrics() {
    let mut registry = Registry::default();
    let metrics = RoundMetrics::register(&mut registry);
    let planned = |replica: &str| {
        let replicas = BTreeMap::from([(ReplicaId(replica.into()), ReplicaPlan::default())]);
        Snapshot { plan: Plan { replicas }, ..snapshot() }
    };
    let shown = |snapshot: &Snapshot| {
        metrics.show(snapshot);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.lines().filter(|line| line.contains("wanted_shards{")).map(str::to_owned).collect::<Vec<_>>()
    };
    let wanted = |replica: &str| [format!("narthex_coordinator_wanted_shards{{replica=\"{replica}\"}} 0")];
    assert_eq!(shown(&planned("old")), wanted("old"));
    assert_eq!(shown(&planned("new")), wanted("new"));
    assert_eq!(shown(&snapshot()), wanted("new"), "a provider that cannot list them is no news");
}

#[test]
fn a_scrape_during_a_round_finds_every_series_that_stays() {
    let mut registry = Registry::default();
    let metrics = RoundMetrics::register(&mut registry);
    let snapshot = snapshot();
    metrics.show(&snapshot);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let stopped = stopped;
            while stopped.try_recv().is_err() {
                metrics.show(&snapshot);
            }
        });
        for _ in 0..200 {
            let mut text = String::new();
            prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
            for series in [
                "targets{job=\"node\",state=\"active\"} 2",
                "shards{replica=\"replica-0\",state=\"fresh\"} 1",
                "shards{replica=\"replica-0\",state=\"stale\"} 0",
                "shard_targets{replica=\"replica-0\",shard=\"shard-0\"} 1",
            ] {
                assert!(text.contains(&format!("narthex_coordinator_{series}\n")), "{series} is missing in {text}");
            }
        }
        stop.send(()).unwrap();
    });
}

#[test]
fn changes_are_counted_by_reason_and_suspects_and_oversized_targets_are_shown() {
    let id = target("a:9100").id;
    let place = Change::Place { target: id, to: Ordinal(0), why: PlaceReason::TakenOver { from: Ordinal(1) } };
    let mut plan = ReplicaPlan { changes: vec![place], oversized: [id].into(), ..ReplicaPlan::default() };
    plan.memory
        .suspects
        .insert(id, Suspect { since: Timestamp(0), why: Suspicion::Grew, isolated_on: None, lives_since: None });
    let mut snapshot = snapshot();
    snapshot.plan.replicas.insert(ReplicaId("replica-0".into()), plan);
    let mut registry = Registry::default();
    RoundMetrics::register(&mut registry).show(&snapshot);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for series in [
        "changes_total{kind=\"place\",reason=\"taken_over\"} 1",
        "changes_total{kind=\"move\",reason=\"drain\"} 0",
        "oversized_targets{replica=\"replica-0\"} 1",
        "suspect_targets{replica=\"replica-0\"} 1",
        "taken_over_targets{replica=\"replica-0\"} 0",
        "planning_duration_seconds_count 1",
    ] {
        assert!(text.contains(&format!("narthex_coordinator_{series}\n")), "{series} is missing in {text}");
    }
}
