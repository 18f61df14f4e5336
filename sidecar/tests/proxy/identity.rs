//! Bodies come out of the proxy byte for byte as they went in: the documents of Prometheus' own tests, and thousands of
//! generated answers, however they are cut, framed, compressed or broken.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::rig::{Proxy, TOKEN};

const GENERATED: usize = 10_000;
/// As many scrapes are under way at a time.
const SIDE_BY_SIDE: usize = 8;

/// An answer of a target.
#[derive(Clone, Debug)]
struct Scripted {
    status: u16,
    reason: String,
    /// What is not about framing.
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    framing: Framing,
    /// Into pieces of this size what is sent is cut; 0 is one piece.
    cut: usize,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Length,
    Chunks(usize),
    UntilClosed,
}

impl Scripted {
    fn ok(content_type: &str, encoding: Option<&str>, body: Vec<u8>) -> Self {
        let mut headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
        headers.extend(encoding.map(|encoding| ("content-encoding".to_owned(), encoding.as_bytes().to_vec())));
        Self { status: 200, reason: "OK".into(), headers, body, framing: Framing::Length, cut: 0 }
    }

    /// Whether HTTP allows a body with this status.
    fn may_have_body(status: u16) -> bool {
        !matches!(status, 204 | 304)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("HTTP/1.1 {} {}\r\n", self.status, self.reason).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        if !Self::may_have_body(self.status) {
            bytes.extend(b"\r\n");
            return bytes;
        }
        match self.framing {
            Framing::Length => {
                write!(bytes, "content-length: {}\r\n\r\n", self.body.len()).unwrap();
                bytes.extend(&self.body);
            }
            Framing::Chunks(size) => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for chunk in self.body.chunks(size) {
                    write!(bytes, "{:x}\r\n", chunk.len()).unwrap();
                    bytes.extend([chunk, b"\r\n"].concat());
                }
                bytes.extend(b"0\r\n\r\n");
            }
            Framing::UntilClosed => {
                bytes.extend(b"connection: close\r\n\r\n");
                bytes.extend(&self.body);
            }
        }
        bytes
    }
}

fn gzipped(bytes: &[u8], level: u32) -> Vec<u8> {
    let mut gzip = GzEncoder::new(vec![], Compression::new(level));
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Something that looks like an exposition, or like nothing.
fn plain_body(random: &mut StdRng) -> Vec<u8> {
    let most = match random.random_range(0..100) {
        0..10 => 0,
        10..70 => 1_000,
        70..99 => 10_000,
        _ => 300_000,
    };
    let length = random.random_range(0..=most);
    if random.random_ratio(1, 4) {
        return (0..length).map(|_| random.random()).collect();
    }
    let mut body = vec![];
    while body.len() < length {
        match random.random_range(0..8) {
            0 => body.extend(b"# HELP m Help.\n"),
            1 => body.extend(b"\n  \t\n"),
            _ => writeln!(body, "m_{}{{a=\"{}\"}} {}", length, random.random::<u32>(), body.len()).unwrap(),
        }
    }
    body
}

fn generated(random: &mut StdRng) -> Scripted {
    let types = [
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
        "text/html",
        "",
    ];
    let plain = plain_body(random);
    let (encoding, mut body) = match random.random_range(0..10) {
        0..3 => (Some("gzip"), gzipped(&plain, random.random_range(0..=9))),
        3 => (Some("zstd"), zstd::encode_all(plain.as_slice(), 1).unwrap()),
        4 => (Some(["br", "identity", "x-gzip", "gzip, gzip"][random.random_range(0..4)]), plain),
        // What says that it is compressed, and is not.
        5 => (Some(["gzip", "zstd"][random.random_range(0..2)]), plain),
        _ => (None, plain),
    };
    if encoding.is_some() && random.random_ratio(1, 10) {
        body.truncate(random.random_range(0..=body.len()));
    }
    let mut answer = Scripted::ok(types[random.random_range(0..types.len())], encoding, body);
    let statuses = [(404, "Not Found"), (500, "No, sir!"), (503, ""), (204, "No Content"), (206, "Part"), (599, "x")];
    if random.random_ratio(1, 5) {
        let (status, reason) = statuses[random.random_range(0..statuses.len())];
        (answer.status, answer.reason) = (status, reason.to_owned());
    }
    for i in 0..random.random_range(0..4) {
        let value = [b"".as_slice(), b"v", b"a, b; c=\"d\"", b"\xe9\xff"][random.random_range(0..4)];
        answer.headers.push((format!("x-{}", i % 2), value.to_vec()));
    }
    answer.framing = match random.random_range(0..10) {
        0..5 => Framing::Length,
        5..9 => Framing::Chunks(1 << random.random_range(4..18)),
        _ => Framing::UntilClosed,
    };
    // Small pieces only of small answers: each is a packet of its own.
    answer.cut = match answer.body.len() {
        0..3_000 => [0, 100, 1_000][random.random_range(0..3)],
        _ => [0, 5_000, 70_000][random.random_range(0..3)],
    };
    answer
}

/// A target that gives the answer which the header `x-case` numbers, on connections that stay open.
struct CaseTarget {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl CaseTarget {
    async fn start(cases: Arc<[Scripted]>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/metrics", listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let accepted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).unwrap();
                accepted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(BufReader::new(stream), Arc::clone(&cases)));
            }
        });
        Self { url, connections }
    }
}

async fn serve(mut stream: BufReader<TcpStream>, cases: Arc<[Scripted]>) {
    while let Some((_, headers)) = read_head(&mut stream).await {
        let case = headers.iter().find(|(name, _)| name == "x-case").unwrap();
        let case = &cases[std::str::from_utf8(&case.1).unwrap().parse::<usize>().unwrap()];
        let bytes = case.bytes();
        let cut = if case.cut == 0 { bytes.len() } else { case.cut };
        for piece in bytes.chunks(cut) {
            stream.write_all(piece).await.unwrap();
        }
        if matches!(case.framing, Framing::UntilClosed) && Scripted::may_have_body(case.status) {
            return;
        }
    }
}

type Head = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// The first line and the headers, names in lower case; none at the end of the stream.
async fn read_head(stream: &mut BufReader<TcpStream>) -> Option<Head> {
    let first = read_line(stream).await?;
    let mut headers = vec![];
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Some((first, headers));
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let name = String::from_utf8(line[..colon].to_ascii_lowercase()).unwrap();
        headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
    }
}

async fn read_line(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut line = vec![];
    stream.read_until(b'\n', &mut line).await.ok()?;
    line.strip_suffix(b"\r\n").map(<[u8]>::to_vec)
}

/// The body that follows a head, of exactly the length that was announced.
async fn read_body(stream: &mut BufReader<TcpStream>, headers: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![];
    if let Some((_, length)) = headers.iter().find(|(name, _)| name == "content-length") {
        body.resize(std::str::from_utf8(length).unwrap().parse().unwrap(), 0);
        stream.read_exact(&mut body).await.unwrap();
        return body;
    }
    assert!(headers.contains(&("transfer-encoding".into(), b"chunked".into())), "{headers:?}");
    loop {
        let size = String::from_utf8(read_line(stream).await.unwrap()).unwrap();
        let start = body.len();
        body.resize(start + usize::from_str_radix(&size, 16).unwrap(), 0);
        stream.read_exact(&mut body[start..]).await.unwrap();
        assert_eq!(read_line(stream).await.unwrap(), b"");
        if body.len() == start {
            return body;
        }
    }
}

fn without_framing(headers: &[(String, Vec<u8>)]) -> BTreeMap<String, Vec<Vec<u8>>> {
    let mut by_name = BTreeMap::<_, Vec<_>>::new();
    let framing = ["content-length", "transfer-encoding", "connection"];
    for (name, value) in headers.iter().filter(|(name, _)| !framing.contains(&name.as_str())) {
        by_name.entry(name.clone()).or_default().push(value.clone());
    }
    by_name
}

/// Scrapes cases one after the other on one connection, and compares what comes back with what was sent.
async fn compare(address: std::net::SocketAddr, head: String, cases: Arc<[Scripted]>, first: usize) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut stream = BufReader::new(stream);
    for (number, sent) in cases.iter().enumerate().skip(first).step_by(SIDE_BY_SIDE) {
        stream.write_all(format!("{head}x-case: {number}\r\n\r\n").as_bytes()).await.unwrap();
        let (status, headers) =
            read_head(&mut stream).await.unwrap_or_else(|| panic!("no answer to {number}: {sent:?}"));
        let expected = format!("HTTP/1.1 {} {}", sent.status, sent.reason);
        assert_eq!(String::from_utf8_lossy(&status), expected, "case {number}");
        assert_eq!(without_framing(&headers), without_framing(&sent.headers), "case {number}");
        if Scripted::may_have_body(sent.status) {
            let body = read_body(&mut stream, &headers).await;
            let Scripted { framing, cut, .. } = sent;
            assert!(body == sent.body, "case {number}, {headers:?}, {framing:?}, cut every {cut}: another body");
        }
    }
}

async fn all_come_through_as_they_are(cases: Vec<Scripted>) -> CaseTarget {
    let cases: Arc<[Scripted]> = cases.into();
    let target = CaseTarget::start(Arc::clone(&cases)).await;
    let proxy = Proxy::start("sample_limit: 1000", std::slice::from_ref(&target.url)).await;
    let credentials = BASE64_STANDARD.encode(format!("{}:{TOKEN}", proxy.job_id));
    let head = format!("GET {} HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic {credentials}\r\n", target.url);
    let mut scrapers = JoinSet::new();
    for first in 0..SIDE_BY_SIDE {
        scrapers.spawn(compare(proxy.address, head.clone(), Arc::clone(&cases), first));
    }
    scrapers.join_all().await;
    target
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_generated_answers_come_through_byte_for_byte() {
    let mut random = StdRng::seed_from_u64(4);
    let cases: Vec<Scripted> = (0..GENERATED).map(|_| generated(&mut random)).collect();
    let closing = cases.iter().filter(|case| matches!(case.framing, Framing::UntilClosed)).count();
    let target = all_come_through_as_they_are(cases).await;
    let connections = target.connections.load(Ordering::Relaxed);
    assert!(connections <= closing + SIDE_BY_SIDE, "{connections} connections: one that could be kept was not");
}

/// The documents of Prometheus' own tests, when they are there.
#[expect(clippy::print_stderr, reason = "whoever runs the tests is to know what they did not look at")]
fn conformance() -> Vec<(String, Vec<u8>)> {
    let folder = std::env::var("NARTHEX_CONFORMANCE")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/conformance").to_owned());
    let path = PathBuf::from(folder).join("textparse.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("skipped: no conformance data at {}", path.display());
        return vec![];
    };
    let data: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut documents = vec![];
    for list in ["documents", "error_table", "created_series", "benchmark_files"] {
        for document in data[list].as_array().unwrap() {
            let input = &document["input"];
            let body = match input["$bytes_base64"].as_str() {
                Some(bytes) => BASE64_STANDARD.decode(bytes).unwrap(),
                None => input.as_str().unwrap().as_bytes().to_vec(),
            };
            let content_type = document["content_type"].as_str().unwrap_or("text/plain; version=0.0.4");
            documents.push((content_type.to_owned(), body));
        }
    }
    let protobuf = &data["protobuf"];
    let body = BASE64_STANDARD.decode(protobuf["input_base64"].as_str().unwrap()).unwrap();
    documents.push((protobuf["content_type"].as_str().unwrap().to_owned(), body));
    documents
}

#[tokio::test(flavor = "multi_thread")]
async fn every_document_comes_through_byte_for_byte_compressed_or_not() {
    let own = [
        ("text/plain; version=0.0.4", "# TYPE a counter\na{b=\"c\"} 1\na{b=\"\\n\\\"\"} NaN 123\n\n# comment\nlast 1"),
        (
            "application/openmetrics-text; version=1.0.0",
            "# TYPE a counter\na_total 1 # {id=\"x\"} 1\na_created 2\n# EOF\n",
        ),
        ("application/openmetrics-text", "no end"),
    ];
    let own = own.into_iter().map(|(content_type, body)| (content_type.to_owned(), body.as_bytes().to_vec()));
    let mut cases = vec![];
    for (content_type, body) in own.chain(conformance()) {
        for (encoding, body) in [
            (None, body.clone()),
            (Some("gzip"), gzipped(&body, 6)),
            (Some("zstd"), zstd::encode_all(body.as_slice(), 0).unwrap()),
        ] {
            let whole = Scripted::ok(&content_type, encoding, body);
            cases.push(Scripted { framing: Framing::Chunks(100), ..whole.clone() });
            cases.push(whole);
        }
    }
    all_come_through_as_they_are(cases).await;
}
