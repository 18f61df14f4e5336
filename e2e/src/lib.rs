//! What Narthex' end-to-end tests are made of: processes and clusters of them, questions to a real Prometheus, and the
//! load generator, which is also a program of its own.

pub mod cluster;
pub mod loadgen;
pub mod process;
pub mod promql;
pub mod scripted;
pub mod shard_list;
pub mod stored;
pub mod targets;

/// Prints a figure that a test saw, for whoever reads its output.
pub fn show(figure: impl std::fmt::Display) {
    #[expect(clippy::print_stdout, reason = "tests show what they saw")]
    {
        println!("{figure}");
    }
}
