//! Listening where a flag says.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr},
};

use anyhow::anyhow;
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
}
