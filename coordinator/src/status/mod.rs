//! What the coordinator shows: one snapshot per round, and the API, the pages and the metrics read off it.

mod api;
mod ask;
mod history;
mod live;
mod metadata;
mod metrics;
mod plan;
mod plan_table;
mod preview;
mod prometheus_api;
mod relabel_steps;
mod samples;
mod samples_table;
mod shards;
mod snapshot;
mod table;
mod target_history;
mod targets;
mod words;

pub use api::{ApiState, Reload, router};
pub use history::History;
pub use metrics::RoundMetrics;
pub use plan::PlanView;
pub use plan_table::print as print_plan;
pub use preview::{PreviewView, TryConfig};
pub use samples_table::print as print_samples;
pub use shards::{ShardSummary, shard_summaries};
pub use snapshot::Snapshot;
pub use table::print;
pub use target_history::TargetHistory;

#[cfg(test)]
mod tests;
