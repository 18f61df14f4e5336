use std::time::Duration;

use narthex_common::{
    assignment::{AssignedTarget, AssignmentUpdate, Revision, TargetState},
    fingerprint::Fingerprint,
    load::{Load, Series},
    target::{Target, TargetId},
};

use super::*;
use crate::{
    apply::ShardChange,
    observe::{
        fake::{Asked, FakeShard, Fleet, Link},
        world_replicas,
    },
    provider::Provider as _,
};

const CONFIG: Fingerprint = Fingerprint(7);
const LIGHT: Load = Load { exposed: Series(120), kept: Series(100) };

fn target(instance: &str) -> Target {
    let labels = [("instance", instance)].into_iter().collect();
    Target::new("node".into(), labels, format!("http://{instance}/metrics"))
}

fn id(instance: &str) -> TargetId {
    target(instance).id
}

/// Puts targets on a shard behind the observer's back, as a coordinator before this one did.
async fn put(fleet: &Fleet, shard: u32, revision: u64, put: &[&str], remove: &[&str]) {
    let url = fleet.replicas().await.unwrap()[0].shards[shard as usize].url.clone();
    let assigned = |instance: &&str| AssignedTarget {
        target: target(instance),
        state: TargetState::Normal,
        since: None,
        load: None,
    };
    let update = AssignmentUpdate {
        base: Some(Revision(revision - 1)),
        revision: Revision(revision),
        config: CONFIG,
        put: put.iter().map(assigned).collect(),
        remove: remove.iter().map(|instance| id(instance)).collect(),
        ..AssignmentUpdate::default()
    };
    fleet.put_assignment(&url, &update).await.unwrap();
}

fn observer(fleet: &Arc<Fleet>) -> Observer {
    Observer::new(Arc::clone(fleet) as Arc<dyn ShardClient>, Duration::from_millis(50))
}

async fn look(observer: &mut Observer, fleet: &Fleet, at: i64) -> Vec<ObservedShard> {
    fleet.asked();
    let mut observed = observer.observe(fleet.replicas().await.unwrap(), Timestamp(at)).await;
    observed.replicas.remove(0).shards
}

fn fresh(shard: &ObservedShard) -> &ShardState {
    let Seen::Fresh(state) = &shard.seen else { panic!("{:?}, {:?}", shard.seen, shard.error) };
    state
}

#[tokio::test]
async fn a_new_coordinator_adopts_what_shards_scrape() {
    let fleet = Fleet::new(2, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    fleet.scrape_all(|_| LIGHT);
    let observed = observer(&fleet).observe(fleet.replicas().await.unwrap(), Timestamp(5)).await;
    let world = world_replicas(&observed, CONFIG);
    let Seen::Fresh(report) = &world[0].shards[&Ordinal(0)].report else { panic!() };
    assert!(report.config_matches && report.ready);
    assert_eq!(report.targets.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([id("a"), id("b")]));
    let held = &report.targets[&id("a")];
    assert_eq!((held.job.as_str(), held.state, held.load, held.scrapes), ("node", TargetState::Normal, Some(LIGHT), 1));
    assert_eq!(world[0].shards[&Ordinal(1)].found_at_start, Some(Timestamp(5)));
}

#[tokio::test]
async fn a_quiet_round_asks_for_changes_only() {
    let fleet = Fleet::new(1, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    assert_eq!(fleet.asked(), Asked { whole_reports: 1, assignments: 1, ..Asked::default() });
    let shards = look(&mut observer, &fleet, 2).await;
    assert_eq!(fleet.asked(), Asked { changes: 1, ..Asked::default() });
    assert_eq!(fresh(&shards[0]).targets.len(), 2);
}

#[tokio::test]
async fn changes_are_merged_into_what_is_known() {
    let fleet = Fleet::new(1, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    fleet.with_shard(0, |shard| shard.scrape(id("b"), LIGHT));
    let shards = look(&mut observer, &fleet, 2).await;
    let targets = &fresh(&shards[0]).targets;
    assert_eq!((targets[&id("a")].load, targets[&id("b")].load), (None, Some(LIGHT)));
    assert!(fresh(&shards[0]).report.targets.is_empty(), "they are kept in one place");
}

#[tokio::test]
async fn another_revision_fetches_the_assignment_and_forgets_what_left() {
    let fleet = Fleet::new(1, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    put(&fleet, 0, 2, &["c"], &["a"]).await;
    let shards = look(&mut observer, &fleet, 2).await;
    assert_eq!(fleet.asked(), Asked { changes: 1, assignments: 1, ..Asked::default() });
    let state = fresh(&shards[0]);
    assert_eq!(state.targets.keys().copied().collect::<BTreeSet<_>>(), BTreeSet::from([id("b"), id("c")]));
    assert_eq!(state.assignment.revision, Revision(2));
}

#[tokio::test]
async fn a_sidecar_that_restarted_knows_no_cursor_and_tells_everything() {
    let fleet = Fleet::new(1, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    fleet.scrape_all(|_| LIGHT);
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    fleet.with_shard(0, FakeShard::restart);
    let shards = look(&mut observer, &fleet, 2).await;
    assert_eq!(fleet.asked(), Asked { whole_reports: 1, assignments: 1, ..Asked::default() });
    assert_eq!(fresh(&shards[0]).targets[&id("a")].scrapes, 0, "what it counted before is gone there and here");
}

#[tokio::test]
async fn a_shard_that_took_targets_and_fell_silent_has_them() {
    let fleet = Fleet::new(1, CONFIG);
    put(&fleet, 0, 1, &["a", "b"], &[]).await;
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    let replica = fleet.replicas().await.unwrap().remove(0);
    let assigned = |instance: &str| AssignedTarget {
        target: target(instance),
        state: TargetState::Normal,
        since: Some(Timestamp(1)),
        load: Some(LIGHT),
    };
    let update = AssignmentUpdate {
        base: Some(Revision(1)),
        revision: Revision(2),
        config: CONFIG,
        put: vec![assigned("c")],
        remove: vec![id("a")],
        ..AssignmentUpdate::default()
    };
    fleet.put_assignment(&replica.shards[0].url, &update).await.unwrap();
    let taken = ShardChange { replica: replica.id, address: replica.shards[0].clone(), update };
    observer.expect(&Applied { taken: vec![Arc::new(taken)], errors: Vec::new() });
    fleet.with_shard(0, |shard| shard.link = Link::Refused);
    for at in [2, 3] {
        let shards = look(&mut observer, &fleet, at).await;
        let Seen::Stale { at, last } = &shards[0].seen else { panic!("{:?}", shards[0].seen) };
        let targets: BTreeSet<_> = last.assignment.targets.keys().copied().collect();
        assert_eq!((*at, targets), (Timestamp(1), BTreeSet::from([id("b"), id("c")])));
    }
    fleet.with_shard(0, |shard| shard.link = Link::Up);
    let shards = look(&mut observer, &fleet, 4).await;
    assert_eq!(fleet.asked(), Asked { changes: 1, ..Asked::default() }, "it need not be fetched whole");
    assert_eq!(fresh(&shards[0]).assignment.revision, Revision(2));
}

#[tokio::test]
async fn a_shard_that_does_not_answer_keeps_what_it_said_last() {
    let fleet = Fleet::new(3, CONFIG);
    put(&fleet, 0, 1, &["a"], &[]).await;
    fleet.with_shard(2, |shard| shard.link = Link::Refused);
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    fleet.with_shard(0, |shard| shard.link = Link::Hangs);
    let shards = look(&mut observer, &fleet, 2).await;
    let Seen::Stale { at, last } = &shards[0].seen else { panic!("{:?}", shards[0].seen) };
    assert_eq!((*at, last.targets.len()), (Timestamp(1), 1));
    assert_eq!(shards[0].error.as_deref(), Some("ask for its report: no answer within 50ms"));
    fresh(&shards[1]);
    assert!(matches!(shards[2].seen, Seen::Never));
    assert_eq!(shards[2].error.as_deref(), Some("ask for its report: connection refused"));

    fleet.with_shard(0, |shard| shard.link = Link::Up);
    let shards = look(&mut observer, &fleet, 3).await;
    fresh(&shards[0]);
    assert_eq!(fleet.asked().changes, 2, "it goes on from the last cursor");
}

#[tokio::test]
async fn whoever_answers_in_place_of_a_shard_that_could_not_start_is_not_asked() {
    let fleet = Fleet::new(1, CONFIG);
    let mut replicas = fleet.replicas().await.unwrap();
    replicas[0].shards[0].problem = Some("port 19100 is taken".into());
    let observed = observer(&fleet).observe(replicas, Timestamp(1)).await;
    assert_eq!(observed.replicas[0].shards[0].error.as_deref(), Some("port 19100 is taken"));
    assert_eq!(fleet.asked(), Asked::default());
}

#[tokio::test]
async fn a_shard_that_appears_later_was_not_found_at_the_start() {
    let fleet = Fleet::new(1, CONFIG);
    let mut observer = observer(&fleet);
    look(&mut observer, &fleet, 1).await;
    fleet.scale(&Fleet::replica_id(), 2).await.unwrap();
    let shards = look(&mut observer, &fleet, 2).await;
    assert_eq!(shards.iter().map(|s| s.found_at_start).collect::<Vec<_>>(), [Some(Timestamp(1)), None]);
}

#[tokio::test]
async fn a_round_can_be_moved_between_threads() {
    let fleet = Fleet::new(1, CONFIG);
    let mut observer = observer(&fleet);
    let replicas = fleet.replicas().await.unwrap();
    tokio::spawn(async move { drop(observer.observe(replicas, Timestamp(1)).await) }).await.unwrap();
}
