//! Every scenario that is shipped in `examples/simulate` ends as it says.

use std::{fs, path::Path};

use narthex_planner::Planner;
use narthex_simulator::{Checks, NoMeter, Report, Scenario, play};

fn read(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    // By way of JSON's data model, as the command reads it: YAML's has tags for enums.
    let yaml: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    serde_json::from_value(serde_json::to_value(yaml).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn played(name: &str) -> Report {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/simulate").join(name).with_extension("yaml");
    play(&read(&file), Checks::Sensible, &mut Planner::default(), &mut NoMeter).unwrap()
}

/// What failed, with what there is to know about it.
fn assert_holds(name: &str) {
    let report = played(name);
    let failed: Vec<_> = report.expectations.iter().filter(|expectation| !expectation.holds).collect();
    let broken: Vec<_> = report.rounds.iter().flat_map(|round| round.broken.iter().flatten()).take(5).collect();
    assert!(failed.is_empty(), "{name}: {failed:#?}\nbroken invariants: {broken:#?}\n{:#?}", report.totals);
}

/// A test for every file, so that a failure says which.
macro_rules! scenarios {
    ($($(#[$attribute:meta])* $test:ident = $file:literal,)*) => {
        $($(#[$attribute])*
        #[test]
        fn $test() {
            assert_holds($file);
        })*

        #[test]
        fn every_scenario_has_a_test() {
            let tested = [$($file),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/simulate");
            for file in fs::read_dir(folder).unwrap() {
                let file = file.unwrap().path();
                let name = file.file_stem().unwrap().to_str().unwrap();
                if file.extension().is_some_and(|extension| extension == "yaml") && name != "million-targets" {
                    assert!(tested.contains(&name), "{name} has no test");
                }
            }
        }
    };
}

scenarios! {
    a_day = "a-day",
    coordinator_killed = "coordinator-killed",
    coordinator_restarts = "coordinator-restarts",
    demo = "demo",
    #[ignore = "waits for failover"]
    exploding_at_once = "exploding-at-once",
    #[ignore = "waits for failover"]
    exploding_target = "exploding-target",
    jitter_around_drain = "jitter-around-drain",
    jitter_around_relief = "jitter-around-relief",
    jitter_around_work = "jitter-around-work",
    jobs_come_and_go = "jobs-come-and-go",
    load_doubles = "load-doubles",
    log_normal_pack = "log-normal-pack",
    log_normal_spread = "log-normal-spread",
    #[ignore = "waits for failover"]
    one_of_a_hundred_dies = "one-of-a-hundred-dies",
    #[ignore = "waits for the planner to name oversized targets in every round"]
    oversized_target = "oversized-target",
    pods_come_and_go = "pods-come-and-go",
    #[ignore = "waits for failover"]
    replicas_independent = "replicas-independent",
    #[ignore = "waits for mirrored replicas"]
    replicas_mirrored = "replicas-mirrored",
    #[ignore = "waits for failover"]
    returned_shard = "returned-shard",
    rolling_update = "rolling-update",
    scale_in_at_night = "scale-in-at-night",
    scale_out_without_overload = "scale-out-without-overload",
    slow_shard = "slow-shard",
    unequal_shards = "unequal-shards",
}

/// It takes minutes and gigabytes without optimisation: `cargo test --release -p narthex-simulator -- --ignored`.
#[test]
#[ignore = "too large for a debug build"]
fn million_targets() {
    assert_holds("million-targets");
}
