//! Every scenario that is shipped in `examples/simulate` ends as it says.
#![expect(clippy::unwrap_used, reason = "tests: what they lean on must be so, or they have failed")]
#![expect(clippy::disallowed_methods, reason = "the crate is pure, its tests read files and look at the clock")]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use narthex_planner::Planner;
use narthex_simulator::{Checks, Meter, NoMeter, Report, Scenario, play};

fn read(file: &Path) -> Scenario {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("read {}: {error}", file.display()));
    // By way of JSON's data model, as the command reads it: YAML's has tags for enums.
    let yaml: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    serde_json::from_value(serde_json::to_value(yaml).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn played(name: &str, meter: &mut dyn Meter) -> Report {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/simulate").join(name).with_extension("yaml");
    play(&read(&file), Checks::Sensible, &mut Planner::default(), meter).unwrap()
}

/// What failed, with what there is to know about it.
fn assert_holds(name: &str) {
    assert_right(name, &played(name, &mut NoMeter));
}

fn assert_right(name: &str, report: &Report) {
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
    exploding_at_once = "exploding-at-once",
    exploding_target = "exploding-target",
    heavy_churn = "heavy-churn",
    jitter_around_drain = "jitter-around-drain",
    jitter_around_relief = "jitter-around-relief",
    jitter_around_work = "jitter-around-work",
    jobs_come_and_go = "jobs-come-and-go",
    load_doubles = "load-doubles",
    log_normal_pack = "log-normal-pack",
    log_normal_spread = "log-normal-spread",
    one_of_a_hundred_dies = "one-of-a-hundred-dies",
    oversized_target = "oversized-target",
    pods_come_and_go = "pods-come-and-go",
    replicas_independent = "replicas-independent",
    replicas_mirrored = "replicas-mirrored",
    returned_shard = "returned-shard",
    rolling_update = "rolling-update",
    scale_in_at_night = "scale-in-at-night",
    scale_out_without_overload = "scale-out-without-overload",
    slow_shard = "slow-shard",
    unequal_shards = "unequal-shards",
}

/// This machine's clock, and what Linux says is resident.
struct ThisMachine;

impl Meter for ThisMachine {
    fn time(&mut self, work: &mut dyn FnMut()) -> Duration {
        let began = Instant::now();
        work();
        began.elapsed()
    }

    fn memory(&mut self) -> Option<u64> {
        let statm = fs::read_to_string("/proc/self/statm").ok()?;
        Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096)
    }
}

/// `cargo test --release -p narthex-simulator --test examples -- --ignored --nocapture million` prints what it took.
#[test]
#[ignore = "takes minutes and gigabytes without optimisation"]
fn million_targets() {
    let report = played("million-targets", &mut ThisMachine);
    let slowest = |rounds: std::ops::RangeInclusive<u32>| {
        let planned = report.rounds.iter().filter(|round| rounds.contains(&round.round));
        planned.map(|round| (round.plan_seconds * 1e6).round() / 1e3).fold(0.0, f64::max)
    };
    println!("from nothing, loads unknown: {} ms; all placed: {} ms", slowest(1..=1), slowest(2..=2));
    println!("the slowest of the rounds in which a million are scraped first: {} ms", slowest(3..=6));
    println!("the slowest quiet round: {} ms", slowest(10..=20));
    println!("the slowest round of 100 changes: {} ms", slowest(21..=40));
    println!("resident, fleet and all: {} MiB", report.totals.memory_bytes.unwrap_or(0) >> 20);
    assert_right("million-targets", &report);
}
