//! What Prometheus says it scrapes: `/api/v1/targets`, read while it streams, keeping little of it.

use std::io::{self, BufReader, Read};

use bytes::{Buf as _, Bytes};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use narthex_common::labels::Labels;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::sync::mpsc;

/// A target of a scrape pool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActiveTarget {
    /// The pool that scrapes it.
    pub scrape_pool: String,
    /// The labels that its series carry.
    pub labels: Labels,
    /// Where it is scraped.
    pub scrape_url: String,
}

/// The targets of scrape pools whose rules are the user's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelabeledTargets {
    /// Those that are scraped.
    pub active_targets: Vec<RelabeledTarget>,
    /// Those that are not, of whatever pools.
    #[serde(default)]
    pub dropped_targets: Vec<DroppedTarget>,
}

/// A target before and after relabeling.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RelabeledTarget {
    /// The pool that scrapes it.
    pub scrape_pool: String,
    /// The labels it was given to Prometheus with.
    pub discovered_labels: Labels,
    /// The labels that its series carry.
    pub labels: Labels,
    /// Where it is scraped.
    pub scrape_url: String,
}

/// A target that relabeling dropped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedTarget {
    /// The labels it was given to Prometheus with.
    pub discovered_labels: Labels,
}

/// All that is wanted where it is no matter what targets were discovered with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OnlyActive {
    pub(super) active_targets: Vec<ActiveTarget>,
}

#[derive(Deserialize)]
struct Answer<T> {
    data: T,
}

/// Reads a body as far as it is wanted. What lies in between, most of all the labels that each target was discovered
/// with, is dropped as it comes.
pub(super) async fn read<T: DeserializeOwned + Send + 'static>(mut body: Limited<Incoming>) -> anyhow::Result<T> {
    let (pieces, received) = mpsc::channel(4);
    // It takes as long as some scrapes do: no thread that passes scrapes on does it.
    let reading = tokio::task::spawn_blocking(move || {
        serde_json::from_reader::<_, Answer<T>>(BufReader::new(Pieces { received, piece: Bytes::new() }))
    });
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(anyhow::Error::from_boxed)?.into_data()
            && pieces.send(data).await.is_err()
        {
            // It makes no sense, which is what whoever reads it says.
            break;
        }
    }
    drop(pieces);
    Ok(reading.await??.data)
}

/// The pieces of a body, to be read one after the other.
struct Pieces {
    received: mpsc::Receiver<Bytes>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let Some(piece) = self.received.blocking_recv() else { return Ok(0) };
            self.piece = piece;
        }
        let length = self.piece.len().min(buffer.len());
        self.piece.copy_to_slice(&mut buffer[..length]);
        Ok(length)
    }
}
