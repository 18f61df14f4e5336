//! What a process has used: CPU time and memory, from `/proc`.

use std::fs;

use anyhow::Context as _;

/// In clock ticks a second are counted; Linux shows user space this number whatever its own is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU seconds a process has used since its start, its own and the kernel's for it.
pub(crate) fn cpu_seconds(id: u32) -> anyhow::Result<f64> {
    let stat = read(id, "stat")?;
    // The name, in parentheses, may hold anything.
    let after_name = stat.rsplit_once(')').context("a process' name")?.1;
    let field = |number: usize| -> anyhow::Result<f64> {
        Ok(after_name.split_whitespace().nth(number - 3).context("too few fields in stat")?.parse()?)
    };
    const USER: usize = 14;
    const SYSTEM: usize = 15;
    Ok((field(USER)? + field(SYSTEM)?) / TICKS_PER_SECOND)
}

/// The memory a process holds, in KiB: what is in RAM, shared pages of its binary included.
pub(crate) fn resident_kib(id: u32) -> anyhow::Result<u64> {
    status_kib(id, "VmRSS:")
}

/// The most memory a process has ever held, in KiB.
pub(crate) fn peak_kib(id: u32) -> anyhow::Result<u64> {
    status_kib(id, "VmHWM:")
}

fn status_kib(id: u32, name: &str) -> anyhow::Result<u64> {
    let status = read(id, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn read(id: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{id}/{file}");
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}
