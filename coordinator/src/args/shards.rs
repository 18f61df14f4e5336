//! Flags of shards: who they are, what each may carry, and what moves between them.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum, value_parser};

use super::duration;

/// Who the shards are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ShardType {
    /// A fixed list in a file (--shard.static-file).
    Static,
    /// Processes on this machine that the coordinator starts and stops (--shard.local.*).
    Local,
}

/// The shards: who they are and what each may carry.
#[derive(Debug, Args)]
#[command(next_help_heading = "Shards")]
pub struct ShardArgs {
    /// Who the shards are.
    #[arg(long = "shard.type", value_enum, default_value = "local", value_name = "TYPE")]
    pub kind: ShardType,
    /// The list of shards for --shard.type=static, in Kvass' format. It is looked at in every round.
    #[arg(long = "shard.static-file", default_value = "static-shards.yaml", value_name = "FILE")]
    pub static_file: PathBuf,
    /// A file with the credentials and TLS settings for the APIs of protected sidecars, in Prometheus' format of an
    /// `http_client_config`: basic_auth, authorization, tls_config and so on. It and the files that it names are looked
    /// at again while the coordinator runs.
    ///
    /// The sidecars are protected by their --web.config.file and --web.token-file. Redirects are not followed.
    #[arg(long = "shard.http-client-config", value_name = "FILE", conflicts_with = "require_token")]
    pub http_client_config: Option<PathBuf>,
    /// The most series one shard may keep, that is, after metric_relabel_configs: its memory.
    ///
    /// A shard whose Prometheus holds a tenth more than this in its head gets no further targets.
    #[arg(long = "shard.max-series", default_value_t = 1_000_000, value_parser = value_parser!(u64).range(1..), value_name = "N")]
    pub max_series: u64,
    /// The most series one shard may scrape, that is, before metric_relabel_configs: its work. 0 is no limit.
    ///
    /// It counts series that are scraped once in every global.scrape_interval of the config: a target that is scraped
    /// twice as often counts twice.
    #[arg(long = "shard.max-process-series", default_value_t = 0, value_name = "N")]
    pub max_process_series: u64,
    /// The most samples one shard may scrape in a second, before metric_relabel_configs: its work, whatever the intervals
    /// are. 0 is no limit. With --shard.max-process-series the smaller limit holds.
    #[arg(long = "shard.max-samples-per-second", default_value_t = 0, value_name = "N")]
    pub max_samples_per_second: u64,
    /// The most shards that a replica is scaled out to.
    #[arg(long = "shard.max-shard", default_value_t = 999_999, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub max_shard: u32,
    /// The fewest shards of a replica; targets are placed only once that many are there.
    #[arg(long = "shard.min-shard", default_value_t = 0, value_name = "N")]
    pub min_shard: u32,
    /// How long the last shard must be without targets before it is removed, such as 10m or 3h; 0 switches scale-in off.
    ///
    /// Above 0 the lowest shards are filled first and the last one is emptied when its targets fit elsewhere; at 0 targets
    /// are spread over all shards.
    #[arg(long = "shard.max-idle-time", default_value = "0s", value_parser = duration, value_name = "DURATION")]
    pub max_idle_time: Duration,
    /// The most targets that begin to move from shard to shard in one round, in each replica.
    #[arg(long = "shard.max-moves", default_value_t = 10, value_parser = value_parser!(u32).range(1..), value_name = "N")]
    pub max_moves: u32,
    /// How long a target that moved stays where it is, such as 30m or 3h: until then it is moved again only when its shard
    /// is over its limit and the other targets are not enough. So scale-in waits that long after a shard was relieved.
    ///
    /// The default is how long its series may be in the memory of the shard that it left.
    #[arg(long = "shard.min-stay", default_value = "3h", value_parser = duration, value_name = "DURATION")]
    pub min_stay: Duration,
    /// Leaves shards that are over their limits as they are. Otherwise they give targets to others.
    #[arg(long = "shard.disable-relief")]
    pub disable_relief: bool,
    /// Evens out shards that are within their limits, when the fullest of them uses much more than the mean.
    #[arg(long = "shard.rebalance")]
    pub rebalance: bool,
    /// How much more than the mean the fullest shard must use for --shard.rebalance to begin, in percent. It ends at half
    /// of it.
    #[arg(
        long = "shard.rebalance-threshold",
        default_value_t = 20,
        value_parser = value_parser!(u32).range(1..),
        value_name = "PERCENT",
        requires = "rebalance"
    )]
    pub rebalance_threshold: u32,
    /// How long a shard must be silent before others take its targets over, such as 5m; 0 is never.
    ///
    /// Make it longer than a shard takes to come back: a pod that is moved to another machine, a Prometheus that replays
    /// a long write-ahead log.
    #[arg(long = "shard.failover-after", default_value = "5m", value_parser = duration, value_name = "DURATION")]
    pub failover_after: Duration,
}

/// Shards on this machine.
#[derive(Debug, Args)]
#[command(next_help_heading = "Local shards (--shard.type=local)")]
pub struct LocalArgs {
    /// Where the shards keep their configs and data, each in a directory shard-N. One coordinator at a time may use it.
    #[arg(long = "shard.local.data-dir", default_value = "narthex-data", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// The ports shards may use on 127.0.0.1, three in a row for each: sidecar API, scrape proxy, Prometheus. The default
    /// is enough for 100 shards.
    #[arg(long = "shard.local.ports", default_value = "19100-19399", value_parser = ports, value_name = "FROM-TO")]
    pub ports: std::ops::RangeInclusive<u16>,
    /// The prometheus binary that shards run: a path, or a name to be found on PATH.
    #[arg(long = "shard.local.prometheus", default_value = "prometheus", value_name = "PATH")]
    pub prometheus: PathBuf,
    /// The narthex-sidecar binary: a path, or a name to be found on PATH. By default the one beside this binary, or else
    /// the one on PATH.
    #[arg(long = "shard.local.sidecar", value_name = "PATH")]
    pub sidecar: Option<PathBuf>,
    /// A flag handed to every shard's Prometheus, such as --storage.tsdb.retention.time=6h; may be repeated. Shards that
    /// run with other flags are started anew.
    #[arg(long = "shard.local.prometheus-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub prometheus_args: Vec<String>,
    /// Makes a token, api-token in the data directory, which only this user can read, and has the sidecars ask for it.
    /// Otherwise whoever is on this machine can use their APIs. Shards that run without it are started anew.
    ///
    /// It keeps others from the sidecars only: each shard's Prometheus answers everybody on this machine all the same.
    #[arg(long = "shard.local.require-token")]
    pub require_token: bool,
    /// Stops the shards when the coordinator ends on SIGINT or SIGTERM; otherwise they go on and are adopted by the
    /// next one.
    #[arg(long = "shard.local.stop-with-coordinator")]
    pub stop_with_coordinator: bool,
}

fn ports(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let (from, to) = text.split_once('-').ok_or("expected FROM-TO, such as 19100-19399")?;
    let port = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is not a port"));
    let (from, to) = (port(from)?, port(to)?);
    if to < from || to - from < 2 {
        return Err(format!("{from}-{to} has no room for one shard, which needs three ports"));
    }
    Ok(from..=to)
}
