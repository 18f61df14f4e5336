//! Addresses: what a target's URL and the request Prometheus makes for it have in common.
//!
//! Prometheus asks for every target by plain http, without the user part of its URL, and in the spelling of Go's URL
//! encoder. An [`Address`] is what is left when none of that counts: authority, decoded path, sorted parameters.

use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use url::{Host, form_urlencoded};

use crate::scheme_twins::SCHEME_PARAM;

/// Where within its job a target is scraped, whatever the scheme.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    authority: String,
    path: Vec<u8>,
    /// Sorted by name; values of one name stay in their order.
    parameters: Vec<(String, String)>,
}

/// How a target is truly scraped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Address {
    /// The address and the scheme of a target's URL; none when it is not one that can be scraped.
    pub(super) fn of_target(url: &str) -> Option<(Self, Scheme)> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let rest = rest.split('#').next().unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Some((Self::new(authority, path, query), scheme))
    }

    /// The address that a request asks for.
    pub(super) fn of_request(authority: &str, path_and_query: &PathAndQuery) -> Self {
        Self::new(authority, path_and_query.path(), path_and_query.query().unwrap_or_default())
    }

    fn new(authority: &str, path: &str, query: &str) -> Self {
        // Go turns the user part into an Authorization header and does not send it as part of the URL.
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = if path.is_empty() { "/" } else { path };
        let mut parameters: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        parameters.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self { authority: as_go_sends_it(authority), path: percent_decode_str(path).collect(), parameters }
    }
}

/// An authority with its host in ASCII: Go sends international names in Punycode.
fn as_go_sends_it(authority: &str) -> String {
    let ascii = if authority.is_ascii() {
        None
    } else {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        Host::parse(host).ok().map(|host| port.map_or_else(|| host.to_string(), |port| format!("{host}:{port}")))
    };
    ascii.unwrap_or_else(|| authority.to_owned()).to_ascii_lowercase()
}

/// What was asked for, without the parameter that marks an https twin; and whether it was there.
pub(super) fn without_scheme_mark(asked: &PathAndQuery) -> (PathAndQuery, bool) {
    let query = asked.query().unwrap_or_default();
    let is_mark = |pair: &&str| pair.split_once('=') == Some((SCHEME_PARAM, Scheme::Https.as_str()));
    if !query.split('&').any(|pair| is_mark(&pair)) {
        return (asked.clone(), false);
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| !is_mark(pair)).collect();
    let text = if rest.is_empty() { asked.path().to_owned() } else { format!("{}?{}", asked.path(), rest.join("&")) };
    // A part of a valid one, cut at its separators, is one.
    (PathAndQuery::try_from(text).unwrap_or_else(|_| asked.clone()), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(authority: &str, path_and_query: &str) -> Address {
        Address::of_request(authority, &PathAndQuery::try_from(path_and_query).unwrap())
    }

    fn target(url: &str) -> Address {
        Address::of_target(url).unwrap().0
    }

    #[test]
    fn a_target_is_found_however_its_url_is_spelled() {
        assert_eq!(target("http://host:80/metrics"), asked("HOST:80", "/metrics"));
        assert_eq!(target("http://host"), asked("host", "/"));
        assert_eq!(target("https://host:443?a=1"), asked("host:443", "/?a=1"));
        assert_eq!(target("http://host/a b?x=1 2"), asked("host", "/a%20b?x=1+2"));
        assert_eq!(target("http://host/m?b=2&a=1&b=1"), asked("host", "/m?a=1&b=2&b=1"));
        assert_eq!(target("http://user:p@ss@host/m"), asked("host", "/m"));
        assert_eq!(target("http://bücher.example:80/m"), asked("xn--bcher-kva.example:80", "/m"));
        assert_eq!(target("http://[::1]:9100/m"), asked("[::1]:9100", "/m"));
    }

    #[test]
    fn targets_that_differ_in_host_port_path_or_parameters_are_not_the_same() {
        let one = target("http://host:80/m?a=1");
        for other in ["http://other:80/m?a=1", "http://host/m?a=1", "http://host:80/n?a=1", "http://host:80/m?a=2"] {
            assert_ne!(one, target(other), "{other}");
        }
        assert_ne!(target("http://host/m?a=1&a=2"), target("http://host/m?a=2&a=1"));
    }

    #[test]
    fn what_is_no_http_url_has_no_address() {
        assert_eq!(Address::of_target("ftp://host/"), None);
        assert_eq!(Address::of_target("host:80"), None);
    }

    #[test]
    fn the_mark_of_an_https_twin_is_taken_off_and_nothing_else() {
        let check = |asked: &str| {
            let (rest, marked) = without_scheme_mark(&PathAndQuery::try_from(asked.to_owned()).unwrap());
            (rest.as_str().to_owned(), marked)
        };
        assert_eq!(check("/m?narthex_scheme=https"), ("/m".into(), true));
        assert_eq!(check("/m?a=%2F&narthex_scheme=https&b=+"), ("/m?a=%2F&b=+".into(), true));
        assert_eq!(check("/m?narthex_scheme=http"), ("/m?narthex_scheme=http".into(), false));
        assert_eq!(check("/m?"), ("/m?".into(), false));
    }
}
