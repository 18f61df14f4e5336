//! `no_proxy` and `NO_PROXY`: the hosts that are reached without the proxy, as Go's `httpproxy` takes the list.

use std::net::IpAddr;

use url::Host;

use crate::http_client::connect::Endpoint;

/// The hosts that are reached without the proxy. This machine itself is always among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Exceptions {
    everything: bool,
    networks: Vec<Network>,
    addresses: Vec<(IpAddr, Option<u16>)>,
    domains: Vec<Domain>,
}

#[derive(Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u32,
}

#[derive(Debug, PartialEq, Eq)]
struct Domain {
    /// With its dot.
    below: String,
    itself: bool,
    port: Option<u16>,
}

impl Exceptions {
    /// Reads a list of addresses, networks and domains, with or without ports. What is none of these is passed over.
    pub(super) fn parse(list: &str) -> Self {
        let mut all = Self::default();
        for entry in list.split(',').map(|entry| entry.trim().to_lowercase()).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                return Self { everything: true, ..Self::default() };
            }
            if let Some(network) = Network::parse(&entry) {
                all.networks.push(network);
                continue;
            }
            let (host, port) = split_port(&entry);
            // A port that is no number is never asked for.
            let Ok(port) = port.filter(|port| !port.is_empty()).map(str::parse).transpose() else { continue };
            if let Ok(address) = host.parse::<IpAddr>() {
                all.addresses.push((address.to_canonical(), port));
            } else if let Some(domain) = Domain::parse(host, port) {
                all.domains.push(domain);
            }
        }
        all
    }

    /// Whether a host is reached without the proxy.
    pub(super) fn contain(&self, target: &Endpoint) -> bool {
        let host = target.host.to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        if self.everything || host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        let here = |port: Option<u16>| port.is_none_or(|port| port == target.port);
        match address {
            Some(address) => {
                self.networks.iter().any(|network| network.contains(address))
                    || self.addresses.iter().any(|(other, port)| *other == address && here(*port))
            }
            None => self.domains.iter().any(|domain| domain.contains(&host) && here(domain.port)),
        }
    }
}

impl Network {
    fn parse(entry: &str) -> Option<Self> {
        let (address, prefix) = entry.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let prefix: u32 = prefix.parse().ok()?;
        let bits = if address.is_ipv4() { u32::BITS } else { u128::BITS };
        (prefix <= bits).then_some(Self { address, prefix })
    }

    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(other)) => (ours.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix,
            (IpAddr::V6(ours), IpAddr::V6(other)) => (ours.to_bits() ^ other.to_bits()).leading_zeros() >= self.prefix,
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl Domain {
    /// `example.com` is itself and all below it, `.example.com` and `*.example.com` only what is below.
    fn parse(host: &str, port: Option<u16>) -> Option<Self> {
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        let name = host.strip_prefix('.').unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let ascii = match Host::parse(name) {
            Ok(Host::Domain(ascii)) if !name.is_ascii() => ascii,
            Ok(_) | Err(_) => name.to_owned(),
        };
        Some(Self { below: format!(".{ascii}"), itself: !host.starts_with('.'), port })
    }

    fn contains(&self, host: &str) -> bool {
        host.ends_with(&self.below) || (self.itself && host == &self.below[1..])
    }
}

/// `host:port` and `[host]:port` in two; anything else is a host.
fn split_port(entry: &str) -> (&str, Option<&str>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') && host.ends_with(']') => (&host[1..host.len() - 1], Some(port)),
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        Some(_) | None => (entry, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After golang.org/x/net `http/httpproxy/proxy_test.go`.
    const LIST: &str = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, \
                        10.0.0.0/30, 2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, \
                        2002:db8:a::45/64, .nospace.org,, ported.com:90, bücher.example, x.com:http, 2001:db8::1:80";

    fn is_direct(url: &str) -> bool {
        Exceptions::parse(LIST).contain(&Endpoint::of(&url.parse().unwrap()))
    }

    #[test]
    fn these_are_reached_without_the_proxy() {
        for url in [
            "http://localhost/",
            "http://LOCALHOST:80/",
            "http://127.0.0.1/",
            "http://127.7.7.7/",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://192.168.1.1/",
            "http://192.168.1.1:9100/",
            "http://[::ffff:192.168.1.1]/",
            "http://192.168.1.2:81/",
            "http://192.168.1.3/",
            "http://10.0.0.2/",
            "http://[2001:db8::52:0:1]/",
            "https://[2001:db8::52:0:2]/",
            "http://[2001:db8::52:0:3]/",
            "http://[2002:db8:a::123]/",
            "http://foobar.com/",
            "http://FOObar.com/",
            "http://www.foobar.com/",
            "http://www.barbaz.net/",
            "http://a.wildcard.io/",
            "http://www.nospace.org/",
            "http://ported.com:90/",
            "http://xn--bcher-kva.example/",
        ] {
            assert!(is_direct(url), "{url}");
        }
    }

    #[test]
    fn these_are_not() {
        for url in [
            "http://192.168.1.2/",
            "http://192.168.1.3:81/",
            "http://192.168.1.4/",
            "http://10.0.0.4/",
            "http://[2001:db8::52:0:2]/",
            "https://[2001:db8::52:0:3]/",
            "http://[2002:db8:a:1::1]/",
            "http://notfoobar.com/",
            "http://barbaz.net/",
            "http://wildcard.io/",
            "http://ported.com/",
            "http://x.com/",
            "http://localhost.example/",
        ] {
            assert!(!is_direct(url), "{url}");
        }
    }

    #[test]
    fn a_star_excepts_everything() {
        let endpoint = Endpoint { host: "anything".to_owned(), port: 1 };
        assert!(Exceptions::parse("a, *").contain(&endpoint));
        assert!(!Exceptions::parse("*a, :80, ., /8, 1.2.3.4/99").contain(&endpoint));
        assert!(!Exceptions::parse("").contain(&endpoint));
    }
}
