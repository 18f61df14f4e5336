//! `/etc/resolv.conf`, read as the DNS library of Prometheus reads it: which servers there are, and under which names a
//! name is looked for.

use super::name::labels_of;

/// The port of a server that names none.
const DNS_PORT: u16 = 53;

/// The most dots that `ndots` may ask for.
const MAX_NDOTS: usize = 15;

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// Whom to ask, in this order.
    pub(super) servers: Vec<Server>,
    search: Vec<String>,
    ndots: usize,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Server {
    /// Its address as written: `fe80::1%eth0` has a zone.
    pub(super) host: String,
    /// Its port.
    pub(super) port: u16,
}

impl Server {
    /// A server as it is written: an address, or as OpenBSD has it `[address]:port`.
    fn read(text: &str) -> Self {
        let with_port = text.strip_prefix('[').and_then(|rest| rest.split_once("]:"));
        match with_port.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => Self { host: host.to_owned(), port },
            None => Self { host: text.to_owned(), port: DNS_PORT },
        }
    }
}

impl ResolvConf {
    /// Reads the file's text. What is not known in it is skipped.
    pub(super) fn read(text: &str) -> Self {
        let mut conf = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => conf.servers.extend(words.next().map(Server::read)),
                // The last of both counts.
                Some("domain") => conf.search = words.take(1).map(str::to_owned).collect(),
                Some("search") => conf.search = words.map(str::to_owned).collect(),
                Some("options") => {
                    for ndots in words.filter_map(|option| option.strip_prefix("ndots:")) {
                        conf.ndots = ndots.parse().unwrap_or(0).min(MAX_NDOTS);
                    }
                }
                Some(_) | None => {}
            }
        }
        conf
    }

    /// The full names that a name may stand for, in the order they are asked for.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if is_full(name) {
            return vec![name.to_owned()];
        }
        let as_it_is = full(name.to_owned());
        let mut candidates: Vec<String> =
            self.search.iter().map(|domain| full(format!("{as_it_is}{domain}"))).collect();
        let position = if labels_of(name) > self.ndots { 0 } else { candidates.len() };
        candidates.insert(position, as_it_is);
        candidates
    }
}

/// Whether a name ends with a dot that is not escaped.
fn is_full(name: &str) -> bool {
    name.strip_suffix('.').is_some_and(|before| before.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 0)
}

fn full(name: String) -> String {
    if is_full(&name) { name } else { name + "." }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn servers_search_list_and_dots_are_read_and_the_rest_is_skipped() {
        let text = "# comment\nnameserver 10.0.0.1\n nameserver\tfe80::1%eth0 # second\nnameserver\n\
                    nameserver [::1]:5353\nnameserver [10.0.0.2]:54\nsortlist x\n\
                    domain gone.example\nsearch a.example b.example\noptions rotate ndots:5 timeout:1\n;";
        let conf = ResolvConf::read(text);
        let servers: Vec<_> = conf.servers.iter().map(|server| (server.host.as_str(), server.port)).collect();
        assert_eq!(servers, [("10.0.0.1", 53), ("fe80::1%eth0", 53), ("::1", 5353), ("10.0.0.2", 54)]);
        assert_eq!((conf.search, conf.ndots), (vec!["a.example".to_owned(), "b.example".to_owned()], 5));
    }

    #[rstest]
    #[case("search a b\ndomain c d", &["c"], 1)]
    #[case("search a\nsearch", &[], 1)]
    #[case("options ndots:99", &[], 15)]
    #[case("options ndots:-1", &[], 0)]
    #[case("options ndots:x", &[], 0)]
    fn the_last_word_counts(#[case] text: &str, #[case] search: &[&str], #[case] ndots: usize) {
        let conf = ResolvConf::read(text);
        assert_eq!((conf.search, conf.ndots), (search.iter().map(ToString::to_string).collect(), ndots));
    }

    #[rstest]
    #[case::full("db.", 1, &["db."])]
    #[case::without_dots("db", 1, &["db.x.", "db.y.", "db."])]
    #[case::with_as_many_dots_as_asked_for("db.ns", 1, &["db.ns.", "db.ns.x.", "db.ns.y."])]
    #[case::with_fewer("_http._tcp.db.ns", 5, &["_http._tcp.db.ns.x.", "_http._tcp.db.ns.y.", "_http._tcp.db.ns."])]
    #[case::with_an_escaped_dot_at_its_end(r"db\.", 1, &[r"db\..x.", r"db\..y.", r"db\.."])]
    fn a_name_stands_for_several_full_names(#[case] name: &str, #[case] ndots: usize, #[case] expected: &[&str]) {
        let conf = ResolvConf { servers: Vec::new(), search: vec!["x".into(), "y.".into()], ndots };
        assert_eq!(conf.candidates(name), expected);
    }
}
