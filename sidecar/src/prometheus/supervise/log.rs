//! The log file of the Prometheus that the sidecar runs.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
};

/// A log larger than this is put aside at the next start.
const ROTATE_AT: u64 = 16 << 20;
/// How much of a log's end is looked at for the reason why Prometheus ended.
const TAIL: u64 = 16 << 10;

#[derive(Clone, Debug)]
pub(super) struct Log(pub(super) PathBuf);

impl Log {
    pub(super) fn open(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.0)
    }

    pub(super) fn len(&self) -> u64 {
        fs::metadata(&self.0).map_or(0, |metadata| metadata.len())
    }

    /// Puts a large log aside, over the one put aside before.
    pub(super) fn rotate(&self) {
        if self.len() > ROTATE_AT
            && let Err(error) = fs::rename(&self.0, self.0.with_extension("log.1"))
        {
            tracing::warn!(log = %self.0.display(), %error, "the log of Prometheus grows on");
        }
    }

    /// The last error that was logged after a position, or else the last line. Fit to be shown elsewhere.
    pub(super) fn last_error_since(&self, from: u64) -> Option<String> {
        let len = self.len();
        // A log that is shorter than before was put aside meanwhile.
        let from = if from > len { 0 } else { from.max(len.saturating_sub(TAIL)) };
        let mut file = File::open(&self.0).ok()?;
        file.seek(SeekFrom::Start(from)).ok()?;
        let mut tail = Vec::new();
        file.take(TAIL).read_to_end(&mut tail).ok()?;
        let tail = String::from_utf8_lossy(&tail);
        let lines = || tail.lines().map(str::trim).filter(|line| !line.is_empty());
        let is_error = |line: &str| line.contains("level=error") || line.contains("level=ERROR");
        lines().rev().find(|line| is_error(line)).or_else(|| lines().next_back()).map(without_users)
    }
}

/// A line without the users of its URLs: Prometheus 2.x logs `remote_write` URLs with their passwords.
fn without_users(line: &str) -> String {
    let mut parts = line.split("://");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        shown.push_str("://");
        let authority = part.split(['/', '?', '#', ' ', '"', '\\']).next().unwrap_or_default();
        match authority.rfind('@') {
            Some(at) => shown.extend(["xxxxx", &part[at..]]),
            None => shown.push_str(part),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prometheus_said_last_is_shown_without_the_passwords_in_it() {
        for (line, shown) in [
            (
                "level=error url=http://me:pass@host:9/w msg=\"a@b\" to=\"https://x:y@z/\"",
                "level=error url=http://xxxxx@host:9/w msg=\"a@b\" to=\"https://xxxxx@z/\"",
            ),
            ("err=\"no such file\" mail=a@b", "err=\"no such file\" mail=a@b"),
            ("url=http://host/path@2 x", "url=http://host/path@2 x"),
        ] {
            assert_eq!(without_users(line), shown);
        }
    }
}
