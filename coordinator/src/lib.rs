//! `narthex-coordinator`: reads the user's `prometheus.yml`, discovers and relabels targets, measures their load, plans
//! which shard scrapes what, and applies the plan.
//!
//! Each stage owns one `watch` of a whole snapshot; missing one is harmless. Effects are believed only once they are
//! observed, so a coordinator killed at any moment costs one more round.

pub mod app;
pub mod apply;
pub mod args;
pub mod check;
pub mod discover;
pub mod observe;
pub mod probe;
pub mod provider;
pub mod reload;
pub mod round;
pub mod sharding_rules;
pub mod simulate;
pub mod status;
