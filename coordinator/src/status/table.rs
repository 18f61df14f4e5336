//! `narthex-coordinator status`: the shards of a running coordinator as a table.

use anyhow::Context as _;
use comfy_table::{CellAlignment, Table, presets};
use narthex_common::{api::Answer, load::Series};

use super::ShardSummary;
use crate::args::{Output, StatusArgs};

/// Asks a running coordinator for its shards and prints them.
///
/// # Errors
/// When it does not answer, or has nothing to show yet.
pub async fn print(args: &StatusArgs) -> anyhow::Result<()> {
    let url = args.url.join("api/v1/shards").context("put the URL of the API together")?;
    let client = reqwest::Client::builder().timeout(args.timeout).build().context("set up an HTTP client")?;
    let answer: Answer<Vec<ShardSummary>> = client
        .get(url)
        .send()
        .await
        .with_context(|| format!("ask the coordinator at {} (flag --url)", args.url))?
        .json()
        .await
        .with_context(|| format!("read the answer of {}; is it a narthex-coordinator?", args.url))?;
    let shards = answer.into_result().map_err(anyhow::Error::msg)?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&shards)?,
        Output::Table => table(&shards),
    };
    #[expect(clippy::print_stdout, reason = "the output of a command")]
    {
        println!("{text}");
    }
    Ok(())
}

/// The shards as a table, with a line of sums.
fn table(shards: &[ShardSummary]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["SHARD", "STATE", "TARGETS", "SERIES", "HEAD SERIES", "PROMETHEUS", "SIDECAR"]);
    for column in 2..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for shard in shards {
        table.add_row([
            shard.id.to_string(),
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
            text.push_str(&format!("\n{}: {error}", shard.id));
        }
    }
    text
}
