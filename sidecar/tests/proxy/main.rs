//! The scrape proxy between a client that speaks plain bytes and targets that do what no well-behaved one does.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod bounds;
mod failing;
mod guarding;
mod identity;
mod passing;
mod prometheus;
mod refusing;
mod rig;
mod top_metrics;
