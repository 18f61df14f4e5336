//! The address of a target, and the port that Prometheus 2.x appends to it.

use compact_str::{CompactString, format_compact};

/// The address with the scheme's port, unless it has one or is no address anyhow; none when it needs a port and the
/// scheme has none.
pub(super) fn with_default_port(address: &str, scheme: &str) -> Option<CompactString> {
    // If a port makes it an address, a port is what it lacked.
    if has_port(address) || !has_port(&format_compact!("{address}:1234")) {
        return Some(address.into());
    }
    match scheme {
        "http" | "" => Some(format_compact!("{address}:80")),
        "https" => Some(format_compact!("{address}:443")),
        _ => None,
    }
}

/// Whether Go's `net.SplitHostPort` can split it.
fn has_port(address: &str) -> bool {
    let Some((host, port)) = address.rsplit_once(':') else { return false };
    let host = match host.strip_prefix('[') {
        // The first `]` must stand right before the last colon.
        Some(bracketed) => match bracketed.split_once(']') {
            Some((host, "")) => host,
            Some((_, _)) | None => return false,
        },
        None if host.contains([':', ']']) => return false,
        None => host,
    };
    !host.contains('[') && !port.contains(['[', ']'])
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("host", "http", "host:80")]
    #[case("host", "", "host:80")]
    #[case("host", "https", "host:443")]
    #[case("host:1", "https", "host:1")]
    #[case("host:", "http", "host:")]
    #[case::ipv6("[::1]", "http", "[::1]:80")]
    #[case::ipv6_with_port("[::1]:9", "http", "[::1]:9")]
    #[case::ipv6_without_brackets("::1", "http", "::1")]
    #[case::no_address("[::1", "http", "[::1")]
    fn a_port_is_appended_where_one_is_missing(#[case] address: &str, #[case] scheme: &str, #[case] expected: &str) {
        assert_eq!(with_default_port(address, scheme).unwrap(), expected);
    }

    #[test]
    fn a_scheme_without_a_port_is_refused_only_where_one_is_needed() {
        assert_eq!(with_default_port("host", "ftp"), None);
        assert!(with_default_port("host:21", "ftp").is_some());
    }
}
