//! Listening where a flag says, or on sockets that whoever started this process listens on already.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::{Context as _, anyhow, bail};
use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Listens on `HOST:PORT`, or, as Prometheus and Kvass write it, on `:PORT` of every address of this machine.
///
/// # Errors
/// When the address is malformed, taken or not this machine's: an error that names it and the flag.
pub async fn listen(address: &str, flag: &str) -> anyhow::Result<TcpListener> {
    let bound = match address.strip_prefix(':').map(str::parse::<u16>) {
        Some(Ok(port)) => match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await {
            // A machine without IPv6.
            Err(error) if error.kind() != ErrorKind::AddrInUse => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await
            }
            bound => bound,
        },
        Some(Err(_)) => return Err(anyhow!("{address:?} is no HOST:PORT or :PORT (flag {flag})")),
        None => TcpListener::bind(address).await,
    };
    bound.map_err(|error| {
        let is_taken = error.kind() == ErrorKind::AddrInUse;
        let why = if is_taken { "address already in use".to_owned() } else { error.to_string() };
        anyhow!("listen on {address}: {why} (flag {flag})")
    })
}

/// Listening sockets that were passed to this process, as a systemd socket unit does it (`LISTEN_FDS`). They outlive
/// the process: while it is away, connections wait.
#[derive(Debug, Default)]
pub struct Passed(Vec<(&'static str, std::net::TcpListener)>);

impl Passed {
    /// The sockets in this process' environment: by their names (`LISTEN_FDNAMES`, in systemd `FileDescriptorName=`),
    /// or, where none of them has one of `names`, in the order of `names`.
    ///
    /// Takes the variables out of the environment, so it is to be called before there are other threads.
    ///
    /// # Errors
    /// When what was passed is no listening TCP socket, or does not fit `names`.
    pub fn from_env(names: &[&'static str]) -> anyhow::Result<Self> {
        // Nobody but this process is meant by them, so their names may stay behind.
        let given = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut sockets = ListenFd::from_env();
        let meant = meant(&given, sockets.len(), names)?;
        let take = |(index, name)| {
            let socket = sockets.take_tcp_listener(index).with_context(|| format!("take the passed socket {name}"))?;
            let socket: std::net::TcpListener = socket.with_context(|| format!("take the passed socket {name}"))?;
            socket.set_nonblocking(true).with_context(|| format!("prepare the passed socket {name}"))?;
            Ok((name, socket))
        };
        Ok(Self(meant.into_iter().enumerate().map(take).collect::<anyhow::Result<_>>()?))
    }

    /// The socket of a name, once.
    pub fn take(&mut self, name: &str) -> Option<std::net::TcpListener> {
        let index = self.0.iter().position(|(of, _)| *of == name)?;
        Some(self.0.swap_remove(index).1)
    }
}

/// What each of `count` sockets is for.
fn meant(given: &str, count: usize, names: &[&'static str]) -> anyhow::Result<Vec<&'static str>> {
    if count > names.len() {
        bail!(
            "{count} listening sockets were passed (LISTEN_FDS); expected at most {}: {}",
            names.len(),
            names.join(", ")
        );
    }
    let known = |name: &str| names.iter().copied().find(|known| *known == name);
    let given: Vec<&str> = given.split(':').collect();
    if given.iter().all(|name| known(name).is_none()) {
        return Ok(names.iter().copied().take(count).collect());
    }
    let mut meant = Vec::new();
    for name in given.iter().take(count) {
        let Some(known) = known(name).filter(|known| !meant.contains(known)) else {
            bail!("a passed socket is called {name:?} (LISTEN_FDNAMES); expected each of {} once", names.join(", "));
        };
        meant.push(known);
    }
    if meant.len() < count {
        bail!("{count} listening sockets were passed, but only {} names (LISTEN_FDNAMES)", meant.len());
    }
    Ok(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_busy_port_is_named_with_its_flag() {
        let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = busy.local_addr().unwrap().to_string();
        let error = listen(&address, "--web.address").await.unwrap_err().to_string();
        assert_eq!(error, format!("listen on {address}: address already in use (flag --web.address)"));
    }

    #[tokio::test]
    async fn a_port_alone_listens_on_every_address() {
        let listener = listen(":0", "--web.address").await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_unspecified());
        let error = listen(":http", "--web.address").await.unwrap_err().to_string();
        assert_eq!(error, r#"":http" is no HOST:PORT or :PORT (flag --web.address)"#);
    }

    #[test]
    fn passed_sockets_are_known_by_their_names_or_else_by_their_order() {
        let meant = |given, count| meant(given, count, &["proxy", "api"]);
        assert!(meant("", 0).unwrap().is_empty());
        assert_eq!(meant("api:proxy", 2).unwrap(), ["api", "proxy"]);
        assert_eq!(meant("api", 1).unwrap(), ["api"]);
        // Systemd's default: the unit's name.
        assert_eq!(meant("narthex-sidecar.socket:narthex-sidecar.socket", 2).unwrap(), ["proxy", "api"]);
        assert_eq!(meant("", 1).unwrap(), ["proxy"]);
        for (given, count) in [("proxy:proxy", 2), ("proxy:web", 2), ("proxy", 2), ("proxy:api", 3)] {
            let error = meant(given, count).unwrap_err().to_string();
            assert!(error.contains("LISTEN_FD"), "{error}");
        }
    }

    #[test]
    fn a_process_that_was_passed_nothing_has_nothing() {
        assert!(Passed::from_env(&["proxy", "api"]).unwrap().take("proxy").is_none());
    }
}
