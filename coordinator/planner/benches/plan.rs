//! How long rounds take to plan, and what a world takes of memory, from ten thousand targets to a million: everything
//! from nothing, and a settled fleet in which a hundred targets changed. Prints a table, and how far the numbers are from
//! what they must keep to at a million targets.
//!
//! `cargo bench -p narthex-planner --bench plan`
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench that cannot be set up has failed; it prints, and looks at the clock and at its own process"
)]

#[path = "plan/fleet.rs"]
mod fleet;

use std::{
    hint::black_box,
    process::Command,
    time::{Duration, Instant},
};

use narthex_common::load::Series;
use narthex_planner::{Plan, Planner, Policy, plan, policy::Settings};

use crate::fleet::{Fleet, nothing_placed, shards_for};

/// What changes in a round of a settled fleet.
const CHANGES: u64 = 100;

/// Each time is the best of so many runs: other processes only ever add to it.
const RUNS: u32 = 5;

/// The limits at a million targets on a thousand shards.
const FROM_NOTHING: Duration = Duration::from_secs(1);
const CHANGED: Duration = Duration::from_millis(20);
const MEMORY: u64 = 1024;

fn main() {
    if let Some(targets) = std::env::args().skip_while(|arg| arg != "--memory-of").nth(1) {
        println!("{}", memory(targets.parse().expect("the number of targets is a number")));
        return;
    }
    println!(
        "{:>9} {:>6} {:>6}  {:>12} {:>9}  {:>12} {:>9}  {:>11} {:>11}  {:>12}",
        "targets",
        "shards",
        "aim",
        "from nothing",
        "a target",
        "no shard yet",
        "a target",
        "100 changes",
        "of it read",
        "bytes/target"
    );
    let mut largest = Figures::default();
    for targets in [10_000, 100_000, 1_000_000] {
        let bytes = memory_in_a_process_of_its_own(targets);
        for aim in [Aim::Spread, Aim::Pack] {
            let figures = Figures { bytes, ..measure(targets, &aim.policy()) };
            println!("{}", figures.row(targets, aim));
            if targets == 1_000_000 {
                largest = largest.max(&figures);
            }
        }
    }
    println!("\nat a million targets, the worse of both aims, against the limit:");
    verdict("from nothing", largest.from_nothing, FROM_NOTHING);
    verdict("100 changes", largest.changed, CHANGED);
    println!("  memory of world and planner: {} of {MEMORY} bytes a target", largest.bytes);
}

fn verdict(what: &str, measured: Duration, limit: Duration) {
    println!("  {what}: {measured:.1?} of {limit:.1?} ({:.0} %)", measured.as_secs_f64() / limit.as_secs_f64() * 100.0);
}

#[derive(Clone, Copy, Debug)]
enum Aim {
    Spread,
    Pack,
}

impl Aim {
    fn policy(self) -> Policy {
        let max_idle_time = match self {
            Self::Spread => None,
            Self::Pack => Some(Duration::from_secs(600)),
        };
        let settings = Settings { max_series: Series(2_000_000), max_idle_time, ..Settings::default() };
        Policy::new(settings).expect("the settings are sound")
    }
}

#[derive(Default)]
struct Figures {
    from_nothing: Duration,
    no_shard: Duration,
    changed: Duration,
    /// The part of `changed` that goes into bringing the world up to date.
    read: Duration,
    bytes: u64,
}

impl Figures {
    fn max(&self, other: &Self) -> Self {
        Self {
            from_nothing: self.from_nothing.max(other.from_nothing),
            no_shard: self.no_shard.max(other.no_shard),
            changed: self.changed.max(other.changed),
            read: self.read.max(other.read),
            bytes: self.bytes.max(other.bytes),
        }
    }

    fn row(&self, targets: u64, aim: Aim) -> String {
        #[expect(clippy::cast_precision_loss, reason = "for display")]
        let each = |time: Duration| format!("{:.0} ns", time.as_secs_f64() * 1e9 / targets as f64);
        format!(
            "{targets:>9} {:>6} {:>6}  {:>12} {:>9}  {:>12} {:>9}  {:>11} {:>11}  {:>12}",
            shards_for(targets),
            format!("{aim:?}").to_lowercase(),
            format!("{:.1?}", self.from_nothing),
            each(self.from_nothing),
            format!("{:.1?}", self.no_shard),
            each(self.no_shard),
            format!("{:.2?}", self.changed),
            format!("{:.2?}", self.read),
            self.bytes,
        )
    }
}

fn measure(targets: u64, policy: &Policy) -> Figures {
    let world = nothing_placed(targets, shards_for(targets));
    let from_nothing = best(|| plan(black_box(&world), policy));
    let without = nothing_placed(targets, 0);
    let no_shard = best(|| plan(black_box(&without), policy));
    drop(without);

    let first = plan(&world, policy);
    assert!(first.replicas.values().all(|replica| replica.unplaced.is_empty()), "everything finds room");
    let mut fleet = Fleet::settled(world, &first);
    drop(first);
    let mut planner = Planner::default();
    assert_eq!(changes(&planner.plan(&fleet.world, policy)), 0, "it is settled");
    let round = |_| {
        fleet.happen(CHANGES);
        let began = Instant::now();
        fleet.read_reports();
        let read = began.elapsed();
        let plan = planner.plan(&fleet.world, policy);
        let took = began.elapsed();
        assert!(changes(&plan) > 0, "something is planned");
        fleet.apply(&plan);
        (took, read)
    };
    let (changed, read) = (0..RUNS * 4).map(round).min().expect("it ran");
    Figures { from_nothing, no_shard, changed, read, bytes: 0 }
}

fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    let time = |_| {
        let began = Instant::now();
        let result = black_box(run());
        let took = began.elapsed();
        drop(result);
        took
    };
    (0..RUNS).map(time).min().expect("it ran")
}

fn changes(plan: &Plan) -> usize {
    plan.replicas.values().map(|replica| replica.changes.len()).sum()
}

/// What a settled world and its planner take of memory, in bytes a target.
fn memory(targets: u64) -> u64 {
    let policy = Aim::Pack.policy();
    let before = resident();
    let mut fleet = Fleet::empty(targets);
    let mut planner = Planner::default();
    fleet.settle(&planner.plan(&fleet.world, &policy));
    assert_eq!(changes(&planner.plan(&fleet.world, &policy)), 0, "it is settled");
    resident().saturating_sub(before) / targets
}

/// In a process of its own nothing else has left memory behind. What the first plan leaves behind there does count.
fn memory_in_a_process_of_its_own(targets: u64) -> u64 {
    let own = std::env::current_exe().expect("a process knows its program");
    let output = Command::new(own).args(["--memory-of", &targets.to_string()]).output().expect("it can be run again");
    let printed = String::from_utf8(output.stdout).expect("it prints text");
    printed.trim().parse().expect("it prints a number")
}

/// The memory this process has, in bytes.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux tells what a process has");
    let pages: u64 =
        statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("the second field is a number");
    pages * 4096
}
