//! Measure: how long planning takes and how much memory it has, by this machine's clock and kernel.

use std::time::{Duration, Instant};

use narthex_simulator::Meter;

/// This machine.
pub(super) struct Measured;

impl Meter for Measured {
    fn time(&mut self, work: &mut dyn FnMut()) -> Duration {
        let began = Instant::now();
        work();
        began.elapsed()
    }

    /// What is resident, as Linux says; other kernels do not say.
    fn memory(&mut self) -> Option<u64> {
        let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
        let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
        Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
    }
}
