//! `narthex-coordinator status`: the shards of a running coordinator as a table.

use comfy_table::{CellAlignment, Table, presets};
use narthex_common::load::Series;
use narthex_planner::reason::Unplaced;

use super::{
    PlanView, ShardSummary,
    ask::{self, Coordinator},
    plan::Totals,
    words::{grouped, unplaced_in_words},
};
use crate::args::{Output, StatusArgs};

/// Asks a running coordinator for its shards and prints them.
///
/// # Errors
/// When it does not answer, or has nothing to show yet.
pub async fn print(args: &StatusArgs) -> anyhow::Result<()> {
    let coordinator = Coordinator::of(args)?;
    let shards: Vec<ShardSummary> = coordinator.get("api/v1/shards", &[]).await?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&shards)?,
        Output::Table => {
            let plan: PlanView = coordinator.get("api/v1/plan", &[("limit", "0".to_owned())]).await?;
            table(&shards) + &concerns(&plan)
        }
    };
    ask::print(&text);
    Ok(())
}

/// What somebody may have to look at, one line each.
pub(super) fn concerns(plan: &PlanView) -> String {
    let mut text = String::new();
    for replica in &plan.replicas {
        let Totals { unplaced, oversized, suspects, taken_over, .. } = &replica.totals;
        let mut line = |n: u64, what: &str| {
            if n > 0 {
                text.push_str(&format!("\n{}: {} {what}", replica.id, grouped(n)));
            }
        };
        for why in Unplaced::ALL {
            let n = unplaced.get(why.as_str()).copied().unwrap_or_default();
            line(n, &format!("without a shard ({}): {}", why.as_str(), unplaced_in_words(why)));
        }
        line(*oversized, "larger than a shard may fill; each gets a shard of its own, or waits for one");
        line(*suspects, "suspected of having killed a shard; each gets a shard of its own, or waits for one");
        line(*taken_over, "taken over from lost shards");
    }
    for error in &plan.errors {
        text.push_str(&format!("\n{error}"));
    }
    text
}

/// The shards as a table, with a line of sums.
pub(super) fn table(shards: &[ShardSummary]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["SHARD", "STATE", "TARGETS", "SERIES", "HEAD SERIES", "PROMETHEUS", "SIDECAR"]);
    for column in 2..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Shards of different replicas may have the same name.
    let several = shards.iter().any(|shard| shard.replica != shards[0].replica);
    let name = |shard: &ShardSummary| {
        if several { format!("{}/{}", shard.replica, shard.id) } else { shard.id.to_string() }
    };
    for shard in shards {
        table.add_row([
            name(shard),
            shard.state.clone(),
            shard.targets.to_string(),
            shard.series.to_string(),
            shard.head_series.map_or_else(|| "-".to_owned(), |series| series.to_string()),
            shard.prometheus_url.clone().unwrap_or_default(),
            shard.url.clone(),
        ]);
    }
    table.add_row([
        format!("{} shards", shards.len()),
        String::new(),
        shards.iter().map(|shard| shard.targets).sum::<usize>().to_string(),
        shards.iter().map(|shard| shard.series).sum::<Series>().to_string(),
        shards.iter().filter_map(|shard| shard.head_series).sum::<Series>().to_string(),
        String::new(),
        String::new(),
    ]);
    let mut text = table.trim_fmt();
    for shard in shards {
        if let Some(error) = &shard.error {
            text.push_str(&format!("\n{}: {error}", name(shard)));
        }
    }
    text
}
