use narthex_common::{config::PromDuration, fingerprint::Fingerprint};
use narthex_planner::{
    reason::{MoveReason, PlaceReason},
    world::{KnownLoad, OwnBudget, ReplicaView, Seen, ShardView, TargetView},
};

use super::*;

fn id(n: u64) -> TargetId {
    TargetId(Fingerprint(n))
}

/// A world with so many targets and two shards.
fn world(now: i64, targets: u64) -> World {
    let shard = |ordinal: u32| {
        let id = ShardId(format!("shard-{ordinal}"));
        (Ordinal(ordinal), ShardView { id, report: Seen::Never, found_at_start: None, budget: OwnBudget::default() })
    };
    let target = |n| {
        let interval = PromDuration::from_secs(15);
        (id(n), TargetView { job: "job".into(), interval, since: Timestamp(0), probed: KnownLoad::Unknown })
    };
    World {
        now: Timestamp(now),
        seed: 0,
        jobs: BTreeMap::new(),
        targets: (0..targets).map(target).collect(),
        replicas: vec![ReplicaView {
            id: ReplicaId("r".into()),
            scalable: true,
            wanted_shards: 2,
            shards: [shard(0), shard(1)].into_iter().collect(),
            memory: Default::default(),
        }],
    }
}

fn plan(changes: Vec<Change>, unplaced: &[(u64, Unplaced)]) -> Plan {
    let unplaced = unplaced.iter().map(|&(n, why)| (id(n), why)).collect();
    Plan { replicas: [(ReplicaId("r".into()), ReplicaPlan { changes, unplaced, ..ReplicaPlan::default() })].into() }
}

fn place(n: u64) -> Change {
    Change::Place { target: id(n), to: Ordinal(1), why: PlaceReason::MostRoom }
}

fn times(history: &History, n: u64) -> Vec<i64> {
    history.of(id(n)).map(|remembered| remembered.at.0).collect()
}

#[test]
fn what_was_decided_about_a_target_is_remembered_newest_first_with_the_names_of_its_shards() {
    let mut history = History::default();
    assert_eq!(history.recorded_since(), None);
    history.record(&world(10, 2), &plan(vec![place(1), place(2)], &[]));
    let (from, to, why) = (Ordinal(1), Ordinal(0), MoveReason::Drain);
    let moved = Change::Move { target: id(1), from, to, why };
    let mut later = world(20, 2);
    later.replicas[0].shards.get_mut(&Ordinal(1)).unwrap().id = ShardId("renamed".into());
    history.record(&later, &plan(vec![moved.clone()], &[]));
    let remembered: Vec<_> = history.of(id(1)).collect();
    assert_eq!(remembered.iter().map(|r| r.at.0).collect::<Vec<_>>(), [20, 10]);
    assert_eq!(remembered[0].decision, &Decision::Changed(moved));
    let names = [remembered[0].names, remembered[1].names].map(|names| names[&Ordinal(1)].0.as_str());
    assert_eq!(names, ["renamed", "shard-1"]);
    assert_eq!(history.recorded_since(), Some(Timestamp(10)));
    assert_eq!(times(&history, 3), [0; 0]);
}

#[test]
fn a_target_without_a_shard_waits_since_it_has_none_whatever_the_reasons() {
    let mut history = History::default();
    let waiting = |history: &History| history.waiting(id(1)).next().map(|(_, waiting)| (waiting.since.0, waiting.why));
    history.record(&world(10, 1), &plan(vec![], &[(1, Unplaced::LoadUnknown)]));
    history.record(&world(20, 1), &plan(vec![], &[(1, Unplaced::LoadUnknown)]));
    history.record(&world(30, 1), &plan(vec![], &[(1, Unplaced::ShardLimit)]));
    assert_eq!(waiting(&history), Some((10, Unplaced::ShardLimit)));
    assert_eq!(times(&history, 1), [30, 10], "a reason is remembered once");
    history.record(&world(40, 1), &plan(vec![place(1)], &[]));
    assert_eq!(waiting(&history), None);
}

#[test]
fn what_cannot_be_applied_and_is_decided_every_round_is_remembered_once() {
    let mut history = History::default();
    history.record(&world(10, 2), &plan(vec![place(1)], &[]));
    history.record(&world(20, 2), &plan(vec![place(1), place(2)], &[]));
    history.record(&world(30, 2), &plan(vec![place(2), place(1)], &[]));
    assert_eq!((times(&history, 1), times(&history, 2)), (vec![10], vec![20]));
    history.record(&world(40, 2), &plan(vec![], &[]));
    history.record(&world(50, 2), &plan(vec![place(1)], &[]));
    assert_eq!(times(&history, 1), [50, 10]);
}

#[test]
fn a_round_whose_provider_knew_no_shards_changes_nothing() {
    let mut history = History::default();
    history.record(&world(10, 1), &plan(vec![], &[(1, Unplaced::LoadUnknown)]));
    history.record(&world(20, 1), &Plan::default());
    assert!(history.waiting(id(1)).next().is_some());
}

#[test]
fn history_is_bounded_by_the_number_of_targets_or_a_hundred_thousand() {
    let mut history = History::default();
    let many = 300_000;
    let world = world(10, many);
    history.record(&world, &plan((0..many).map(place).collect(), &[]));
    assert_eq!(history.decisions, 300_000, "the placement of everything does not push itself out");
    let few = World { targets: Default::default(), now: Timestamp(20), ..world.clone() };
    history.record(&few, &plan((0..many).map(|n| Change::Settle { target: id(n), from: Ordinal(0) }).collect(), &[]));
    assert_eq!((history.decisions, history.rounds.len()), (KEPT, 1));
    for round in 0..10 {
        let churn = (0..40_000).map(|n| place(round * 40_000 + n)).collect();
        history.record(&World { now: Timestamp(30), ..few.clone() }, &plan(churn, &[]));
        assert!(history.decisions <= KEPT);
    }
    assert!(size_of::<Decision>() <= 48, "{}", size_of::<Decision>());
}
