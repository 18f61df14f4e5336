//! `narthex-coordinator samples`: which metrics the series are of, as a table.

use std::cmp::Reverse;

use comfy_table::{CellAlignment, Table, presets};
use narthex_common::{
    load::Series,
    samples::{JobSamples, MetricSamples, Samples},
};

use super::{
    ask::{self, Coordinator},
    words::grouped,
};
use crate::args::{Output, SamplesArgs};

/// Asks a running coordinator which metrics the series are of and prints the answer.
///
/// # Errors
/// When it does not answer, or has nothing to show yet.
pub async fn print(args: &SamplesArgs) -> anyhow::Result<()> {
    let coordinator = Coordinator::of(&args.coordinator)?;
    let mut query = vec![("limit", args.limit.to_string())];
    query.extend(args.job.iter().map(|job| ("job", job.clone())));
    let (samples, warnings): (Samples, _) = coordinator.get_with_warnings("api/v1/samples", &query).await?;
    let text = match args.coordinator.output {
        Output::Json => serde_json::to_string_pretty(&samples)?,
        Output::Table => table(&samples) + &warnings.iter().map(|warning| format!("\n{warning}")).collect::<String>(),
    };
    ask::print(&text);
    Ok(())
}

/// The jobs and their metrics, largest first.
pub(super) fn table(samples: &Samples) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["JOB", "METRIC", "SERIES", "KEPT", "PART"]);
    for column in 2..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut jobs: Vec<_> = samples.iter().collect();
    jobs.sort_by_key(|(_, job)| Reverse(job.total));
    for (name, job) in jobs {
        let mut row = |metric: &str, samples: MetricSamples| {
            let MetricSamples { total, scraped } = samples;
            table.add_row([
                name.to_string(),
                metric.to_owned(),
                grouped(total.0),
                grouped(scraped.0),
                part(total, job),
            ]);
        };
        let all = MetricSamples { total: job.total, scraped: job.scraped_total };
        row(&format!("(all of {} targets)", grouped(job.targets)), all);
        let mut metrics: Vec<_> = job.metrics_total.iter().collect();
        metrics.sort_by_key(|(_, samples)| Reverse(**samples));
        for (metric, samples) in metrics {
            row(metric, *samples);
        }
        if !job.metrics_total.is_empty() && job.other.total > Series::ZERO {
            row("(all others)", job.other);
        }
    }
    table.trim_fmt()
}

/// How much of a job a metric is, in percent.
fn part(series: Series, job: &JobSamples) -> String {
    let tenths = u128::from(series.0) * 1000 / u128::from(job.total.0.max(1));
    format!("{}.{} %", tenths / 10, tenths % 10)
}
