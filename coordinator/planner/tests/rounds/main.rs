//! What the planner promises, round by round.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "tests: what they lean on must be so, or they have failed"
)]

mod ancestor;
mod arbitrary;
mod convergence;
mod drain;
mod faults;
mod fleet;
mod forget;
mod jitter;
mod made_up;
mod pair;
mod place;
mod properties;
mod quality;
mod rebalance;
mod relieve;
mod restart;
mod scale;
mod scenarios;
mod settle;
mod suspects;
mod take_over;
