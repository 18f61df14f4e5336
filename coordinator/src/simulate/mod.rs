//! `simulate`: the real planner on a made-up fleet and clock, or on a saved world. Nothing real is asked or changed.

mod measure;
mod read;
mod table;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::Context as _;
use narthex_planner::{Planner, Policy, Round, World, plan, policy::Settings};
use narthex_simulator::{Checks, Report, Scenario, play, play_on};

use self::measure::Measured;
pub use self::read::read;
use crate::args::{InvariantChecks, Output, SimulateArgs};

/// Simulates what was asked for. Exit code 1 means that it could not, or that something came out as it must not.
///
/// # Errors
/// When a file cannot be read, or holds something that makes no sense.
pub fn run(args: &SimulateArgs) -> anyhow::Result<ExitCode> {
    let checks = match args.check_invariants {
        None => Checks::Sensible,
        Some(InvariantChecks::All) => Checks::All,
        Some(InvariantChecks::Sampled) => Checks::Sampled,
        Some(InvariantChecks::Off) => Checks::Off,
    };
    let report = match (&args.scenario, &args.round, &args.world) {
        (Some(file), _, _) => scenario(file, args, checks)?,
        (None, Some(file), _) => {
            let Some(rounds) = args.rounds else { return replay_round(file, args.output) };
            let Round { policy, world, .. } = read(file)?;
            go_on(file, &world, &policy, rounds, args, checks)?
        }
        (None, None, Some(file)) => {
            let world: World = read(file)?;
            let policy = policy(args.policy.as_deref())?;
            let Some(rounds) = args.rounds else { return replay(&world, &policy, args.output) };
            go_on(file, &world, &policy, rounds, args, checks)?
        }
        (None, None, None) => anyhow::bail!("nothing to simulate: give --scenario, --round or --world"),
    };
    print(&match args.output {
        Output::Json => json(&report)?,
        Output::Table => table::write(&report),
    })?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn scenario(file: &Path, args: &SimulateArgs, checks: Checks) -> anyhow::Result<Report> {
    let mut scenario: Scenario = read(file)?;
    scenario.seed = args.seed.unwrap_or(scenario.seed);
    scenario.rounds = args.rounds.unwrap_or(scenario.rounds);
    play(&scenario, checks, &mut Planner::default(), &mut Measured).with_context(|| format!("play {}", file.display()))
}

fn go_on(
    file: &Path,
    world: &World,
    policy: &Policy,
    rounds: u32,
    args: &SimulateArgs,
    checks: Checks,
) -> anyhow::Result<Report> {
    play_on(world, policy, rounds, args.interval, checks, &mut Planner::default(), &mut Measured)
        .with_context(|| format!("play {}", file.display()))
}

fn policy(file: Option<&Path>) -> anyhow::Result<Policy> {
    let Some(file) = file else { return Ok(Policy::new(Settings::default())?) };
    Policy::new(read(file)?).with_context(|| format!("keep the policy of {}", file.display()))
}

/// Plans a saved round again. Exit code 1 means that the plan is another one: another version made it.
fn replay_round(file: &Path, output: Output) -> anyhow::Result<ExitCode> {
    let round: Round = read(file)?;
    let same = round.replays();
    print(&match output {
        Output::Json => json(&serde_json::json!({ "same": same, "plan": plan(&round.world, &round.policy) }))?,
        Output::Table if same => "the plan is the same\n".to_owned(),
        Output::Table => "the plan is another one: --output=json prints it\n".to_owned(),
    })?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Plans a saved world, once.
fn replay(world: &World, policy: &Policy, output: Output) -> anyhow::Result<ExitCode> {
    let plan = narthex_planner::plan(world, policy);
    let broken = narthex_planner::invariant::broken(world, policy, &plan);
    print(&match output {
        Output::Json => json(&plan)?,
        Output::Table => table::write_plan(&plan, &broken),
    })?;
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("write JSON")? + "\n")
}

/// Writes to standard output. Nobody reads to the end when it is cut by `| head`: that is no failure.
fn print(output: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(output.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("write to standard output"),
        Ok(()) | Err(_) => Ok(()),
    }
}
