//! Tests of the simulator itself: it must see what a wrong planner does.

use narthex_common::config::PromDuration;
use narthex_planner::{Plan, Planner, Policy, World, reason::Change, world::Seen};

use crate::{Checks, NoMeter, Plans, Report, Scenario, play, play_on, scenario::Event};

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

/// Two shards, of which one grows over its budget while the other has room.
fn relief() -> Scenario {
    scenario(serde_json::json!({
        "rounds": 60,
        "policy": {"max_series": 1_000},
        "shards": {"count": 2, "scalable": false},
        "targets": [
            {"job": "grows", "count": 2, "load": {"constant": 440}},
            {"job": "stays", "count": 10, "load": {"constant": 20}},
        ],
        "events": [{"round": 20, "what": {"load": {"job": "grows", "target": 0, "times": 2.5}}}],
    }))
}

#[test]
fn a_move_of_the_real_planner_misses_nothing_and_is_scraped_twice_for_a_while() {
    let report = played(&relief(), &mut Planner::default());
    let totals = &report.totals;
    assert!(totals.planned_changes.moves > 0, "{totals:#?}");
    assert_eq!((totals.missed, totals.torn, totals.broken), (0, 0, 0));
    assert_eq!(totals.planned_changes.settles, totals.planned_changes.moves);
    assert!(totals.double_scrapes >= totals.planned_changes.moves);
    assert_eq!(report.rounds.last().unwrap().double_scraped, 0);
}

#[test]
fn a_planner_that_lets_go_too_early_is_caught() {
    let mut planner = Planner::default();
    let mut hasty = |world: &World, policy: &Policy| -> Plan {
        let mut plan = planner.plan(world, policy);
        for plan in plan.replicas.values_mut() {
            for change in &plan.changes {
                if let Change::Move { target, from, .. } = change {
                    let source = plan.shards.entry(*from).or_default();
                    source.put.remove(target);
                    source.remove.insert(*target);
                }
            }
        }
        plan
    };
    let report = played(&relief(), &mut hasty);
    assert!(report.totals.torn > 0 && report.totals.missed >= report.totals.torn, "{:#?}", report.totals);
    assert!(report.totals.broken > 0 && !report.holds(), "the invariants say so, too");
}

#[test]
fn a_planner_that_never_settles_is_caught() {
    let mut planner = Planner::default();
    let mut holds_on = |world: &World, policy: &Policy| -> Plan {
        let mut plan = planner.plan(world, policy);
        for shard in plan.replicas.values_mut().flat_map(|plan| plan.shards.values_mut()) {
            shard.remove.clear();
        }
        plan
    };
    let report = played(&relief(), &mut holds_on);
    assert!(report.rounds.last().unwrap().double_scraped > 0);
    assert_eq!(report.totals.missed, 0);
}

#[test]
fn what_a_dead_shard_held_is_missed_and_not_torn() {
    let mut scenario = relief();
    scenario.events = vec![event(serde_json::json!({"at": "2m", "what": {"shard_dies": {"shard": 0, "for": "1m"}}}))];
    let report = played(&scenario, &mut Planner::default());
    let totals = &report.totals;
    // A minute and up to an interval until the first scrape, every 15 s: 4 or 5 scrapes of each target it holds.
    assert!((4 * 5..=5 * 7).contains(&totals.missed), "{totals:#?}");
    assert_eq!((totals.torn, totals.planned_changes.places_again), (0, 0));
}

#[test]
fn what_happens_to_a_shard_that_is_not_there_says_so() {
    let mut scenario = relief();
    let dies = |shard| event(serde_json::json!({"round": 2, "what": {"shard_dies": {"shard": shard}}}));
    scenario.events = vec![dies(0), dies(99)];
    let report = played(&scenario, &mut Planner::default());
    assert_eq!(report.rounds[1].events, ["shard 0/0 dies", "shard 0/99 dies (there is none)"]);
}

#[test]
fn a_restarted_shard_counts_its_scrapes_anew() {
    let mut scenario = relief();
    scenario.events = vec![event(serde_json::json!({"round": 20, "what": {"rolling_update": {"down": "30s"}}}))];
    let mut fewest = u32::MAX;
    let mut planner = Planner::default();
    let mut watching = |world: &World, policy: &Policy| -> Plan {
        if world.now.0 > 1_795_262_345_000 + 200_000 {
            for shard in world.replicas[0].shards.values() {
                if let Seen::Fresh(report) = &shard.report {
                    fewest = report.targets.values().map(|held| held.scrapes).min().unwrap_or(9).min(fewest);
                }
            }
        }
        planner.plan(world, policy)
    };
    let report = played(&scenario, &mut watching);
    assert_eq!(fewest, 0);
    assert_eq!(report.totals.planned_changes.takeovers, 0);
}

#[test]
fn a_shard_is_killed_by_what_it_scrapes_and_returns() {
    let mut scenario = relief();
    scenario.shards.dies_above = Some(1.05);
    scenario.shards.returns_after = Some(PromDuration::from_secs(60));
    scenario.policy.relief = false;
    let report = played(&scenario, &mut Planner::default());
    assert!(report.totals.shards_killed > 1, "it dies again whenever it returns: {:#?}", report.totals);
}

#[test]
fn a_new_target_counts_as_never_scraped_until_its_first_scrape() {
    let mut scenario = relief();
    scenario.policy.max_shards = 1;
    scenario.shards.count = 0;
    let report = played(&scenario, &mut Planner::default());
    assert_eq!((report.totals.never_scraped, report.totals.missed), (12, 0));
}

#[test]
fn a_scenario_that_makes_no_sense_names_its_field() {
    let refused = |change: fn(&mut Scenario)| {
        let mut scenario = relief();
        change(&mut scenario);
        scenario.check().unwrap_err().to_string()
    };
    assert_eq!(refused(|s| s.targets[1].job = "grows".into()), "targets[1].job: there are two jobs grows");
    assert_eq!(refused(|s| s.targets[0].dropped = 1.0), "targets[0].dropped: it must be a share from 0 to below 1");
    assert_eq!(refused(|s| s.events[0].round = None), "events[0]: give either round or at");
    let unknown = refused(|s| {
        s.events = vec![event(serde_json::json!({"round": 1, "what": {"job_goes": {"job": "x"}}}))];
    });
    assert_eq!(unknown, "events[0].what: there is no job x");
    assert!(refused(|s| s.policy.max_moves = 0).starts_with("policy: at least one move"));
    let mut scenario = relief();
    scenario.policy.max_moves = 0;
    assert!(std::error::Error::source(&scenario.check().unwrap_err()).is_none(), "it is said once");
}

#[test]
fn a_saved_world_goes_on_as_it_was() {
    let mut last = None;
    let mut planner = Planner::default();
    let mut saving = |world: &World, policy: &Policy| -> Plan {
        last = Some(world.clone());
        planner.plan(world, policy)
    };
    let scenario = relief();
    played(&scenario, &mut saving);
    let (world, policy) = (last.unwrap(), scenario.check().unwrap());
    let interval = PromDuration::from_secs(10);
    let report = play_on(&world, &policy, 20, interval, Checks::All, &mut Planner::default(), &mut NoMeter).unwrap();
    assert!(report.holds(), "{:#?}", report.expectations);
    let totals = &report.totals;
    assert!(totals.planned_changes.is_empty(), "{totals:#?}");
    assert_eq!((totals.missed, totals.never_scraped, totals.double_scrapes), (0, 0, 0));
}

fn event(json: serde_json::Value) -> Event {
    serde_json::from_value(json).expect("the event can be read")
}
