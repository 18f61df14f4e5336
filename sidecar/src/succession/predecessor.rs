//! The sidecar that is replaced, as its successor sees it.

use std::{io, path::Path};

use anyhow::{Context as _, anyhow, bail};
use tokio::{io::AsyncWriteExt as _, net::UnixStream};

use super::{ANSWER, GRANTED, REPLACE, RUNNING, SHARD_ENDS, holdings::Given, wire};

/// A sidecar that has given away what it had, and serves until it is told that it is no longer needed. When it hears
/// that this process is gone instead, it goes on.
#[derive(Debug)]
pub struct Predecessor(UnixStream);

impl Predecessor {
    /// Asks the sidecar that works in a store to make room.
    pub(super) async fn replace(store: &Path) -> anyhow::Result<(Given, Self)> {
        let shown = store.display();
        let asked = async {
            let mut stream = wire::connect(store).await?;
            stream.write_all(REPLACE.as_bytes()).await?;
            Ok::<_, io::Error>(stream)
        };
        let stream = match tokio::time::timeout(ANSWER, asked).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => bail!(
                "another narthex-sidecar works in the store {shown} and cannot be asked to make room: {error}; stop it \
                 first"
            ),
            Err(_) => bail!("another narthex-sidecar works in the store {shown} and does not answer; stop it first"),
        };
        tracing::info!(store = %shown, "a sidecar runs here; taking its place");
        let given = tokio::time::timeout(SHARD_ENDS, wire::take(&stream, GRANTED)).await;
        let given = given
            .map_err(|_| anyhow!("it took longer than {}s", SHARD_ENDS.as_secs()))
            .and_then(|given| given?.context("it refused"))
            .with_context(|| format!("take the place of the sidecar that works in the store {shown}"))?;
        Ok((given, Self(stream)))
    }

    /// Tells it that this process serves.
    pub async fn end(mut self) {
        if let Err(error) = self.0.write_all(RUNNING.as_bytes()).await {
            // It has ended for other reasons.
            tracing::debug!(%error, "the sidecar that was replaced is gone already");
        }
    }
}
