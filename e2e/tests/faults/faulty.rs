//! The faulty targets: what each does, and what is said of it.

use std::{io::Write as _, time::Duration};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use narthex_e2e::scripted::{Step, say};

use crate::expected::{Words, up};

/// One target that follows a script.
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Step>,
    pub(crate) words: Words,
}

const TEXT: &str = "Content-Type: text/plain; version=0.0.4\r\n";
const GZIP: &str = "Content-Encoding: gzip\r\n";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nTransfer-Encoding: chunked\r\n\r\n";
const MEGABYTE: usize = 1 << 20;

/// An answer of known length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Bytes {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat().into()
}

/// A good one.
pub(crate) fn ok(headers: &str, body: &[u8]) -> Bytes {
    answer("200 OK", &format!("{TEXT}{headers}"), body)
}

/// Sends its scraper on.
pub(crate) fn redirect(to: &str) -> Bytes {
    answer("302 Found", &format!("Location: {to}\r\n"), b"")
}

/// A good answer without the second half of its body.
fn half(headers: &str, body: &[u8]) -> Bytes {
    let whole = ok(headers, body);
    whole.slice(..whole.len() - body.len() / 2)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into memory does not fail.
    drop(encoder.write_all(text));
    encoder.finish().unwrap_or_default()
}

fn text() -> Vec<u8> {
    (0..2000).map(|i| format!("series{{i=\"{i}\"}} {i}\n")).collect::<String>().into_bytes()
}

fn fault(name: &'static str, steps: Vec<Step>, words: Words) -> Fault {
    Fault { name, steps, words }
}

/// All that follow a script, of the job without a limit.
pub(crate) fn all() -> Vec<Fault> {
    let mut all = unanswered();
    all.extend(heads());
    all.extend(broken_bodies());
    all.extend(wrong_gzip());
    all.extend(wrong_contents());
    all.extend(redirects());
    all.extend(odd_and_fine());
    all.extend(statuses());
    all
}

fn unanswered() -> Vec<Fault> {
    vec![
        fault("silent", vec![Step::Hang], Words::same("{get}: context deadline exceeded")),
        fault("hangs-up", vec![], Words::unanswered("{get}: EOF")),
        fault(
            "resets",
            vec![Step::Reset],
            Words::unanswered("{get}: read tcp {own}->{address}: read: connection reset by peer"),
        ),
        fault(
            "no-http",
            vec![say("SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")],
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"Debian-2\"",
            ),
        ),
    ]
}

fn heads() -> Vec<Fault> {
    let said = |text: &'static str| vec![say(text)];
    let flood = |headers: usize, value: usize| {
        let many: String = (0..headers).map(|i| format!("X-Flood-{i}: {}\r\n", "x".repeat(value))).collect();
        vec![say(ok(&many, b"flooded 1\n"))]
    };
    vec![
        fault(
            "bad-status",
            said("HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n"),
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: malformed HTTP status code \"OK\"",
            ),
        ),
        fault(
            "bad-header",
            said("HTTP/1.1 200 OK\r\nno header at all\r\nContent-Length: 2\r\n\r\na 1\n"),
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon: \
                 \"no header at all\"",
            ),
        ),
        fault(
            "two-lengths",
            said("HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\na 1\n\n"),
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: http: message cannot contain multiple \
                 Content-Length headers; got [\"4\" \"5\"]",
            ),
        ),
        fault(
            "bad-length",
            said("HTTP/1.1 200 OK\r\nContent-Length: four\r\n\r\na 1\n\n"),
            Words::malformed("{get}: net/http: HTTP/1.x transport connection broken: bad Content-Length \"four\""),
        ),
        fault(
            "half-a-head",
            said("HTTP/1.1 200 OK\r\nContent-Ty"),
            Words::same(
                "{get}: net/http: HTTP/1.x transport connection broken: malformed MIME header: missing colon: \
                 \"Content-Ty\"",
            )
            .but_shard("server returned HTTP status 502 EOF")
            .but_reported("{get}: EOF"),
        ),
        fault("many-headers", flood(200, 50), up()),
        // As much as Go takes is more than the sidecar can hold for every scrape.
        fault(
            "large-headers",
            flood(8, 30 << 10),
            up().but_shard("server returned HTTP status 502 {malformed}").but_reported("{get}: {malformed}"),
        ),
        fault(
            "too-large-headers",
            flood(12, MEGABYTE),
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded \
                 10485760 bytes; aborted",
            ),
        ),
    ]
}

fn broken_bodies() -> Vec<Fault> {
    let tenth = Duration::from_millis(100);
    let reset = "read tcp {own}->{address}: read: connection reset by peer";
    let again = |piece: &'static str, times| Step::Repeat { piece: piece.into(), times, pause: tenth };
    vec![
        fault("drips", vec![say(CHUNKED), again("7\r\ndrip 1\n\r\n", 600)], Words::same("context deadline exceeded")),
        fault(
            "drips-in-time",
            vec![say(format!("HTTP/1.1 200 OK\r\n{TEXT}\r\n")), again("# drip\n", 9), say("in_time 1\n")],
            up(),
        ),
        fault("stalls", vec![say(half("", &text())), Step::Hang], Words::same("context deadline exceeded")),
        fault("resets-in-the-middle", vec![say(half("", &text())), Step::Reset], Words::broken_off(reset)),
        fault("resets-in-a-chunk", vec![say(CHUNKED), say("64\r\na 1\n"), Step::Reset], Words::broken_off(reset)),
        fault("resets-in-gzip", vec![say(half(GZIP, &gzip(&text()))), Step::Reset], Words::broken_off(reset)),
        fault("stops-in-the-middle", vec![say(half("", &text()))], Words::same("unexpected EOF")),
        fault("stops-in-a-chunk", vec![say(CHUNKED), say("64\r\na 1\n")], Words::same("unexpected EOF")),
        fault("stops-in-gzip", vec![say(half(GZIP, &gzip(&text())))], Words::same("unexpected EOF")),
        fault("no-last-chunk", vec![say(CHUNKED), say("4\r\na 1\n\r\n")], Words::same("unexpected EOF")),
        fault(
            "bad-chunk",
            vec![say(CHUNKED), say("4\r\na 1\n\r\nzz\r\na 1\n\r\n0\r\n\r\n")],
            Words::broken_off("invalid byte in chunk length"),
        ),
        fault(
            "zeroes",
            vec![
                say(format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 10737418240\r\n\r\n")),
                Step::Repeat { piece: vec![0; MEGABYTE / 16].into(), times: 10 << 14, pause: tenth / 2 },
            ],
            Words::same("context deadline exceeded"),
        ),
        fault(
            "zeroes-in-gzip",
            vec![
                say(format!("HTTP/1.1 200 OK\r\n{TEXT}{GZIP}\r\n")),
                Step::Repeat { piece: gzip(&vec![0; MEGABYTE]).into(), times: 10 << 10, pause: tenth * 4 },
            ],
            Words::same("context deadline exceeded"),
        ),
    ]
}

/// Ten gigabytes as fast as they are taken, for the job that takes a megabyte.
pub(crate) fn endless() -> Vec<Fault> {
    let zeroes = |headers: &str, piece: Vec<u8>| {
        let piece = Bytes::from(piece);
        let head = format!("HTTP/1.1 200 OK\r\n{TEXT}{headers}\r\n");
        vec![say(head), Step::Repeat { piece, times: 10 << 10, pause: Duration::ZERO }]
    };
    let exceeded = || Words::same("body size limit exceeded");
    vec![
        fault("limited-zeroes", zeroes("", vec![0; MEGABYTE]), exceeded()),
        fault("limited-announced", zeroes("Content-Length: 10737418240\r\n", vec![0; MEGABYTE]), exceeded()),
        fault("limited-zeroes-in-gzip", zeroes(GZIP, gzip(&vec![0; MEGABYTE])), exceeded()),
        fault("limited-good", vec![say(ok("", b"good 1\n"))], up()),
    ]
}

fn wrong_gzip() -> Vec<Fault> {
    let packed = gzip(&text());
    let end = packed.len();
    let (mut wrong_sum, mut corrupt) = (packed.clone(), packed.clone());
    // The last eight bytes are the checksum and the length.
    wrong_sum[end - 8] ^= 1;
    corrupt[20..60].fill(0xff);
    let body = |body: &[u8]| vec![say(ok(GZIP, body))];
    vec![
        fault("gzip-garbage", body(b"this is not gzip at all"), Words::same("gzip: invalid header")),
        fault("gzip-cut", body(&packed[..end / 2]), Words::same("unexpected EOF")),
        fault("gzip-cut-in-its-sum", body(&packed[..end - 4]), Words::same("unexpected EOF")),
        fault("gzip-wrong-sum", body(&wrong_sum), Words::same("gzip: invalid checksum")),
        fault(
            "gzip-corrupt",
            body(&corrupt),
            Words::same("flate: corrupt input before offset 58").but_reported("flate: corrupt input before offset 68"),
        ),
        fault(
            "gzip-then-more",
            body(&[&packed[..], b"and then some more"].concat()),
            Words::same("gzip: invalid header"),
        ),
        fault("gzip-empty", body(b""), Words::same("EOF")),
        fault(
            "gzip-unannounced",
            vec![say(ok("", &packed))],
            Words::no_exposition(
                "\"INVALID\" is not a valid start token",
                r#"expected a valid start token, got "\x1f" ("INVALID") while parsing: "\x1f""#,
            ),
        ),
        fault(
            "other-encoding",
            vec![say(ok("Content-Encoding: br\r\n", b"\x0b\x02\x80a 1\n\x03"))],
            Words::no_exposition(
                "\"INVALID\" is not a valid start token",
                r#"expected a valid start token, got "\v" ("INVALID") while parsing: "\v""#,
            ),
        ),
    ]
}

fn wrong_contents() -> Vec<Fault> {
    let typed = |content_type: &str| {
        let header = if content_type.is_empty() { String::new() } else { format!("Content-Type: {content_type}\r\n") };
        vec![say(answer("200 OK", &header, b"typed 1\n"))]
    };
    let open_metrics = "Content-Type: application/openmetrics-text; version=1.0.0\r\n";
    vec![
        fault(
            "type-html",
            typed("text/html; charset=utf-8"),
            up().but_3_5(
                "received unsupported Content-Type \"text/html; charset=utf-8\" and no fallback_scrape_protocol \
                 specified for target",
            ),
        ),
        fault(
            "type-json",
            typed("application/json"),
            up().but_3_5(
                "received unsupported Content-Type \"application/json\" and no fallback_scrape_protocol specified for \
                 target",
            ),
        ),
        fault(
            "type-blank",
            typed(""),
            up().but_3_5(
                "non-compliant scrape target sending blank Content-Type and no fallback_scrape_protocol specified for \
                 target",
            ),
        ),
        fault(
            "type-malformed",
            typed(";;;="),
            up().but_3_5(
                "cannot parse Content-Type \";;;=\" and no fallback_scrape_protocol for target\nmime: no media type",
            ),
        ),
        fault(
            "no-eof",
            vec![say(answer("200 OK", open_metrics, b"a 1\n"))],
            Words::same("data does not end with # EOF"),
        ),
        fault(
            "no-exposition",
            vec![say(ok("", b"<html>{{ no exposition }}</html>\n"))],
            Words::no_exposition(
                "\"INVALID\" is not a valid start token",
                r#"expected a valid start token, got "<" ("INVALID") while parsing: "<""#,
            ),
        ),
    ]
}

fn redirects() -> Vec<Fault> {
    vec![
        fault(
            "redirect-to-ftp",
            vec![say(redirect("ftp://127.0.0.1/metrics"))],
            Words::unanswered("Get \"ftp://127.0.0.1/metrics\": unsupported protocol scheme \"ftp\""),
        ),
        fault(
            "redirect-nowhere",
            vec![say(answer("302 Found", "", b""))],
            Words::same("server returned HTTP status 302 Found"),
        ),
        fault(
            "redirect-malformed",
            vec![say(redirect("http://[::1/"))],
            Words::same(
                "{get}: failed to parse Location header \"http://[::1/\": parse \"http://[::1/\": missing ']' in host",
            )
            .but_shard(
                "server returned HTTP status 502 failed to parse Location header \"http://[::1/\": parse \
                 \"http://[::1/\": invalid IPv6 address",
            )
            .but_reported(
                "{get}: failed to parse Location header \"http://[::1/\": parse \"http://[::1/\": invalid IPv6 address",
            ),
        ),
        fault(
            "redirect-loop",
            vec![say(redirect("/metrics"))],
            Words::unanswered("Get \"/metrics\": stopped after 10 redirects"),
        ),
    ]
}

fn odd_and_fine() -> Vec<Fault> {
    vec![
        fault("http-1.0", vec![say(format!("HTTP/1.0 200 OK\r\n{TEXT}\r\nold 1\n"))], up()),
        fault("no-length", vec![say(format!("HTTP/1.1 200 OK\r\n{TEXT}\r\nno_length 1\n"))], up()),
        fault(
            "too-much",
            vec![say(format!("HTTP/1.1 200 OK\r\n{TEXT}Content-Length: 11\r\n\r\ntoo_much 1\nand more\n"))],
            up(),
        ),
        fault(
            "bare-newlines",
            vec![say("HTTP/1.1 200 OK\nContent-Type: text/plain\nContent-Length: 4\n\na 1\n")],
            up(),
        ),
        fault("empty", vec![say(answer("200 OK", "", b""))], up()),
        fault(
            "early-hints",
            vec![say("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"), say(ok("", b"late 1\n"))],
            up(),
        ),
        fault("continue", vec![say("HTTP/1.1 100 Continue\r\n\r\n"), say(ok("", b"late 1\n"))], up()),
        fault("good", vec![say(ok("", b"good 1\n"))], up()),
    ]
}

fn statuses() -> Vec<Fault> {
    let status = |status: &str| vec![say(answer(status, "", b"no\n"))];
    let bare = "server returned HTTP status 500";
    vec![
        fault(
            "status-204",
            vec![say("HTTP/1.1 204 No Content\r\n\r\n")],
            Words::same("server returned HTTP status 204 No Content"),
        ),
        fault(
            "status-304",
            vec![say("HTTP/1.1 304 Not Modified\r\n\r\n")],
            Words::same("server returned HTTP status 304 Not Modified"),
        ),
        fault(
            "status-206",
            vec![say(answer("206 Partial Content", TEXT, b"a 1\n"))],
            Words::same("server returned HTTP status 206 Partial Content"),
        ),
        fault(
            "status-401",
            vec![say(answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", b"who?\n"))],
            Words::same("server returned HTTP status 401 Unauthorized"),
        ),
        fault(
            "status-407",
            vec![say(answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic\r\n", b"who?\n"))],
            Words::same("server returned HTTP status 407 Proxy Authentication Required"),
        ),
        fault(
            "status-429",
            status("429 Slow Down, Please: 5% (of \"all\")"),
            Words::same("server returned HTTP status 429 Slow Down, Please: 5% (of \"all\")"),
        ),
        fault("status-502", status("502 Bad Gateway"), Words::same("server returned HTTP status 502 Bad Gateway")),
        fault("status-799", status("799 Own Number"), Words::same("server returned HTTP status 799 Own Number")),
        // hyper always writes the space before a reason, and does not read one that is not ASCII.
        fault("status-500-bare", status("500"), Words::same(bare).but_shard("server returned HTTP status 500 ")),
        fault("status-500-space", status("500 "), Words::same("server returned HTTP status 500 ").but_reported(bare)),
        fault(
            "status-503-utf8",
            status("503 Überlastet"),
            Words::same("server returned HTTP status 503 Überlastet")
                .but_shard("server returned HTTP status 503 ")
                .but_reported("server returned HTTP status 503"),
        ),
    ]
}
