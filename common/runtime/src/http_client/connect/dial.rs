//! Opening a TCP connection to a host that may have several addresses, in the time there is for all of them.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    time::Duration,
};

use rustix::io::Errno;
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{ConnectError, Endpoint, tcp::Tcp};
use crate::http_client::failure;

/// Names that are looked up at once: a part of the threads that also read files of passwords.
static LOOKUPS: Semaphore = Semaphore::const_new(128);

/// How long the first address family may take before the other is tried beside it (RFC 6555; Go's `FallbackDelay`).
const FALLBACK_DELAY: Duration = Duration::from_millis(300);
/// What every address gets as long as there is any time: an even share of very little would be good for none of them
/// (Go's `partialDeadline`).
const LEAST_TIME_FOR_AN_ADDRESS: Duration = Duration::from_secs(2);

/// How long whoever asks waits.
#[derive(Clone, Copy, Debug)]
pub struct TimeLimits {
    /// The addresses of a host share the time until then.
    pub shared_until: Instant,
    /// When it gives up. Not before the other, and the last address has until then.
    pub give_up_at: Instant,
}

/// The limits of whoever asks, if there are any.
pub(in super::super) type Patience = Option<TimeLimits>;

tokio::task_local! {
    static PATIENCE: Patience;
}

/// Runs a request; connections that are opened for it share its time out among the host's addresses.
pub(in super::super) async fn with_patience<T>(patience: Patience, request: impl Future<Output = T>) -> T {
    PATIENCE.scope(patience, request).await
}

/// Lets a connection be opened with the patience of the request it is begun for, even if it is ended in another task:
/// hyper goes on with it there when the request found another connection meanwhile.
pub(super) fn keeping_patience<T>(opening: impl Future<Output = T>) -> impl Future<Output = T> {
    PATIENCE.scope(patience(), opening)
}

fn patience() -> Patience {
    PATIENCE.try_with(|patience| *patience).unwrap_or_default()
}

/// Opens a connection.
pub(super) async fn dial(to: &Endpoint) -> Result<Tcp, ConnectError> {
    let host = &to.host;
    let addresses: Vec<SocketAddr> = match look_up(host, to.port).await {
        Ok(found) => found,
        Err(e) => return Err(ConnectError(format!("dial tcp: lookup {host}: {}", failure::lookup(&e)))),
    };
    let Some(first) = addresses.first() else {
        return Err(ConnectError(format!("dial tcp: lookup {host}: no such host")));
    };
    let (preferred, others) = addresses.iter().copied().partition(|address| address.is_ipv6() == first.is_ipv6());
    let stream = open_either(preferred, others, patience()).await?;
    // Without it a small request may wait for the acknowledgement of the one before. Go sets it too.
    stream.set_nodelay(true).map_err(|e| ConnectError(format!("dial tcp: {}", failure::words(&e))))?;
    Ok(Tcp::new(stream))
}

/// The addresses of a host. The system's resolver cannot be interrupted, and takes its time over a server that is silent:
/// whoever gives up before it is their turn leaves nothing behind, so that such names take no more than these threads.
async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let turn = LOOKUPS.acquire().await.map_err(io::Error::other)?;
    let host = host.to_owned();
    let looking_up = tokio::task::spawn_blocking(move || {
        let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
        drop(turn);
        found
    });
    looking_up.await.map_err(io::Error::other)?
}

/// Tries one address family, and after a moment the other beside it: a broken IPv6 must not cost the whole scrape.
async fn open_either(
    preferred: Vec<SocketAddr>,
    others: Vec<SocketAddr>,
    patience: Patience,
) -> Result<TcpStream, ConnectError> {
    if others.is_empty() {
        return open_one_of(preferred, patience).await;
    }
    let mut preferred = Box::pin(open_one_of(preferred, patience));
    let mut others = Box::pin(open_one_of(others, patience));
    tokio::select! {
        opened = &mut preferred => return match opened {
            Ok(stream) => Ok(stream),
            // The first failure is the one that Go reports.
            Err(first) => others.await.map_err(|_| first),
        },
        () = tokio::time::sleep(FALLBACK_DELAY) => {}
    }
    tokio::select! {
        opened = &mut preferred => match opened {
            Ok(stream) => Ok(stream),
            Err(first) => others.await.map_err(|_| first),
        },
        opened = &mut others => match opened {
            Ok(stream) => Ok(stream),
            Err(_) => preferred.await,
        },
    }
}

/// Tries one address after the other. One that does not answer leaves time for those behind it.
async fn open_one_of(addresses: Vec<SocketAddr>, patience: Patience) -> Result<TcpStream, ConnectError> {
    let mut first_failure = None;
    for (tried, address) in addresses.iter().enumerate() {
        let connecting = TcpStream::connect(address);
        let opened = match patience {
            None => connecting.await,
            Some(limits) => {
                let until = match addresses.len() - tried {
                    0 | 1 => limits.give_up_at,
                    untried => share(Instant::now(), limits.shared_until, untried),
                };
                timeout_at(until, connecting).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
        };
        match opened {
            Ok(stream) => return Ok(stream),
            Err(e) => {
                first_failure.get_or_insert_with(|| failed(*address, &e));
            }
        }
    }
    Err(first_failure.unwrap_or_else(|| ConnectError::new("dial tcp: missing address")))
}

fn failed(address: SocketAddr, why: &io::Error) -> ConnectError {
    match why.raw_os_error() {
        Some(_) => ConnectError(format!("dial tcp {address}: {}: {}", step(why), failure::words(why))),
        None => ConnectError(format!("dial tcp {address}: i/o timeout")),
    }
}

/// Which step of opening a connection failed.
fn step(failure: &io::Error) -> &'static str {
    let no_descriptor = [Errno::MFILE, Errno::NFILE].map(Some).contains(&Errno::from_io_error(failure));
    if no_descriptor { "socket" } else { "connect" }
}

/// Until when one address is tried if `untried` of them, it included, share the time.
fn share(now: Instant, give_up: Instant, untried: usize) -> Instant {
    let left = give_up.saturating_duration_since(now);
    let even = left / u32::try_from(untried.max(1)).unwrap_or(u32::MAX);
    now + even.max(LEAST_TIME_FOR_AN_ADDRESS).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_there_is_is_shared_among_the_addresses() {
        let now = Instant::now();
        let seconds = |left: u64, untried| share(now, now + Duration::from_secs(left), untried) - now;
        assert_eq!(seconds(10, 1), Duration::from_secs(10));
        assert_eq!(seconds(10, 2), Duration::from_secs(5));
        assert_eq!(seconds(10, 20), Duration::from_secs(2));
        assert_eq!(seconds(1, 20), Duration::from_secs(1));
        assert_eq!(share(now + Duration::from_secs(1), now, 2), now + Duration::from_secs(1));
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_leaves_time_for_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = full().await;
        let addresses = vec![silent.address, listener.local_addr().unwrap()];
        let begin = Instant::now();
        let give_up = begin + Duration::from_secs(5);
        let opened = open_one_of(addresses, by(give_up)).await.unwrap();
        assert_eq!(opened.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert!(begin.elapsed() >= Duration::from_secs(2), "the silent one was tried");
        let alone = open_one_of(vec![silent.address], by(Instant::now())).await.unwrap_err();
        assert_eq!(alone.to_string(), format!("dial tcp {}: i/o timeout", silent.address));
    }

    #[tokio::test]
    async fn only_the_last_address_has_the_time_beyond_what_is_shared() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = full().await;
        let begin = Instant::now();
        let limits =
            TimeLimits { shared_until: begin + Duration::from_secs(4), give_up_at: begin + Duration::from_secs(60) };
        let addresses = vec![silent.address, listener.local_addr().unwrap()];
        open_one_of(addresses, Some(limits)).await.unwrap();
        assert!(begin.elapsed() < Duration::from_secs(4), "the silent one had half of what is shared");
    }

    fn by(give_up_at: Instant) -> Patience {
        Some(TimeLimits { shared_until: give_up_at, give_up_at })
    }

    /// A port whose queue of connections is full: the system lets nobody else in and says nothing.
    struct Full {
        address: SocketAddr,
        _listener: tokio::net::TcpListener,
        _waiting: Vec<TcpStream>,
    }

    async fn full() -> Full {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(stream);
        }
        Full { address, _listener: listener, _waiting: waiting }
    }
}
