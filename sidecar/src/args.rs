//! The command line.

use std::{
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use narthex_common::{
    config::PromDuration,
    load::Series,
    semantics::PrometheusVersion,
    series_limit::{JobLimit, SeriesLimits, TwoLimits},
};
use narthex_runtime::web::WebArgs;

use crate::{prometheus::PrometheusKind, proxy::CountCompressed, render::layout::DEFAULT_DIRECTORIES};

/// Runs beside a Prometheus.
///
/// Writes the config that Prometheus runs with, hands it the targets the coordinator assigned, proxies its scrapes, and
/// reports the load and health of every target. Keeps its assignment on disk: restarted, it goes on without the
/// coordinator.
#[derive(Debug, Parser)]
#[command(name = "narthex-sidecar", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of running.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How to run.
    #[command(flatten)]
    pub run: RunArgs,
}

/// Commands that change nothing that runs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Writes what a shard would run with: the generated prometheus.yml and the target files of an assignment.
    Render(RenderArgs),
}

/// What to render.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// The user's prometheus.yml, read and never written.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: PathBuf,
    /// The assignment as JSON: assignment.json of a sidecar's --store.path, or what stands in `data` of the answer of
    /// GET /api/v1/shard/assignment.
    #[arg(long = "assignment", value_name = "FILE")]
    pub assignment: PathBuf,
    /// Where to write: prometheus.yml, and the target files in targets/. Created if it is not there.
    #[arg(long = "out", value_name = "DIR")]
    pub out: PathBuf,
    /// The Prometheus version that is to run it, such as 2.42 or 3.5.
    #[arg(long = "prometheus.version", default_value = "3.5", value_name = "VERSION")]
    pub prometheus_version: PrometheusVersion,
    /// Whether rule_files and alerting stay in the generated config.
    #[arg(long = "rules", value_enum, default_value = "drop")]
    pub rules: Rules,
    /// What kind of Prometheus is to run it. An agent refuses remote_read, vmagent more: that is left out for them.
    #[arg(long = "prometheus.kind", value_enum, default_value = "server")]
    pub prometheus_kind: PrometheusKind,
    /// Over how many directories target files are spread at most. Lower it where many Prometheus servers of one user share
    /// a machine.
    ///
    /// Prometheus holds one inotify instance for each, of which Linux gives a user 128 by default (sysctl
    /// fs.inotify.max_user_instances); a job that gets none has no targets. Up to so many jobs have a directory of their
    /// own, more jobs share that many.
    #[arg(long = "target-directories", default_value_t = DEFAULT_DIRECTORIES, value_name = "N")]
    pub target_directories: NonZeroU32,
    /// The address of the proxy that the generated config names.
    #[arg(long = "web.proxy-addr", default_value = "127.0.0.1:8008", value_name = "HOST:PORT")]
    pub proxy_addr: String,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The user's prometheus.yml, read and never written. Empty (`--config.file=`) where the coordinator is to give the
    /// config: it has the file then, and every shard gets it with its next round.
    ///
    /// Other files that the config names, such as those of passwords and certificates, must lie at the same paths here.
    #[arg(
        long = "config.file", default_value = "prometheus.yml", value_name = "FILE",
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    config_file: PathBuf,
    /// Where the generated config is written, with which Prometheus is to run. By default prometheus.yml in --store.path.
    #[arg(long = "config.output-file", value_name = "FILE")]
    pub config_output_file: Option<PathBuf>,
    /// Where everything lives that outlasts a restart: the assignment, the target files, the generated config, and of a
    /// Prometheus that --prometheus.exec runs its data and log.
    ///
    /// Prometheus must see it under the same path. The user that runs Prometheus must be the one that runs the sidecar.
    #[arg(long = "store.path", default_value = "narthex-sidecar", value_name = "DIR")]
    pub store_path: PathBuf,
    /// Take the place of the sidecar that runs on this --store.path, without losing a scrape: for an upgrade, or other
    /// flags. Where none runs this changes nothing.
    ///
    /// The running one gives its listening sockets away, goes on answering scrapes until this one does, then finishes
    /// those under way and ends. A Prometheus that it started goes on, and is adopted. Should this one fail to start,
    /// the running one stays.
    #[arg(long = "replace")]
    pub replace: bool,
    /// Where the API for the coordinator and for users listens, the `url` of a static list; `:PORT` is every address of
    /// this machine. What the API does not know is passed on to Prometheus.
    ///
    /// A socket that systemd passes (LISTEN_FDS) under the name api is listened on instead, and for --web.proxy-addr one
    /// under the name proxy.
    #[arg(long = "web.api-addr", default_value = "127.0.0.1:8080", value_name = "HOST:PORT")]
    pub api_addr: String,
    /// Where the scrape proxy listens. Only this shard's Prometheus needs to reach it.
    #[arg(long = "web.proxy-addr", default_value = "127.0.0.1:8008", value_name = "HOST:PORT")]
    pub proxy_addr: String,
    /// Over how many directories target files are spread at most. Lower it where many Prometheus servers of one user share
    /// a machine.
    ///
    /// Prometheus holds one inotify instance for each, of which Linux gives a user 128 by default (sysctl
    /// fs.inotify.max_user_instances); a job that gets none has no targets. Up to so many jobs have a directory of their
    /// own, more jobs share that many.
    #[arg(long = "target-directories", default_value_t = DEFAULT_DIRECTORIES, value_name = "N")]
    pub target_directories: NonZeroU32,
    /// Whether rule_files and alerting stay in the generated config.
    ///
    /// A rule on a shard sees only the shard's own series: sums are partial, absent() fires on every shard.
    #[arg(long = "rules", value_enum, default_value = "drop")]
    pub rules: Rules,
    /// When bodies that come compressed are unpacked to count their series. The load that is reported is at least as
    /// exact with always; when-needed takes less CPU time.
    ///
    /// With when-needed a target that fails only in that its body cannot be unpacked may be reported as up.
    #[arg(long = "proxy.count-compressed", value_enum, default_value = "always")]
    pub count_compressed: CountCompressed,
    /// How often Prometheus is asked which targets it scrapes, to compare them with those assigned; 0s is never. Where it
    /// takes long to answer, it is asked more rarely.
    ///
    /// A difference counts once it was found twice in a row. Prometheus may need half a minute to follow a change:
    /// more often than every 30s it is found where there is none.
    #[arg(long = "self-check.interval", default_value = "60s", value_name = "DURATION")]
    pub self_check_interval: PromDuration,
    /// What one target may expose.
    #[command(flatten)]
    pub guard: GuardArgs,
    /// The Prometheus next door.
    #[command(flatten)]
    pub prometheus: PrometheusArgs,
    /// Who may use the API.
    #[command(flatten)]
    pub web: WebArgs,
    /// What is logged: error, warn, info, debug, trace, or a filter such as narthex_sidecar=debug.
    #[arg(long = "log.level", help_heading = "Logging", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// How log lines look.
    #[arg(long = "log.format", help_heading = "Logging", value_enum, default_value = "logfmt", value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// What one target may expose.
#[derive(Debug, Args)]
#[command(next_help_heading = "Targets that explode")]
pub struct GuardArgs {
    /// The most series one target may expose, that is, before metric_relabel_configs: what Prometheus would have to parse;
    /// 0 is no limit. Give the coordinator the same limit. (For series after metric_relabel_configs, a job has
    /// sample_limit.)
    ///
    /// A target that exposes more is cut off: Prometheus takes nothing of the scrape, and `up` is 0. From the second
    /// scrape on its last error says why. Its bodies are then read no further than to the limit, and it is let through
    /// again in the first scrape in which it exposes no more than that.
    #[arg(long = "target.max-series", default_value_t = 0, value_name = "N")]
    pub max_series: u64,
    /// The same for each target of one job, instead of --target.max-series; 0 is no limit. May be repeated.
    #[arg(long = "target.max-series-of-job", value_name = "JOB=N")]
    pub max_series_of_job: Vec<JobLimit>,
}

impl GuardArgs {
    /// The limits.
    ///
    /// # Errors
    /// When a job has two.
    pub fn limits(&self) -> Result<SeriesLimits, TwoLimits> {
        SeriesLimits::new(Series(self.max_series), &self.max_series_of_job)
    }
}

impl RunArgs {
    /// The user's file; none where the coordinator gives the config.
    #[must_use]
    pub fn config_file(&self) -> Option<&Path> {
        Some(self.config_file.as_path()).filter(|file| !file.as_os_str().is_empty())
    }
}

/// The Prometheus next door.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prometheus")]
pub struct PrometheusArgs {
    /// Where Prometheus answers. It needs --web.enable-lifecycle, so that it can be told to reload.
    #[arg(long = "prometheus.url", default_value = "http://127.0.0.1:9090", value_name = "URL")]
    pub url: String,
    /// Run this prometheus binary, and again when it ends. Unless given, a Prometheus that runs already is told to reload.
    ///
    /// It is started with --config.file, --storage.tsdb.path (an agent with --storage.agent.path), --web.listen-address
    /// (from --prometheus.url) and --web.enable-lifecycle. It survives when the sidecar is killed, and is adopted when the
    /// sidecar is back.
    #[arg(long = "prometheus.exec", value_name = "PATH")]
    pub exec: Option<PathBuf>,
    /// A further flag for --prometheus.exec, such as --storage.tsdb.retention.time=6h; may be repeated.
    #[arg(long = "prometheus.arg", value_name = "FLAG", allow_hyphen_values = true, requires = "exec")]
    pub args: Vec<String>,
    /// What kind of Prometheus it is. By default an agent when --prometheus.arg has --agent (Prometheus 3) or
    /// --enable-feature=agent (Prometheus 2), otherwise a server; to be said of an agent that --prometheus.exec does not run.
    ///
    /// An agent takes no rules, no alerting and no remote_read: the latter is left out of the generated config, as the
    /// former are by default. Of vmagent, which --prometheus.exec cannot run, say vmagent: it is given what it takes of the
    /// config, and needs -promscrape.config (the generated file) and -promscrape.fileSDCheckInterval=1s.
    #[arg(long = "prometheus.kind", value_enum)]
    kind: Option<PrometheusKind>,
    /// The Prometheus version whose rules apply, such as 2.42 or 3.5. By default the one that the binary or the running
    /// Prometheus names, and 3.5 before it has said anything; 3.5 for vmagent.
    #[arg(long = "prometheus.version", value_name = "VERSION")]
    pub fixed_version: Option<PrometheusVersion>,
}

impl PrometheusArgs {
    /// What kind of Prometheus it is.
    #[must_use]
    pub fn kind(&self) -> PrometheusKind {
        self.kind.unwrap_or_else(|| PrometheusKind::of_args(&self.args))
    }

    /// Whether the kind goes with the other flags.
    ///
    /// # Errors
    /// When it does not: which flags, and what to do.
    pub fn check(&self, rules: Rules) -> anyhow::Result<()> {
        let kind = self.kind();
        if rules == Rules::Keep && !kind.evaluates_rules() {
            bail!("keep rules (flag --rules=keep): {} evaluates none", kind.name());
        }
        if self.exec.is_some() && !PrometheusKind::RUN_BY_SIDECAR.contains(&kind) {
            bail!(
                "run {0} (flags --prometheus.exec and --prometheus.kind={0}): the sidecar cannot; start it yourself, on \
                 the generated config, and leave --prometheus.exec out",
                kind.name()
            );
        }
        Ok(())
    }
}

/// What becomes of rule_files and alerting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Rules {
    /// They go: rules are evaluated where all series are seen.
    Drop,
    /// They stay: every rule needs only series of one shard.
    Keep,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// key=value, for people.
    Logfmt,
    /// One JSON object a line.
    Json,
}

impl From<LogFormat> for narthex_runtime::telemetry::LogFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Logfmt => Self::Logfmt,
            LogFormat::Json => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_file_of_its_own_a_sidecar_gets_its_config_from_the_coordinator() {
        let file = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["narthex-sidecar"], args].concat()).unwrap();
            cli.run.config_file().map(Path::to_owned)
        };
        assert_eq!(file(&[]), Some("prometheus.yml".into()));
        assert_eq!(file(&["--config.file=a.yml"]), Some("a.yml".into()));
        assert_eq!(file(&["--config.file="]), None);
    }

    #[test]
    fn vmagent_is_not_run_by_the_sidecar_and_neither_it_nor_an_agent_evaluates_rules() {
        let check = |args: &[&str]| {
            let cli = Cli::try_parse_from([&["narthex-sidecar"], args].concat()).unwrap();
            cli.run.prometheus.check(cli.run.rules).map_err(|error| error.to_string())
        };
        assert_eq!(check(&["--prometheus.kind=vmagent"]), Ok(()));
        assert_eq!(check(&["--prometheus.exec=p", "--prometheus.arg=--agent"]), Ok(()));
        assert_eq!(check(&["--rules=keep"]), Ok(()));
        let refused = check(&["--prometheus.kind=vmagent", "--prometheus.exec=vmagent"]).unwrap_err();
        assert!(refused.contains("--prometheus.exec") && refused.contains("--prometheus.kind=vmagent"), "{refused}");
        for kind in ["agent", "vmagent"] {
            let refused = check(&["--rules=keep", &format!("--prometheus.kind={kind}")]).unwrap_err();
            assert!(refused.contains("--rules=keep") && refused.contains(kind), "{refused}");
        }
    }

    #[test]
    fn flags_of_prometheus_are_handed_on_as_they_are() {
        let cli = Cli::try_parse_from([
            "narthex-sidecar",
            "--prometheus.exec=/usr/bin/prometheus",
            "--prometheus.arg=--storage.tsdb.retention.time=6h",
            "--prometheus.arg",
            "--log.level=debug",
        ])
        .unwrap();
        assert_eq!(cli.run.prometheus.args, ["--storage.tsdb.retention.time=6h", "--log.level=debug"]);
    }
}
