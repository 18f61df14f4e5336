//! A made-up fleet on a made-up clock, planned by the real planner.
//!
//! [`play()`] plays a [`Scenario`]: its targets come, grow and go, its shards scrape what they were told, die and return,
//! and round after round the planner sees what a coordinator would see of that. The [`Report`] says what was missed,
//! moved, scraped twice, and how full the shards were. The same scenario and seed give the same report; measuring time
//! and memory is the caller's.

mod chance;
mod coordinator;
mod fleet;
mod play;
pub mod report;
pub mod scenario;
#[cfg(test)]
mod tests;
mod verdict;

pub use play::{Checks, Meter, NoMeter, Plans, play, play_on};
pub use report::Report;
pub use scenario::Scenario;
