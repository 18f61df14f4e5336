//! Addresses as Go's `net.JoinHostPort` writes them.

use std::fmt::Display;

use compact_str::{CompactString, format_compact};

/// `host:port`, with an IPv6 address in brackets.
pub(super) fn join_host_port(host: &str, port: impl Display) -> CompactString {
    if host.contains(':') { format_compact!("[{host}]:{port}") } else { format_compact!("{host}:{port}") }
}

/// A port as Prometheus writes those of pods and endpoints: what is below zero, which the API never says, wraps around.
pub(super) fn unsigned(port: i32) -> u64 {
    i64::from(port).cast_unsigned()
}
