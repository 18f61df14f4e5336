//! A shard as it runs: the sidecar's own process, with and without a real Prometheus beside it.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::print_stderr, reason = "notes for whoever runs the tests")]

mod agent;
mod leaving;
mod process;
mod protected;
mod succession;
mod with_prometheus;
mod without_prometheus;
