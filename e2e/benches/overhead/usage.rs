//! What a process has used: CPU time and memory, from `/proc`.

use std::{fs, time::Duration};

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

/// The time the threads of a process that live have spent on a CPU: more exact than [`cpu_seconds`].
pub(crate) fn on_cpu(id: u32) -> anyhow::Result<Duration> {
    let of_each = of_each_thread(id, "schedstat", |stat| stat.split_whitespace().next()?.parse().ok())?;
    Ok(Duration::from_nanos(of_each))
}

/// How often the threads of a process that live were switched away from.
pub(crate) fn context_switches(id: u32) -> anyhow::Result<u64> {
    of_each_thread(id, "status", |status| {
        let of_each_kind = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        of_each_kind.map(|(_, count)| count.trim().parse::<u64>().ok()).sum()
    })
}

fn of_each_thread(id: u32, file: &str, read_it: impl Fn(&str) -> Option<u64>) -> anyhow::Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task")).context("list a process' threads")? {
        let path = thread?.path().join(file);
        let content = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        sum += read_it(&content).with_context(|| format!("what {} says", path.display()))?;
    }
    Ok(sum)
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
