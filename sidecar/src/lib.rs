//! `narthex-sidecar`: runs beside a Prometheus, writes the config it runs with, proxies its scrapes and knows the load
//! and health of every target.

pub mod api;
pub mod app;
pub mod args;
pub mod assignment;
pub mod attribution;
pub mod base_config;
mod hop_by_hop;
pub mod inotify;
pub mod job_ids;
pub mod leaving;
pub mod metrics;
pub mod pass_through;
pub mod prometheus;
pub mod proxy;
pub mod render;
pub mod render_command;
pub mod report;
pub mod rule_files;
pub mod scheme_twins;
pub mod self_check;
pub mod shard;
pub mod store;
pub mod succession;
pub mod target_files;
pub mod targets;
#[cfg(test)]
mod testing;
