//! What Narthex' processes must agree on, bit for bit: labels, targets, loads, assignments, reports, the user's
//! Prometheus config, relabeling and the scanning of scrape bodies.
//!
//! Everything here is a function of values: no clock, no environment, no randomness, no files, no network, no logs.
//! The crate's own `clippy.toml` enforces it.

pub mod api;
pub mod assignment;
pub mod config;
pub mod exposition;
pub mod fingerprint;
pub mod job;
pub mod labels;
pub mod load;
pub mod redact;
pub mod relabel;
pub mod report;
pub mod samples;
pub mod semantics;
pub mod series_limit;
pub mod shard;
pub mod target;
pub mod target_limit;
pub mod time;
