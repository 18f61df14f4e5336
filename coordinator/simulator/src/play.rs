//! Play: round after round of a scenario, planned by whoever plans.

use std::time::Duration;

use narthex_common::{config::PromDuration, time::Timestamp};
use narthex_planner::{Plan, Planner, Policy, World, invariant};

use crate::{
    coordinator::Coordinator,
    fleet::Fleet,
    report::{Deeds, PlanTime, Report, Round, Spread, Totals, unplaced},
    scenario::{Expect, Happening, Scenario, ScenarioError},
    verdict,
};

/// When a made-up clock starts: some moment, always the same.
const START: Timestamp = Timestamp(1_795_262_345_000);

/// In worlds of more targets than these, checking invariants takes much longer than planning.
const MANY_TARGETS: usize = 50_000;

/// In such worlds every so many rounds' invariants are checked.
const SAMPLE: u32 = 10;

/// Whoever plans: the planner, or one that is wrong in a way that a simulation must show.
pub trait Plans {
    /// Plans one round.
    fn plan(&mut self, world: &World, policy: &Policy) -> Plan;
}

impl Plans for Planner {
    fn plan(&mut self, world: &World, policy: &Policy) -> Plan {
        Self::plan(self, world, policy)
    }
}

impl<F: FnMut(&World, &Policy) -> Plan> Plans for F {
    fn plan(&mut self, world: &World, policy: &Policy) -> Plan {
        self(world, policy)
    }
}

/// Whoever has a clock and sees memory. This crate has none, so that its reports are the same everywhere.
pub trait Meter {
    /// Does the work, and says how long it took.
    fn time(&mut self, work: &mut dyn FnMut()) -> Duration;

    /// How much memory the process has, in bytes, where that can be known.
    fn memory(&mut self) -> Option<u64>;
}

/// Measures nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMeter;

impl Meter for NoMeter {
    fn time(&mut self, work: &mut dyn FnMut()) -> Duration {
        work();
        Duration::ZERO
    }

    fn memory(&mut self) -> Option<u64> {
        None
    }
}

/// In which rounds invariants are checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checks {
    /// In all of them, unless there are very many targets; then in every tenth.
    #[default]
    Sensible,
    /// In all of them.
    All,
    /// In every tenth.
    Sampled,
    /// In none.
    Off,
}

impl Checks {
    fn is_due(self, round: u32, targets: usize) -> bool {
        match self {
            Self::All => true,
            Self::Sensible if targets <= MANY_TARGETS => true,
            Self::Sensible | Self::Sampled => (round - 1).is_multiple_of(SAMPLE),
            Self::Off => false,
        }
    }
}

/// Plays a scenario.
///
/// # Errors
/// When a field of the scenario holds something that makes no sense.
pub fn play(
    scenario: &Scenario,
    checks: Checks,
    planner: &mut dyn Plans,
    meter: &mut dyn Meter,
) -> Result<Report, ScenarioError> {
    let policy = scenario.check()?;
    let fleet = Fleet::new(scenario, policy.clone(), START);
    let coordinator = Coordinator::new(scenario.seed, scenario.probe_rounds);
    let game = Game { scenario, policy, checks, fleet, coordinator, away_until: 0, start: START };
    Ok(game.play(planner, meter))
}

/// Goes on from a saved world, with nothing happening: its targets weigh what is known of them, its shards that were
/// silent stay so, the others do as they are told.
///
/// # Errors
/// When there is to be no time between two rounds.
pub fn play_on(
    world: &World,
    policy: &Policy,
    rounds: u32,
    interval: PromDuration,
    checks: Checks,
    planner: &mut dyn Plans,
    meter: &mut dyn Meter,
) -> Result<Report, ScenarioError> {
    let scenario = Scenario {
        about: "going on from a saved world".to_owned(),
        seed: world.seed,
        interval,
        rounds,
        probe_rounds: 1,
        policy: policy.clone().into(),
        shards: crate::scenario::ShardSettings::default(),
        targets: Vec::new(),
        events: Vec::new(),
        expect: Expect::default(),
    };
    let policy = scenario.check()?;
    let fleet = Fleet::of_world(world, policy.clone());
    let coordinator = Coordinator::of(world, scenario.probe_rounds, fleet.round);
    let game = Game { scenario: &scenario, policy, checks, fleet, coordinator, away_until: 0, start: world.now };
    Ok(game.play(planner, meter))
}

/// A scenario under way.
struct Game<'a> {
    scenario: &'a Scenario,
    policy: Policy,
    checks: Checks,
    fleet: Fleet,
    coordinator: Coordinator,
    /// The last round in which there is no coordinator.
    away_until: u32,
    start: Timestamp,
}

impl Game<'_> {
    fn play(mut self, planner: &mut dyn Plans, meter: &mut dyn Meter) -> Report {
        let mut rounds = Vec::new();
        let mut totals = Totals::default();
        let mut deeds = Deeds::default();
        let (mut last_event, mut last_change) = (1, 0);
        for number in 1..=self.scenario.rounds {
            let round = self.round(number, planner, meter, &mut deeds, &mut totals);
            if !round.events.is_empty() {
                last_event = number;
            }
            if !round.planned_changes.is_empty() {
                last_change = number;
            }
            rounds.push(round);
        }
        totals.converged_after = u64::from((last_change + 1_u32).saturating_sub(last_event));
        totals.refused = self.fleet.refused;
        totals.plan_seconds = plan_time(&rounds);
        totals.memory_bytes = meter.memory();
        let nothing = Round::default();
        let last = rounds.last().unwrap_or(&nothing);
        totals.never_scraped = last.never_scraped;
        let expectations = verdict::of(&self.scenario.expect, &totals, last, &self.fleet);
        Report { about: self.scenario.about.clone(), seed: self.scenario.seed, rounds, totals, expectations }
    }

    fn round(
        &mut self,
        number: u32,
        planner: &mut dyn Plans,
        meter: &mut dyn Meter,
        deeds: &mut Deeds,
        totals: &mut Totals,
    ) -> Round {
        let now = self.fleet.now;
        self.fleet.round = number;
        let told = self.happen(number, now);
        let mut round = Round {
            round: number,
            at_seconds: now.since(self.start).as_secs_f64(),
            events: told.events,
            targets: self.fleet.targets.len() as u64,
            ..Round::default()
        };
        if number > self.away_until {
            self.plan(&mut round, told.shards, planner, meter, deeds, totals);
        }
        if let Some(away) = told.killed_for {
            self.away_until = number + away;
            self.coordinator = Coordinator::new(self.scenario.seed, self.scenario.probe_rounds);
        }
        self.fleet.pass_time(now.after(self.scenario.interval.to_std()));
        self.tally(&mut round, totals);
        round
    }

    /// What happens before a round.
    fn happen(&mut self, number: u32, now: Timestamp) -> Told {
        let mut told = Told { shards: usize::MAX, killed_for: None, events: Vec::new() };
        for event in &self.scenario.events {
            if !event.is_due(number, self.start, now, self.scenario.interval) {
                continue;
            }
            let there_is_none =
                event.what.shard().is_some_and(|(replica, shard)| !self.fleet.has_shard(replica, shard));
            let nothing = if there_is_none { " (there is none)" } else { "" };
            told.events.push(format!("{}{nothing}", event.what.describe()));
            match &event.what {
                Happening::CoordinatorRestarts { away } => {
                    self.coordinator = Coordinator::new(self.scenario.seed, self.scenario.probe_rounds);
                    self.away_until = (number + away).saturating_sub(1);
                }
                Happening::CoordinatorIsKilled { told: shards, away } => {
                    (told.shards, told.killed_for) = (*shards, Some(*away));
                }
                Happening::ShardDies { .. }
                | Happening::ShardReturns { .. }
                | Happening::ShardIsSlow { .. }
                | Happening::ShardLosesItsDisk { .. }
                | Happening::ShardRunsAnotherConfig { .. }
                | Happening::ShardsJoin { .. }
                | Happening::RollingUpdate { .. }
                | Happening::Load { .. }
                | Happening::JobComes(_)
                | Happening::JobGoes { .. }
                | Happening::JobIsDown { .. }
                | Happening::TargetsCome { .. }
                | Happening::TargetsGo { .. } => self.fleet.happen(&event.what),
            }
        }
        self.fleet.let_loads_change();
        told
    }

    fn plan(
        &mut self,
        round: &mut Round,
        mut told: usize,
        planner: &mut dyn Plans,
        meter: &mut dyn Meter,
        deeds: &mut Deeds,
        totals: &mut Totals,
    ) {
        let world = self.coordinator.look(&mut self.fleet);
        let mut plan = Plan::default();
        let took = meter.time(&mut || plan = planner.plan(&world, &self.policy));
        round.planned = true;
        round.plan_seconds = took.as_secs_f64();
        if self.checks.is_due(round.round, world.targets.len()) {
            let broken = invariant::broken(&world, &self.policy, &plan);
            totals.rounds_checked += 1;
            totals.broken += broken.len() as u64;
            round.broken = Some(broken.iter().map(ToString::to_string).collect());
        }
        round.planned_changes = deeds.count(&plan, totals);
        round.unplaced = unplaced(&plan);
        round.oversized = plan.replicas.values().map(|plan| plan.oversized.len() as u64).sum();
        // The last world's maps are let go before shards change theirs: what nobody else holds is changed in place.
        drop(world);
        for number in 0..self.fleet.replicas.len() as u32 {
            let Some(plan) = plan.replicas.get(&self.fleet.replicas[number as usize].id) else { continue };
            if !self.fleet.tell(number, plan, &mut told) {
                return;
            }
            if self.fleet.replicas[number as usize].wanted != plan.wanted_shards {
                self.fleet.scale(number, plan.wanted_shards);
            }
        }
        self.coordinator.note_told(&plan, &self.fleet);
        self.coordinator.remember(&plan, &self.fleet);
    }

    /// What came of a round.
    fn tally(&mut self, round: &mut Round, totals: &mut Totals) {
        let now = self.fleet.now;
        let mut fill = Vec::new();
        let killed_before = totals.shards_killed;
        totals.shards_killed = 0;
        for replica in &mut self.fleet.replicas {
            let missed = replica.coverage.missed(now);
            round.missed += missed.all;
            round.torn += missed.torn;
            round.never_scraped += replica.coverage.never();
            round.not_scraped += replica.coverage.gaps();
            round.double_scraped += replica.coverage.doubles();
            round.shards_running += replica.shards.iter().filter(|shard| shard.is_running()).count() as u64;
            round.shards_wanted += u64::from(replica.wanted);
            totals.shards_killed += replica.killed;
        }
        for replica in &self.fleet.replicas {
            fill.extend(self.fleet.fill(replica));
        }
        round.shards_killed = totals.shards_killed - killed_before;
        round.shards_lower_bound = u64::from(self.fleet.fewest_shards()) * self.fleet.replicas.len() as u64;
        round.load = Spread::of(&fill);
        totals.planned_changes.add(round.planned_changes);
        totals.missed += round.missed;
        totals.torn += round.torn;
        totals.double_scrapes += round.double_scraped;
        totals.most_shards = totals.most_shards.max(round.shards_wanted);
        totals.peak_load = totals.peak_load.max(round.load.max);
    }
}

/// What happened before a round, and what that means for telling the shards.
struct Told {
    /// How many shards are told before the coordinator is killed.
    shards: usize,
    /// That it is killed, and for how many rounds there is none then.
    killed_for: Option<u32>,
    events: Vec<String>,
}

fn plan_time(rounds: &[Round]) -> PlanTime {
    let mut times: Vec<f64> = rounds.iter().filter(|round| round.planned).map(|round| round.plan_seconds).collect();
    times.sort_by(f64::total_cmp);
    match (times.first(), times.last()) {
        (Some(&min), Some(&max)) => PlanTime { max, median: times[times.len() / 2], min },
        (None, _) | (_, None) => PlanTime::default(),
    }
}
