//! The command line.

mod discovery;
mod plan;
mod policy;
mod shards;
mod targets;

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use narthex_common::{config::PromDuration, semantics::PrometheusVersion};
use narthex_runtime::web::WebArgs;

pub use self::discovery::DiscoveryArgs;
pub use self::plan::{PlanArgs, PlanCommand, PreviewArgs, ShowPlanArgs};
pub use self::shards::{LocalArgs, ShardArgs, ShardType};
pub use self::targets::TargetArgs;

/// Shards Prometheus by measured load.
///
/// Reads an unmodified prometheus.yml, discovers its targets, measures how many series each has, and gives every shard
/// (one Prometheus with a narthex-sidecar) what it can carry.
#[derive(Debug, Parser)]
#[command(name = "narthex-coordinator", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of coordinating.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to coordinate.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Commands that change nothing.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Checks a config or shows what it leads to, without scraping or changing anything; no coordinator needs to run.
    #[command(subcommand)]
    Check(CheckCommand),
    /// Shows the shards of a running coordinator: how many targets and series each has.
    Status(StatusArgs),
    /// Shows which metrics the series of a running coordinator's jobs are of, largest first.
    ///
    /// The figures are of one of the last ten scrapes of each target.
    Samples(SamplesArgs),
    /// Shows the last plan of a running coordinator: what changes and why, which targets have no shard and why.
    Plan(Box<PlanArgs>),
    /// Runs the planner against a made-up fleet on a made-up clock, or against a saved world; nothing real is asked or
    /// changed.
    ///
    /// A scenario says what there is, what happens and what must come out; the exit code is 1 when something else does.
    /// `examples/simulate` has many. Shows what a policy would do before you set it.
    Simulate(SimulateArgs),
}

/// What to simulate.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").args(["scenario", "world", "round"]).required(true)))]
pub struct SimulateArgs {
    /// A scenario: targets, shards, policy, events, and what is expected.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// A world, as `GET /debug/world` of a coordinator returns it: prints the plan for it, or with --rounds goes on from
    /// there.
    #[arg(long, value_name = "FILE")]
    pub world: Option<PathBuf>,
    /// A round, as `GET /debug/round` of a coordinator returns it: plans it again, and says whether the plan is the same;
    /// with --rounds goes on from there.
    #[arg(long, value_name = "FILE")]
    pub round: Option<PathBuf>,
    /// The policy for a saved world, as the `policy` of a scenario is written; the defaults unless given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["scenario", "round"])]
    pub policy: Option<PathBuf>,
    /// How many rounds; of a scenario as many as it says unless given, of a world or a round one, which is only planned.
    #[arg(long, value_name = "N")]
    pub rounds: Option<u32>,
    /// How far the rounds that go on from a saved world are apart. A scenario says so itself.
    #[arg(long, default_value = "10s", value_parser = prom_interval, value_name = "DURATION", conflicts_with = "scenario", requires = "rounds")]
    pub interval: PromDuration,
    /// Where chance is drawn from; what the scenario says unless given.
    #[arg(long, value_name = "N", conflicts_with_all = ["world", "round"])]
    pub seed: Option<u64>,
    /// In which rounds the plan's invariants are checked; in all, or above 50,000 targets in every tenth, unless given.
    #[arg(long = "check-invariants", value_enum, value_name = "WHEN")]
    pub check_invariants: Option<InvariantChecks>,
    /// How to print: a table for people, JSON for programs.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// In which rounds a simulation checks invariants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum InvariantChecks {
    /// In all of them.
    All,
    /// In every tenth.
    Sampled,
    /// In none.
    Off,
}

/// Which coordinator to ask.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Where the coordinator listens (its --web.address).
    #[arg(long, default_value = "http://127.0.0.1:9090", value_name = "URL")]
    pub url: url::Url,
    /// A file with the credentials and TLS settings for a coordinator that is protected, in the format of promtool's flag
    /// of that name: an `http_client_config`.
    #[arg(long = "http.config.file", value_name = "FILE")]
    pub http_config_file: Option<PathBuf>,
    /// How long to wait for its answer, such as 500ms or 10s.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// How to print: a table for people, JSON for programs.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
}

/// Which metrics to show.
#[derive(Debug, Args)]
pub struct SamplesArgs {
    /// Which coordinator to ask, and how to print.
    #[command(flatten)]
    pub coordinator: StatusArgs,
    /// Only jobs that match this regular expression; may be repeated.
    #[arg(long, value_name = "REGEX")]
    pub job: Vec<String>,
    /// How many metrics of each job are shown; the sums count all.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=10_000), value_name = "N")]
    pub limit: u32,
}

/// What to check.
#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Says whether Prometheus and Narthex would take the config: exit code 0, or 1 with what is wrong.
    ///
    /// It looks at what `promtool check config` looks at, the files that the config names included (of rule files only
    /// whether they are there), and at what Narthex cannot do yet.
    Config {
        /// The prometheus.yml.
        file: PathBuf,
        /// The Prometheus version whose rules apply, such as 2.42 or 3.5: that of your shards.
        #[arg(long = "prometheus-version", default_value = "3.5", value_name = "VERSION")]
        prometheus_version: PrometheusVersion,
    },
    /// Discovers the targets once and prints what would be scraped, what relabeling drops, and what is wrong.
    ///
    /// The table shows labels after relabeling, those of dropped targets before it; JSON shows both. A discovery that
    /// fails or that Narthex does not know is listed under the errors, and the exit code is 0 all the same: 1 means that
    /// the config cannot be read.
    Targets(CheckTargetsArgs),
}

/// How to check targets.
#[derive(Debug, Args)]
pub struct CheckTargetsArgs {
    /// The prometheus.yml.
    pub file: PathBuf,
    /// Only the job of this name; all jobs unless given.
    #[arg(long)]
    pub job: Option<String>,
    /// The Prometheus version whose rules apply, such as 2.42 or 3.5: that of your shards.
    #[arg(long = "prometheus-version", default_value = "3.5", value_name = "VERSION")]
    pub prometheus_version: PrometheusVersion,
    /// Leaves out the relabeling rules of prometheus-operator's shards, as the coordinator does with the same flag.
    #[arg(long = "relabel.ignore-sharding-rules")]
    pub ignore_sharding_rules: bool,
    /// How long to wait for the first answer of every discovery, such as 500ms or 5s.
    #[arg(long, default_value = "5s", value_parser = duration, value_name = "DURATION")]
    pub timeout: Duration,
    /// How to print: a table for people, JSON for programs.
    #[arg(long, value_enum, default_value = "table")]
    pub output: Output,
    /// How to discover.
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// How to coordinate.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The user's prometheus.yml, read and never written.
    #[arg(long = "config.file", default_value = "prometheus.yml", value_name = "FILE")]
    pub config_file: PathBuf,
    /// Where the API and the metrics listen; `:PORT` is every address of this machine. It is Prometheus' own port:
    /// choose another one beside a Prometheus.
    #[arg(long = "web.address", default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
    pub web_address: String,
    /// How often a round is run: look at discovery and shards, plan, apply. Such as 500ms, 10s or 1m.
    #[arg(long = "coordinator.interval", default_value = "10s", value_parser = interval, value_name = "DURATION")]
    pub interval: Duration,
    /// How long the first round waits for the first answer of every job's discovery.
    ///
    /// Afterwards it runs with the jobs that have answered; targets of the others stay where they are.
    #[arg(long = "sd.init-timeout", default_value = "1m", value_parser = duration, value_name = "DURATION")]
    pub sd_init_timeout: Duration,
    /// How to discover.
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// How many targets are probed at once. A target is probed (scraped once by the coordinator) as long as no shard has
    /// measured its series.
    #[arg(long = "probe.concurrency", default_value = "200", value_name = "N")]
    pub probe_concurrency: NonZeroUsize,
    /// How long a new target waits for its first probe, such as 10s. Then it is placed by an estimate: the median of its
    /// job, or else of all targets.
    #[arg(long = "probe.max-wait", default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub probe_max_wait: Duration,
    /// The Prometheus version by whose rules the config is read and targets are built, such as 2.42 or 3.5: that of your
    /// shards.
    #[arg(long = "prometheus.version", default_value = "3.5", value_name = "VERSION")]
    pub prometheus_version: PrometheusVersion,
    /// Leaves out the relabeling rules by which prometheus-operator has each of its shards keep a part of the targets:
    /// the hashmod to `__tmp_hash`, and the keep of one number of it. No other rule is touched.
    #[arg(long = "relabel.ignore-sharding-rules")]
    pub ignore_sharding_rules: bool,
    /// How several replicas relate to each other.
    #[arg(long = "replica.placement", value_enum, default_value = "independent", value_name = "HOW")]
    pub replica_placement: ReplicaPlacement,
    /// The shards.
    #[command(flatten)]
    pub shard: ShardArgs,
    /// Shards on this machine.
    #[command(flatten)]
    pub local: LocalArgs,
    /// What one target may expose.
    #[command(flatten)]
    pub target: TargetArgs,
    /// Who may use the API.
    #[command(flatten)]
    pub web: WebArgs,
    /// What is logged: error, warn, info, debug, trace, or a filter such as narthex_coordinator=debug.
    #[arg(long = "log.level", help_heading = "Logging", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// How log lines look.
    #[arg(long = "log.format", help_heading = "Logging", value_enum, default_value = "logfmt", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// How several replicas relate to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReplicaPlacement {
    /// Each is planned by itself.
    Independent,
    /// A target is on the same shard in all of them: the first is planned, the others follow.
    Mirrored,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// key=value, for people.
    Logfmt,
    /// One JSON object a line.
    Json,
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<PromDuration>().map(PromDuration::to_std).map_err(|error| error.to_string())
}

fn interval(text: &str) -> Result<Duration, String> {
    duration(text).and_then(|interval| if interval.is_zero() { Err("it must be above 0".into()) } else { Ok(interval) })
}

fn prom_interval(text: &str) -> Result<PromDuration, String> {
    interval(text)?;
    text.parse::<PromDuration>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_is_of_one_thing_and_no_flag_is_ignored() {
        let parsed =
            |flags: &str| Cli::try_parse_from(format!("narthex-coordinator simulate {flags}").split_whitespace());
        for flags in
            ["--scenario f --seed 3", "--world f --policy p", "--round f", "--round f --rounds 9 --interval 5s"]
        {
            parsed(flags).unwrap();
        }
        let refused = |flags| parsed(flags).unwrap_err().to_string();
        let nothing = refused("");
        assert!(nothing.contains("<--scenario <FILE>|--world <FILE>|--round <FILE>>"), "{nothing}");
        for flags in
            ["--scenario f --round f", "--world f --round f", "--scenario f --policy p", "--round f --policy p"]
        {
            assert!(refused(flags).contains("cannot be used with"), "{flags}");
        }
        for flags in ["--round f --seed 3", "--world f --seed 3", "--scenario f --interval 5s"] {
            assert!(refused(flags).contains("cannot be used with"), "{flags}");
        }
        assert!(refused("--world f --interval 5s").contains("--rounds <N>"));
    }

    #[test]
    fn rounds_without_a_pause_between_them_are_refused() {
        let parsed = |value| Cli::try_parse_from(["narthex-coordinator", "--coordinator.interval", value]);
        assert_eq!(parsed("1s").unwrap().run.interval, Duration::from_secs(1));
        let error = parsed("0s").unwrap_err().to_string();
        assert!(error.contains("it must be above 0"), "{error}");
    }
}
