//! The sidecar that is to take this one's place, as this one sees it.

use std::{io, time::Duration};

use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};

use super::{ANSWER, GRANTED, Holdings, REPLACE, RUNNING, wire};
use crate::store::Store;

/// How long to wait after one that failed, which is mostly for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where successors ask.
#[derive(Debug)]
pub struct Successors(Option<UnixListener>);

/// A sidecar that has asked for this one's place.
#[derive(Debug)]
pub struct Successor(UnixStream);

impl Successors {
    /// Listens for them in a store that is this process' own.
    #[must_use]
    pub fn listen(store: &Store) -> Self {
        let listening = wire::listen(store.root());
        if let Err(error) = &listening {
            tracing::warn!(%error, "this sidecar cannot be replaced while it runs, only stopped first");
        }
        Self(listening.ok())
    }

    /// The next one.
    pub async fn next(&self) -> Successor {
        let Some(listener) = &self.0 else { return std::future::pending().await };
        loop {
            match asked(listener).await {
                Ok(successor) => return successor,
                Err(error) => {
                    tracing::warn!(%error, "somebody asked for this sidecar's place, and does not get it");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

async fn asked(listener: &UnixListener) -> io::Result<Successor> {
    let (mut stream, _) = listener.accept().await?;
    let user = stream.peer_cred()?.uid();
    if user != geteuid().as_raw() {
        return Err(io::Error::other(format!("user {user} is not this sidecar's")));
    }
    let request = tokio::time::timeout(ANSWER, wire::line(&mut stream)).await??;
    if request != REPLACE {
        return Err(io::Error::other(format!("unknown request {request:?}")));
    }
    Ok(Successor(stream))
}

impl Successor {
    /// Gives it everything. Afterwards the store is its own.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn give(&self, holdings: &Holdings) -> io::Result<()> {
        wire::give(&self.0, GRANTED, holdings).await
    }

    /// Waits until it serves; false when it ended instead.
    pub async fn runs(mut self) -> bool {
        wire::line(&mut self.0).await.is_ok_and(|line| line == RUNNING)
    }
}
