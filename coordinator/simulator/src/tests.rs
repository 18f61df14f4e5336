//! Tests of the simulator itself: it must see what a wrong planner does.

use narthex_planner::{Plan, Planner, Policy, World};

use crate::{Checks, NoMeter, Plans, Report, Scenario, play};

fn scenario(json: serde_json::Value) -> Scenario {
    serde_json::from_value(json).expect("the scenario can be read")
}

fn played(scenario: &Scenario, planner: &mut dyn Plans) -> Report {
    play(scenario, Checks::All, planner, &mut NoMeter).expect("the scenario can be played")
}

/// Six targets, of which two fit on a shard.
fn demo() -> Scenario {
    scenario(serde_json::json!({
        "rounds": 40,
        "policy": {"max_series": 30_000},
        "shards": {"count": 1},
        "targets": [{"job": "demo", "count": 6, "scrape_interval": "10s", "load": {"constant": 10_045}}],
        "expect": {"missed": 0, "shards": 3, "moves": 0},
    }))
}

#[test]
fn six_targets_come_to_rest_two_by_two() {
    let report = played(&demo(), &mut Planner::default());
    assert!(report.holds(), "{:#?}", report.expectations);
    let last = report.rounds.last().unwrap();
    assert_eq!((last.shards_running, last.never_scraped, report.totals.planned_changes.places), (3, 0, 6));
}

#[test]
fn the_same_seed_gives_the_same_report() {
    let mut scenario = demo();
    scenario.targets[0].load = crate::scenario::Distribution::LogNormal { median: 5_000.0, sigma: 1.0 };
    scenario.targets[0].churn_per_round = 0.5;
    let reports = [7, 7, 8].map(|seed| {
        scenario.seed = seed;
        played(&scenario, &mut Planner::default())
    });
    assert_eq!(reports[0], reports[1]);
    assert_ne!(reports[0].rounds, reports[2].rounds);
}
