//! How to ask a running coordinator for its plan.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::StatusArgs;

/// Which plan to show.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct PlanArgs {
    /// Another plan than the last.
    #[command(subcommand)]
    pub command: Option<PlanCommand>,
    /// What of it.
    #[command(flatten)]
    pub show: ShowPlanArgs,
}

/// Plans that are not carried out.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Shows the plan for another policy, number of shards or config, applied to nothing.
    ///
    /// Only what is given differs from what the coordinator runs with.
    Preview(PreviewArgs),
}

/// What of a plan to show.
#[derive(Debug, Args)]
pub struct ShowPlanArgs {
    /// Which coordinator to ask, and how to print.
    #[command(flatten)]
    pub coordinator: StatusArgs,
    /// How many entries of each list are shown at most; the sums count all.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub limit: u32,
    /// Only targets of jobs that match this regular expression; may be repeated.
    #[arg(long, value_name = "REGEX")]
    pub job: Vec<String>,
    /// Only what is about the shard of this name; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub shard: Vec<String>,
    /// Only changes of this kind: place, move, settle, give_back, suspect, forget or scale; may be repeated.
    #[arg(long, value_name = "KIND")]
    pub change: Vec<String>,
}

/// What is to differ.
#[derive(Debug, Args)]
pub struct PreviewArgs {
    /// What of the plan to show.
    #[command(flatten)]
    pub show: ShowPlanArgs,
    /// The series one shard may hold.
    #[arg(long = "max-series", value_name = "N")]
    pub max_series: Option<u64>,
    /// Anything else of the policy, by the names of `POST /api/v1/plan/preview`, such as max_moves=50 or
    /// max_idle_time=600; may be repeated.
    #[arg(long = "policy", value_parser = setting, value_name = "NAME=VALUE")]
    pub policy: Vec<(String, serde_json::Value)>,
    /// How many shards each replica has now, or one replica, as REPLICA=N; may be repeated then.
    #[arg(long, value_parser = shards, value_name = "N")]
    pub shards: Vec<(Option<String>, u32)>,
    /// Another prometheus.yml. Its jobs must be discovered by what runs already; others are listed and left out.
    #[arg(long = "config.file", value_name = "FILE")]
    pub config_file: Option<PathBuf>,
    /// Plans up to so many rounds, each as if the one before had been carried out, and shows what comes of it: up to 100.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100), value_name = "N")]
    pub rounds: u32,
}

fn setting(text: &str) -> Result<(String, serde_json::Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as max_moves=50")?;
    // What is no JSON is a word, such as `mirrored`.
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

fn shards(text: &str) -> Result<(Option<String>, u32), String> {
    let (replica, number) = match text.rsplit_once('=') {
        Some((replica, number)) => (Some(replica.to_owned()), number),
        None => (None, text),
    };
    Ok((replica, number.parse().map_err(|_| format!("{number:?} is not a number of shards"))?))
}
