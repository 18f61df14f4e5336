//! One question to one server: over UDP, and over TCP when the answer does not fit.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Edns, Message, MessageType, Query},
    rr::{Name, RecordType},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket, lookup_host},
    time::{Instant, timeout_at},
};

use super::resolv_conf::Server;

/// How long a server has to be reached, and then to answer: what Prometheus' DNS library waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// The longest answer that is taken over UDP, as EDNS0 tells the server.
const MAX_UDP_ANSWER: u16 = 4096;

/// What an answer begins with: id, flags and the numbers of records.
const HEADER: usize = 12;

/// How servers are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// As long as answers fit.
    Udp,
    /// Once one did not.
    Tcp,
}

/// Asks a server for the records of a full name. An answer that does not fit is asked for again over TCP, and then the
/// next server is asked over TCP at once.
///
/// # Errors
/// When no whole answer came.
pub(super) async fn ask(
    server: &Server,
    name: &Name,
    records: RecordType,
    transport: &mut Transport,
) -> Result<Message, String> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(name.clone(), records));
    let address = address_of(server).await?;
    if *transport == Transport::Udp {
        let mut edns = Edns::new();
        edns.set_max_payload(MAX_UDP_ANSWER);
        let mut over_udp = question.clone();
        over_udp.set_edns(edns);
        match by_udp(address, &over_udp).await? {
            Answer::Whole(message) => return Ok(*message),
            Answer::Truncated => *transport = Transport::Tcp,
        }
    }
    match by_tcp(address, &question).await? {
        Answer::Whole(message) => Ok(*message),
        Answer::Truncated => Err("got truncated message on TCP (64kiB limit exceeded?)".to_owned()),
    }
}

/// What a server answered.
enum Answer {
    Whole(Box<Message>),
    /// It says that there is more.
    Truncated,
}

/// A server's address, which may have a zone; the system knows their numbers.
async fn address_of(server: &Server) -> Result<SocketAddr, String> {
    let mut found = within(Instant::now() + PATIENCE, lookup_host((server.host.as_str(), server.port))).await?;
    found.next().ok_or_else(|| format!("{:?} is not an address", server.host))
}

async fn by_udp(server: SocketAddr, question: &Message) -> Result<Answer, String> {
    let until = Instant::now() + PATIENCE;
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let asked = question.to_vec().map_err(|error| error.to_string())?;
    let socket = within(until, UdpSocket::bind(any)).await?;
    // From now on the system lets nobody else answer.
    within(until, socket.connect(server)).await?;
    within(until, socket.send(&asked)).await?;
    let mut answer = vec![0; usize::from(MAX_UDP_ANSWER)];
    loop {
        let length = within(until, socket.recv(&mut answer)).await?;
        // What answers something else may be late.
        if let Some(answer) = read_answer(&answer[..length], question)? {
            return Ok(answer);
        }
    }
}

async fn by_tcp(server: SocketAddr, question: &Message) -> Result<Answer, String> {
    let asked = question.to_vec().map_err(|error| error.to_string())?;
    let length = u16::try_from(asked.len()).map_err(|error| error.to_string())?;
    let mut stream = within(Instant::now() + PATIENCE, TcpStream::connect(server)).await?;
    let until = Instant::now() + PATIENCE;
    within(until, stream.write_all(&[&length.to_be_bytes()[..], &asked].concat())).await?;
    let length = within(until, stream.read_u16()).await?;
    let mut answer = vec![0; usize::from(length)];
    within(until, stream.read_exact(&mut answer)).await?;
    read_answer(&answer, question)?.ok_or_else(|| "the answer is to another question".to_owned())
}

/// Reads an answer; none when it is to another question.
fn read_answer(bytes: &[u8], question: &Message) -> Result<Option<Answer>, String> {
    let Some([id_1, id_2, flags, ..]) = bytes.first_chunk::<HEADER>() else {
        return Err("the answer is too short".to_owned());
    };
    if [*id_1, *id_2] != question.metadata.id.to_be_bytes() {
        return Ok(None);
    }
    // Looked at before the rest: a server may cut wherever it likes.
    let is_truncated = flags & 0b10 != 0;
    if is_truncated {
        return Ok(Some(Answer::Truncated));
    }
    let message = Message::from_vec(bytes).map_err(|error| format!("read the answer: {error}"))?;
    let is_to_question = message.metadata.message_type == MessageType::Response
        && message.queries.iter().all(|query| question.queries.contains(query));
    Ok(is_to_question.then(|| Answer::Whole(Box::new(message))))
}

async fn within<T>(until: Instant, doing: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match timeout_at(until, doing).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("i/o timeout".to_owned()),
    }
}
