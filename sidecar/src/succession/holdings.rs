//! What only one sidecar of a shard can have.

use std::{
    net::{SocketAddr, TcpListener},
    os::fd::OwnedFd,
};

use anyhow::Context as _;
use narthex_runtime::listen::{Passed, listen};

use super::predecessor::Predecessor;
use crate::{
    args::RunArgs,
    store::{Found, Store},
};

/// The names of the listening sockets that may be passed to a sidecar, and their order where they have no names.
pub const SOCKETS: [&str; 2] = [PROXY, API];

const PROXY: &str = "proxy";
const API: &str = "api";

/// The store, and what the sidecar listens on.
#[derive(Debug)]
pub struct Holdings {
    /// Where everything is kept.
    pub store: Store,
    /// Where the scrape proxy listens.
    pub proxy: TcpListener,
    /// Where the API listens.
    pub api: TcpListener,
}

/// What a predecessor gives away.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) lock: OwnedFd,
    pub(super) proxy: TcpListener,
    pub(super) api: TcpListener,
}

impl Holdings {
    /// Takes the store and the sockets: those that were passed to this process, those of the sidecar that is to be
    /// replaced, which is then still to be told that this one serves, or new ones.
    ///
    /// # Errors
    /// When another sidecar has the store and is not to be replaced or does not make room; when an address is taken.
    pub async fn take(args: &RunArgs, mut passed: Passed) -> anyhow::Result<(Self, Option<Predecessor>)> {
        let (store, given, predecessor) = match Store::open(&args.store_path)? {
            Found::Taken(taken) if args.replace => {
                let (given, predecessor) = Predecessor::replace(taken.root()).await?;
                (taken.with(given.lock)?, Some((given.proxy, given.api)), Some(predecessor))
            }
            found @ (Found::Free(_) | Found::Taken(_)) => (found.free()?, None, None),
        };
        let (given_proxy, given_api) = given.unzip();
        let proxy = socket(passed.take(PROXY), given_proxy, &args.proxy_addr, "--web.proxy-addr").await?;
        let api = socket(passed.take(API), given_api, &args.api_addr, "--web.api-addr").await?;
        Ok((Self { store, proxy, api }, predecessor))
    }
}

/// A socket that was passed is listened on wherever that is. One that is a predecessor's has to be where the flag says.
async fn socket(
    passed: Option<TcpListener>,
    given: Option<TcpListener>,
    address: &str,
    flag: &str,
) -> anyhow::Result<TcpListener> {
    if let Some(passed) = passed {
        tracing::info!(address = %passed.local_addr()?, "listening on the passed socket, whatever {flag} says");
        return Ok(passed);
    }
    if let Some(given) = given {
        let at = given.local_addr().context("look where the sidecar that is replaced listens")?;
        if means(address, at).await {
            return Ok(given);
        }
        tracing::warn!(before = %at, now = address, "{flag} has changed: what is on its way to the old address is lost");
    }
    Ok(listen(address, flag).await?.into_std()?)
}

/// Whether a flag says that a socket is to listen where it does.
async fn means(address: &str, at: SocketAddr) -> bool {
    if let Some(port) = address.strip_prefix(':') {
        return at.ip().is_unspecified() && port.parse() == Ok(at.port());
    }
    tokio::net::lookup_host(address).await.is_ok_and(|mut all| all.any(|one| one == at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_may_be_written_in_more_than_one_way() {
        let at = |text: &str| text.parse().unwrap();
        assert!(means("127.0.0.1:8008", at("127.0.0.1:8008")).await);
        assert!(means("localhost:8008", at("127.0.0.1:8008")).await);
        assert!(means(":8008", at("[::]:8008")).await);
        assert!(!means(":8008", at("127.0.0.1:8008")).await);
        assert!(!means("127.0.0.1:8009", at("127.0.0.1:8008")).await);
    }
}
