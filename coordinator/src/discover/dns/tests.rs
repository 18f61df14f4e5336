//! How names are looked up, shown with servers that answer what a test wants.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, CNAME},
    },
};
use narthex_common::config::{
    PromDuration,
    scrape::{DnsRecords, DnsSdConfig},
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    sync::mpsc,
};

use super::{
    super::{
        discoverer::{Discoverer as _, DiscoveryId, Update, Updates},
        metrics::KindMetrics,
    },
    DnsDiscoverer, look_up, name,
    resolv_conf::ResolvConf,
};

/// What a server says of a name.
#[derive(Clone, Copy)]
enum Reply {
    Addresses(&'static [[u8; 4]]),
    Alias([u8; 4]),
    Code(ResponseCode),
    /// More than fits, over whatever transport.
    Truncated,
    /// More than fits into a datagram.
    TruncatedUnlessTcp([u8; 4]),
    /// An answer to somebody else's question first.
    LateAnswersFirst([u8; 4]),
    Garbage,
    Silence,
}

/// A server that runs as long as its test.
struct Server {
    address: SocketAddr,
    replies: Arc<Mutex<BTreeMap<&'static str, Reply>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// A server that knows these names; of others it says that they do not exist.
    async fn start(replies: impl IntoIterator<Item = (&'static str, Reply)>) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            // The port may be somebody else's for the other transport.
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Self {
            address: udp.local_addr().unwrap(),
            replies: Arc::new(Mutex::new(replies.into_iter().collect())),
            asked: Arc::default(),
        };
        let (replies, asked) = (Arc::clone(&server.replies), Arc::clone(&server.asked));
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
                for answer in answers(&buffer[..length], false, &replies, &asked) {
                    udp.send_to(&answer, from).await.unwrap();
                }
            }
        });
        let (replies, asked) = (Arc::clone(&server.replies), Arc::clone(&server.asked));
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
                stream.read_exact(&mut question).await.unwrap();
                for answer in answers(&question, true, &replies, &asked) {
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            }
        });
        server
    }

    fn line(&self) -> String {
        format!("nameserver [{}]:{}\n", self.address.ip(), self.address.port())
    }

    /// What was asked since this was last asked.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    fn set(&self, name: &'static str, reply: Reply) {
        self.replies.lock().unwrap().insert(name, reply);
    }
}

fn answers(
    question: &[u8],
    over_tcp: bool,
    replies: &Mutex<BTreeMap<&'static str, Reply>>,
    asked: &Mutex<Vec<String>>,
) -> Vec<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let name = name::write(&question.queries[0].name);
    let how = match (over_tcp, &question.edns) {
        (false, Some(edns)) => format!("udp {}", edns.max_payload()),
        (false, None) => "udp".to_owned(),
        (true, Some(_)) => "tcp edns".to_owned(),
        (true, None) => "tcp".to_owned(),
    };
    asked.lock().unwrap().push(format!("{name} {how}"));
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    answer.queries.clone_from(&question.queries);
    let of = |address: [u8; 4]| Record::from_rdata(question.queries[0].name.clone(), 9, RData::A(A(address.into())));
    let reply = replies.lock().unwrap().get(name.as_str()).copied().unwrap_or(Reply::Code(ResponseCode::NXDomain));
    match reply {
        Reply::Addresses(addresses) => answer.answers.extend(addresses.iter().copied().map(of)),
        Reply::Alias(address) => {
            let alias = RData::CNAME(CNAME(question.queries[0].name.clone()));
            answer.answers = vec![Record::from_rdata(question.queries[0].name.clone(), 9, alias), of(address)];
        }
        Reply::Code(code) => answer.metadata.response_code = code,
        Reply::TruncatedUnlessTcp(address) if over_tcp => answer.answers.push(of(address)),
        Reply::Truncated | Reply::TruncatedUnlessTcp(_) => {
            answer.metadata.truncation = true;
            // Cut in the middle, as some do.
            answer.answers.push(of([9; 4]));
            let mut whole = answer.to_vec().unwrap();
            whole.truncate(whole.len() - 3);
            return vec![whole];
        }
        Reply::LateAnswersFirst(address) => {
            let mut late = answer.clone();
            late.metadata.id = late.metadata.id.wrapping_add(1);
            late.answers.push(of([8; 4]));
            let mut other = answer.clone();
            other.queries[0].query_type = RecordType::TXT;
            answer.answers.push(of(address));
            return [late, other, answer].iter().map(|message| message.to_vec().unwrap()).collect();
        }
        Reply::Garbage => return vec![[&question.metadata.id.to_be_bytes()[..], &[0x80; 20]].concat()],
        Reply::Silence => return Vec::new(),
    }
    vec![answer.to_vec().unwrap()]
}

/// The addresses of a name, or why it has none.
async fn addresses(conf: &str, name: &str) -> Result<Vec<String>, String> {
    let records = look_up(&ResolvConf::read(conf), name, DnsRecords::A).await?;
    Ok(records.iter().map(|record| record.data.to_string()).collect())
}

#[tokio::test]
async fn the_first_name_of_the_search_list_that_exists_answers() {
    let server = Server::start([
        ("db.b.", Reply::Addresses(&[[10, 0, 0, 1], [10, 0, 0, 2]])),
        ("db.c.", Reply::Addresses(&[[10, 9, 9, 9]])),
        ("none.a.", Reply::Addresses(&[])),
        ("none.b.", Reply::Addresses(&[[10, 9, 9, 9]])),
    ])
    .await;
    let conf = server.line() + "search a b c";
    assert_eq!(addresses(&conf, "db").await.unwrap(), ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(server.asked(), ["db.a. udp 4096", "db.b. udp 4096"]);
    assert_eq!(addresses(&conf, "none").await.unwrap(), [""; 0], "a name without such records exists, too");
    server.asked();
    assert_eq!(addresses(&conf, "no.where").await.unwrap(), [""; 0], "everybody says that it does not exist");
    assert_eq!(
        server.asked(),
        ["no.where.", "no.where.a.", "no.where.b.", "no.where.c."].map(|n| format!("{n} udp 4096"))
    );
}

#[tokio::test]
async fn a_server_that_fails_is_followed_by_the_next_one() {
    let code = |code| [("a.", Reply::Code(code))];
    let broken = Server::start(code(ResponseCode::ServFail)).await;
    let strict = Server::start(code(ResponseCode::Refused)).await;
    let garbled = Server::start([("a.", Reply::Garbage)]).await;
    let good = Server::start([("a.", Reply::Alias([10, 0, 0, 1]))]).await;
    let bad = broken.line() + &strict.line() + &garbled.line();
    assert_eq!(addresses(&(bad.clone() + &good.line()), "a.").await.unwrap().last().unwrap(), "10.0.0.1");

    let error = addresses(&bad, "a.").await.unwrap_err();
    let start =
        r#"could not resolve "a.": all servers responded with errors to at least one search domain (a. 127.0.0.1: "#;
    assert!(error.starts_with(start), "{error}");
    for part in ["Server Failure", "Query Refused", "read the answer: "] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    assert!(addresses("", "a.").await.unwrap_err().contains("there is no server to ask"));
}

#[tokio::test]
async fn a_name_that_nobody_can_say_anything_about_is_an_error_unless_another_one_exists() {
    let server = Server::start([
        ("db.a.", Reply::Code(ResponseCode::ServFail)),
        ("db.b.", Reply::Addresses(&[[10, 0, 0, 1]])),
        ("web.a.", Reply::Code(ResponseCode::ServFail)),
    ])
    .await;
    let conf = server.line() + "search a b";
    assert_eq!(addresses(&conf, "db").await.unwrap(), ["10.0.0.1"]);
    assert!(addresses(&conf, "web").await.unwrap_err().contains("(web.a. 127.0.0.1: Server Failure)"));
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_asked_for_over_tcp() {
    let large = Server::start([("a.", Reply::TruncatedUnlessTcp([10, 0, 0, 1]))]).await;
    assert_eq!(addresses(&large.line(), "a.").await.unwrap(), ["10.0.0.1"]);
    assert_eq!(large.asked(), ["a. udp 4096", "a. tcp"]);

    let too_large = Server::start([("a.", Reply::Truncated)]).await;
    assert_eq!(addresses(&(too_large.line() + &large.line()), "a.").await.unwrap(), ["10.0.0.1"]);
    assert_eq!(large.asked(), ["a. tcp"], "the next server is asked over TCP at once");
    let error = addresses(&too_large.line(), "a.").await.unwrap_err();
    assert!(error.contains("got truncated message on TCP"), "{error}");
}

#[tokio::test]
async fn an_answer_to_another_question_is_waited_past() {
    let server = Server::start([("a.", Reply::LateAnswersFirst([10, 0, 0, 1]))]).await;
    assert_eq!(addresses(&server.line(), "a.").await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_two_seconds() {
    let silent = Server::start([("a.", Reply::Silence)]).await;
    let begun = tokio::time::Instant::now();
    let error = addresses(&silent.line(), "a.").await.unwrap_err();
    assert!(error.contains("127.0.0.1: i/o timeout"), "{error}");
    assert!(begun.elapsed() >= Duration::from_millis(1900), "{:?}", begun.elapsed());
}

/// A running discoverer of the names `a` and `b`.
struct Running {
    updates: mpsc::Receiver<(DiscoveryId, Update)>,
    resolv_conf: PathBuf,
    registry: Registry,
    _folder: TempDir,
}

impl Running {
    fn start(servers: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        fs::write(&resolv_conf, servers).unwrap();
        let config = DnsSdConfig {
            names: vec!["a".into(), "b".into()],
            records: DnsRecords::A,
            port: 80,
            refresh_interval: PromDuration(50),
        };
        let mut registry = Registry::default();
        let metrics = KindMetrics::register(&mut registry);
        let discoverer = DnsDiscoverer::new(config, resolv_conf.clone(), metrics.dns, metrics.refreshes);
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(Box::new(discoverer).run(Updates::new(DiscoveryId(0), sender)));
        Self { updates, resolv_conf, registry, _folder: folder }
    }

    /// Waits for an update of these groups, each with its number of targets.
    async fn until(&mut self, groups: &[(&str, usize)], fails: bool) -> Update {
        let awaited = async {
            loop {
                let (_, update) = self.updates.recv().await.unwrap();
                let seen: Vec<_> =
                    update.groups.iter().map(|group| (group.source.as_str(), group.targets.len())).collect();
                if seen == groups && update.failure.is_some() == fails {
                    return update;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), awaited).await.unwrap()
    }
}

#[tokio::test]
async fn every_name_is_a_group_that_is_kept_as_long_as_nobody_knows_and_goes_when_it_does_not_exist() {
    let server = Server::start([("a.", Reply::Addresses(&[[10, 0, 0, 1]])), ("b.", Reply::Alias([10, 0, 0, 2]))]).await;
    let mut running = Running::start(&server.line());
    let update = running.until(&[("a", 1), ("b", 1)], false).await;
    assert_eq!(update.groups[1].targets[0].get("__address__"), Some("10.0.0.2:80"));
    assert_eq!(update.groups[1].targets[0].get("__meta_dns_name"), Some("b"));

    server.set("a.", Reply::Code(ResponseCode::ServFail));
    let update = running.until(&[("b", 1)], true).await;
    assert!(update.failure.unwrap().contains(r#"could not resolve "a""#));
    server.set("a.", Reply::Code(ResponseCode::NXDomain));
    running.until(&[("a", 0), ("b", 1)], false).await;

    // The file is read at every refresh.
    let second = Server::start([("a.", Reply::Addresses(&[[10, 0, 0, 3]]))]).await;
    fs::write(&running.resolv_conf, second.line()).unwrap();
    running.until(&[("a", 1), ("b", 0)], false).await;
    fs::remove_file(&running.resolv_conf).unwrap();
    let update = running.until(&[], true).await;
    assert!(update.failure.unwrap().contains("could not load resolv.conf: "));

    let mut metrics = String::new();
    prometheus_client::encoding::text::encode(&mut metrics, &running.registry).unwrap();
    let value = |name: &str| -> u64 {
        let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert!(value("prometheus_sd_dns_lookups_total") > value("prometheus_sd_dns_lookup_failures_total"));
    assert!(value("prometheus_sd_dns_lookup_failures_total") >= 3);
    assert!(value("prometheus_sd_refresh_duration_seconds_count{mechanism=\"dns\"}") >= 5);
}
