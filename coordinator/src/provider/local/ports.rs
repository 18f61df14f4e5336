//! Ports of shards on this machine: chosen once, when a shard is created, and remembered.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    ops::RangeInclusive,
    path::Path,
};

use serde::{Deserialize, Serialize};

/// The ports of one shard, all on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ports {
    /// The sidecar's API.
    pub(super) api: u16,
    /// The sidecar's scrape proxy.
    pub(super) proxy: u16,
    /// Prometheus.
    pub(super) prometheus: u16,
}

/// Why a new shard gets no ports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no three free ports in a row are left in {}-{} (flag --shard.local.ports): shards have {} of them, others {others}",
    range.start(), range.end(), own
)]
pub(super) struct Exhausted {
    range: RangeInclusive<u16>,
    own: usize,
    others: usize,
}

impl Ports {
    /// The lowest three ports in a row that no shard has and nobody listens on.
    pub(super) fn choose(range: &RangeInclusive<u16>, own: &BTreeSet<u16>) -> Result<Self, Exhausted> {
        let mut row = 0;
        let (mut owned, mut others) = (0, 0);
        for port in range.clone() {
            if own.contains(&port) {
                (row, owned) = (0, owned + 1);
            } else if !is_free(port) {
                (row, others) = (0, others + 1);
            } else {
                row += 1;
            }
            if row == 3 {
                return Ok(Self { api: port - 2, proxy: port - 1, prometheus: port });
            }
        }
        Err(Exhausted { range: range.clone(), own: owned, others })
    }

    /// All three, with what each is for.
    pub(super) const fn all(self) -> [(u16, &'static str); 3] {
        [
            (self.api, "its sidecar's API"),
            (self.proxy, "its sidecar's scrape proxy"),
            (self.prometheus, "its Prometheus"),
        ]
    }
}

/// Whether nobody listens on a port.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Who listens on a port, for people: `pid 12, nginx`. None when that cannot be seen, as with other users' processes.
pub(super) fn holder(port: u16) -> Option<String> {
    let sockets: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    super::process::pids().find(|pid| holds(*pid, &sockets)).map(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("pid {pid}, {}", name.trim())
    })
}

/// The inodes of listening sockets in a table of `/proc/net` (proc(5): fields 2 and 4 are local address and state, of
/// which `0A` is "listening", 10 is the inode).
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == "0A";
            let inode = fields.get(9)?;
            listens.then(|| (*inode).to_owned())
        })
        .collect()
}

fn holds(pid: u32, sockets: &BTreeSet<String>) -> bool {
    let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|link| Path::to_str(&link).is_some_and(|link| sockets.contains(link)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_gets_three_free_ports_in_a_row() {
        // Any free row is as good as another: the system picks where to look.
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let Ok(ports) = Ports::choose(&(port..=port.saturating_add(30)), &BTreeSet::new()) else { return };
        assert!(ports.api > port);
        assert_eq!((ports.proxy, ports.prometheus), (ports.api + 1, ports.api + 2));
        let own = ports.all().iter().map(|(port, _)| *port).collect();
        let error = Ports::choose(&(ports.api..=ports.prometheus), &own).unwrap_err().to_string();
        assert!(error.ends_with("shards have 3 of them, others 0"), "{error}");
    }

    #[test]
    fn whoever_has_a_port_is_named() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(!is_free(port));
        let holder = holder(port).unwrap();
        assert!(holder.starts_with(&format!("pid {}, ", std::process::id())), "{holder}");
        drop(taken);
        assert!(is_free(port));
    }
}
