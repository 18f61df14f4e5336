use narthex_planner::{
    ReplicaPlan, ShardPlan,
    memory::{Suspect, Suspicion},
    plan::PlannedTarget,
    reason::{Change, MoveReason, PlaceReason, ScaleReason, Unplaced},
};

use super::{
    super::{
        PlanView,
        plan::{PlanQuery, Planned, Targets, plan_view},
        plan_table::plan_table,
        table::concerns,
    },
    *,
};

/// `a:9100` moves away from `shard-0`, `b:9100` has no room, and the number of shards goes up for it.
pub(super) fn with_a_plan() -> Snapshot {
    let (moved, waits) = (target("a:9100").id, target("b:9100").id);
    let why = MoveReason::OverMemory { by: Series(40_000) };
    let mut plan = ReplicaPlan {
        wanted_shards: 2,
        changes: vec![
            Change::Move { target: moved, from: Ordinal(0), to: Ordinal(1), why },
            Change::Scale { from: 1, to: 2, why: ScaleReason::Unplaced { targets: 1 } },
        ],
        unplaced: [(waits, Unplaced::WaitingForShards)].into(),
        oversized: [moved].into(),
        ..ReplicaPlan::default()
    };
    plan.memory.suspects.insert(
        moved,
        Suspect { since: Timestamp(5), why: Suspicion::DiedAgain, isolated_on: None, lives_since: None },
    );
    let mut snapshot = snapshot();
    let mut second = shard_view(&[]);
    second.id = ShardId("shard-1".into());
    snapshot.world.replicas[0].shards.insert(Ordinal(1), second);
    let put = PlannedTarget { state: TargetState::Normal, load: Load::ZERO };
    plan.shards.insert(Ordinal(1), ShardPlan { put: [(moved, put)].into(), ..ShardPlan::default() });
    snapshot.plan.replicas.insert(ReplicaId("replica-0".into()), plan);
    snapshot.errors.push("something failed".into());
    snapshot.history.record(&snapshot.world, &snapshot.plan);
    snapshot
}

fn plan_of(snapshot: &Snapshot, query: &str) -> Value {
    let Snapshot { world, discovered, observed, plan, errors, .. } = snapshot;
    let targets = Targets { world, discovered, observed };
    let (round, planning) = (Duration::from_millis(250), Duration::from_millis(3));
    let planned = Planned { targets, plan, errors, round, planning };
    serde_json::to_value(plan_view(&planned, &PlanQuery::parse(query).unwrap())).unwrap()
}

#[test]
fn a_plan_says_what_changes_and_why_for_people_and_programs() {
    let view = plan_of(&with_a_plan(), "");
    assert_eq!((&view["at"], &view["round_seconds"]), (&json!("1970-01-01T00:00:00.000Z"), &json!(0.25)));
    assert_eq!((&view["planning_seconds"], &view["errors"]), (&json!(0.003), &json!(["something failed"])));
    let replica = &view["replicas"][0];
    assert_eq!(
        replica["changes"][0],
        json!({
            "change": "move",
            "target": target("a:9100").id,
            "from": 0,
            "to": 1,
            "why": {"over_memory": {"by": 40_000}},
            "job": "node",
            "instance": "a:9100",
            "url": "http://a:9100/metrics",
            "from_shard": "shard-0",
            "to_shard": "shard-1",
            "text": "moves from shard-0 to shard-1: shard-0 holds 40,000 series more than its budget",
        })
    );
    assert_eq!(replica["changes"][1]["text"], "from 1 to 2 shards: 1 target found no room");
    assert_eq!(replica["unplaced"][0]["why"], "waiting_for_shards");
    assert_eq!(replica["unplaced"][0]["instance"], "b:9100");
    assert_eq!(replica["oversized"][0]["shards"], json!(["shard-0", "shard-1"]));
    let text =
        "is larger than a shard may fill, with 100 series and 6.733 samples a second, and gets a shard of its own";
    assert_eq!(replica["oversized"][0]["text"], text);
    assert_eq!(replica["suspects"][0]["since"], "1970-01-01T00:00:00.005Z");
    assert_eq!(
        view["totals"],
        json!({
            "shards": 2, "wanted_shards": 2, "targets": 2, "places": 0, "moves": 1, "removed": 0,
            "changes": {"move": 1, "scale": 1}, "unplaced": {"waiting_for_shards": 1},
            "oversized": 1, "suspects": 1, "taken_over": 0,
        })
    );
}

#[test]
fn a_plan_is_read_back_as_it_was_written() {
    let view = plan_of(&with_a_plan(), "");
    let read: PlanView = serde_json::from_value(view.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), view);
}

#[test]
fn lists_are_cut_and_filtered_and_totals_stay() {
    let snapshot = with_a_plan();
    let listed = |query: &str| {
        let view = plan_of(&snapshot, query);
        let replica = &view["replicas"][0];
        let length = |list: &str| replica[list].as_array().unwrap().len();
        assert_eq!(view["totals"]["changes"], json!({"move": 1, "scale": 1}));
        (["changes", "unplaced", "oversized", "suspects"].map(length), replica["matching"]["changes"].as_u64().unwrap())
    };
    assert_eq!(listed(""), ([2, 1, 1, 1], 2));
    assert_eq!(listed("limit=0"), ([0, 0, 0, 0], 2));
    assert_eq!(listed("limit=1"), ([1, 1, 1, 1], 2));
    assert_eq!(listed("job=^no"), ([1, 1, 1, 1], 1), "a change of the number of shards is of no job");
    assert_eq!(listed("job=other"), ([0, 0, 0, 0], 0));
    assert_eq!(listed("shard=shard-1"), ([1, 0, 1, 1], 1));
    assert_eq!(listed("shard=shard-2"), ([0, 0, 0, 0], 0));
    assert_eq!(listed("change=scale"), ([1, 1, 1, 1], 1));
    assert_eq!(listed("change=scale&change=move"), ([2, 1, 1, 1], 2));
}

#[test]
fn a_query_that_would_be_overlooked_is_refused() {
    let error = |query: &str| PlanQuery::parse(query).unwrap_err();
    assert_eq!(error("limit=many"), "limit is \"many\"; it may be a number up to 100000");
    assert_eq!(error("limit=100001"), "limit is \"100001\"; it may be a number up to 100000");
    assert!(error("change=moves").starts_with("change is \"moves\"; it may be one of place, move, "));
    assert!(error("job=(").starts_with("job \"(\": regex parse error"), "{}", error("job=("));
    assert_eq!(error("jobs=a"), "there is no parameter \"jobs\"; there are limit, job, shard and change");
}

#[test]
fn a_target_that_is_forgotten_is_named_by_the_shard_that_has_it() {
    let mut snapshot = snapshot();
    let gone = target("a:9100").id;
    snapshot.world.targets.remove(&gone);
    let changes = vec![
        Change::Forget { target: gone, from: Ordinal(0) },
        Change::Place { target: target("c:9100").id, to: Ordinal(0), why: PlaceReason::MostRoom },
    ];
    let plan = ReplicaPlan { changes, ..ReplicaPlan::default() };
    snapshot.plan.replicas.insert(ReplicaId("replica-0".into()), plan);
    let view = plan_of(&snapshot, "");
    let [forget, unknown] = &view["replicas"][0]["changes"].as_array().unwrap()[..] else { panic!("{view}") };
    assert_eq!((&forget["url"], &forget["from_shard"]), (&json!("http://a:9100/metrics"), &json!("shard-0")));
    assert_eq!(unknown.get("url"), None);
    let of_its_job = plan_of(&snapshot, "job=node&change=forget");
    assert_eq!(of_its_job["replicas"][0]["matching"]["changes"], 1);
}

#[test]
fn a_target_without_a_shard_says_so_beside_what_prometheus_shows() {
    let view =
        serde_json::to_value(targets_view(&with_a_plan(), &LiveReports::new(), &TargetsQuery::default())).unwrap();
    let targets = view["activeTargets"].as_array().unwrap();
    let unplaced: Vec<_> = targets.iter().filter_map(|target| target.get("unplaced")).collect();
    let text = "there is no room on the shards that answer; new or silent ones that have it are on their way";
    assert_eq!(unplaced, [&json!({"replica-0": {"reason": "waiting_for_shards", "text": text}})]);
}

#[test]
fn a_plan_is_a_table_for_people() {
    let view: PlanView = serde_json::from_value(plan_of(&with_a_plan(), "limit=1")).unwrap();
    let text = plan_table(&view);
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    assert_eq!(lines[0], "The round of 1970-01-01T00:00:00.000Z took 0.250 s, planning 0.003 s.");
    let summary =
        "replica-0: 2 shards, 2 targets, move 1, scale 1, unplaced 1 (waiting_for_shards), oversized 1, suspects 1";
    assert_eq!(lines[2], summary);
    assert!(lines[4].contains("moves from shard-0 to shard-1"), "{text}");
    assert_eq!(lines[lines.len() - 2..], ["… and 1 more (flag --limit)", "something failed"]);
}

#[test]
fn the_status_says_what_somebody_may_have_to_look_at() {
    let mut view: PlanView = serde_json::from_value(plan_of(&with_a_plan(), "limit=0")).unwrap();
    assert_eq!(
        concerns(&view),
        "\nreplica-0: 1 without a shard (waiting_for_shards): there is no room on the shards that answer; new or silent \
         ones that have it are on their way\nreplica-0: 1 larger than a shard may fill; each gets a shard of its own, or \
         waits for one\nreplica-0: 1 suspected of having killed a shard; each gets a shard of its own, or waits for \
         one\nsomething failed"
    );
    view.errors.clear();
    view.replicas[0].totals = Default::default();
    assert_eq!(concerns(&view), "");
}
