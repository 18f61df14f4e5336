//! What a Prometheus says of a target that fails, and where a shard says it differently.
//!
//! The rule: a shard's `lastError`, and what the sidecar reports to the coordinator, are the words that a Prometheus has
//! which asks the target itself. Every exception is a [`ByShard`] or [`Reported`] other than `Same`; the guide lists them
//! under "What a failing target looks like".

use narthex_e2e::process::Release;

/// What is said of one target, word for word. Empty: it is up.
///
/// `{get}` stands for `Get "URL"`, `{url}` for the target's URL, `{address}` for its host and port, `{closed}` for those of
/// a closed port. What differs from scrape to scrape is replaced in what was seen: `{own}` is the scraper's own address,
/// `{now}` the time, `{resolver}` the address of the name server.
pub(crate) struct Words {
    /// By a Prometheus 2.42 that asks the target itself.
    v2_42: &'static str,
    /// By a 3.5.
    v3_5: &'static str,
    by_shard: ByShard,
    reported: Reported,
}

/// What the shard's Prometheus says of it.
enum ByShard {
    /// The very same.
    Same,
    /// `server returned HTTP status 502 REASON`, where Prometheus itself says `Get "URL": REASON`. No proxy can make it say
    /// the second.
    Unanswered,
    /// `unexpected EOF`: the sidecar breaks the answer off, that is all it can say in the middle of one.
    BrokenOff,
    /// This.
    Other(&'static str),
}

/// What the sidecar says of it, and the coordinator.
enum Reported {
    /// What a Prometheus says that asks the target itself.
    Same,
    /// This.
    Other(&'static str),
    /// That it is up.
    Up,
}

/// The sidecar's HTTP implementation does not say what is wrong with an answer that is no HTTP.
const MALFORMED: &str = "net/http: HTTP/1.x transport connection broken: malformed HTTP response";

pub(crate) const fn up() -> Words {
    Words::same("")
}

impl Words {
    /// Everybody says this.
    pub(crate) const fn same(words: &'static str) -> Self {
        Self { v2_42: words, v3_5: words, by_shard: ByShard::Same, reported: Reported::Same }
    }

    /// The target gave no answer.
    pub(crate) const fn unanswered(words: &'static str) -> Self {
        Self { by_shard: ByShard::Unanswered, ..Self::same(words) }
    }

    /// The target's answer is broken.
    pub(crate) const fn broken_off(words: &'static str) -> Self {
        Self { by_shard: ByShard::BrokenOff, ..Self::same(words) }
    }

    /// The target's answer is no HTTP.
    pub(crate) const fn malformed(words: &'static str) -> Self {
        Self {
            by_shard: ByShard::Other("server returned HTTP status 502 {malformed}"),
            reported: Reported::Other("{get}: {malformed}"),
            ..Self::same(words)
        }
    }

    /// The answer is no exposition, which only a Prometheus finds: the sidecar counts samples and does not parse them.
    pub(crate) const fn no_exposition(v2_42: &'static str, v3_5: &'static str) -> Self {
        Self { v2_42, v3_5, by_shard: ByShard::Same, reported: Reported::Up }
    }

    /// A Prometheus 3.5 says this.
    pub(crate) const fn but_3_5(self, words: &'static str) -> Self {
        Self { v3_5: words, ..self }
    }

    /// The shard says this.
    pub(crate) const fn but_shard(self, words: &'static str) -> Self {
        Self { by_shard: ByShard::Other(words), ..self }
    }

    /// The sidecar and the coordinator say this.
    pub(crate) const fn but_reported(self, words: &'static str) -> Self {
        Self { reported: Reported::Other(words), ..self }
    }

    /// What a Prometheus says that asks the target itself.
    pub(crate) fn directly(&self, release: Release, place: &Place) -> String {
        let words = match release {
            Release::V2_42 => self.v2_42,
            Release::V3_5 => self.v3_5,
        };
        place.filled(words, Some(release))
    }

    /// What the shard's Prometheus says.
    pub(crate) fn by_shard(&self, release: Release, place: &Place) -> String {
        match self.by_shard {
            ByShard::Same => self.directly(release, place),
            ByShard::Unanswered => {
                let directly = self.as_go_says_now(release, place);
                let reason = directly.split_once("\": ").map_or("", |(_, reason)| reason);
                format!("server returned HTTP status 502 {reason}")
            }
            ByShard::BrokenOff => "unexpected EOF".to_owned(),
            ByShard::Other(words) => place.filled(words, None),
        }
    }

    /// What the sidecar and the coordinator say.
    pub(crate) fn reported(&self, release: Release, place: &Place) -> String {
        match self.reported {
            Reported::Same => self.as_go_says_now(release, place),
            Reported::Other(words) => place.filled(words, None),
            Reported::Up => String::new(),
        }
    }

    /// The sidecar has the words of the Go of today, whatever its Prometheus was built with.
    fn as_go_says_now(&self, release: Release, place: &Place) -> String {
        let words = match release {
            Release::V2_42 => self.v2_42,
            Release::V3_5 => self.v3_5,
        };
        place.filled(words, None)
    }
}

/// Where a target is.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) address: String,
    pub(crate) closed: String,
}

impl Place {
    fn filled(&self, words: &str, says: Option<Release>) -> String {
        // Before Go 1.20, with which 2.42 is built, a certificate that is not trusted had fewer words.
        let verify = match says {
            Some(Release::V2_42) => "",
            Some(Release::V3_5) | None => "tls: failed to verify certificate: ",
        };
        words
            .replace("{get}", &format!("Get \"{}\"", self.url))
            .replace("{url}", &self.url)
            .replace("{address}", &self.address)
            .replace("{closed}", &self.closed)
            .replace("{malformed}", MALFORMED)
            .replace("{verify}", verify)
    }
}

/// What was seen, without what differs from scrape to scrape.
pub(crate) fn comparable(said: &str) -> String {
    let mut text = said.to_owned();
    for (before, after, name) in
        [(" tcp ", "->", "{own}"), ("current time ", " is ", "{now}"), (".invalid on ", ": no such host", "{resolver}")]
    {
        if let Some(from) = text.find(before).map(|at| at + before.len())
            && let Some(length) = text[from..].find(after)
        {
            text.replace_range(from..from + length, name);
        }
    }
    // Whether the dialer or the request sees first that the time is up is a race in Go.
    match text.split_once(": dial tcp ") {
        Some((get, dialed)) if dialed.ends_with(": i/o timeout") => format!("{get}: context deadline exceeded"),
        Some(_) | None => text,
    }
}
