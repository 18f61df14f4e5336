//! Succession: one sidecar takes the place of another without a scrape being lost.
//!
//! What only one sidecar of a shard can have – the lock of its store and its two listening sockets – are its
//! [`Holdings`]. A process has them from one of three: from nobody, then it makes them; from whoever started it and
//! listens meanwhile (a systemd socket unit), so that connections wait while no sidecar is there; or from the sidecar
//! that runs, which it is to replace.
//!
//! Flow of a replacement (`--replace`): the [`Predecessor`] is asked through a Unix socket in the store. It ends its
//! shard thread, so that everything is saved, lets go of Prometheus, which goes on, and sends lock and sockets. From
//! then on both serve: the predecessor goes on answering scrapes until the [`Successor`] says that it does; then it
//! finishes those that it has, and ends. A successor that ends before it said so has changed nothing: its predecessor
//! goes on.
//!
//! Guarantees: at every moment exactly one process writes to the store, and at least one accepts scrapes.

mod holdings;
mod predecessor;
mod successor;
mod wire;

use std::time::Duration;

pub use self::{
    holdings::{Holdings, SOCKETS},
    predecessor::Predecessor,
    successor::{Successor, Successors},
};

/// What both say has to come within this, once it is under way.
const ANSWER: Duration = Duration::from_secs(5);

/// How long the shard thread of a predecessor may take to end. It may be waiting for a reload of its Prometheus, for
/// which it has two minutes.
const SHARD_ENDS: Duration = Duration::from_secs(150);

/// The request of a successor. The number is that of this protocol.
const REPLACE: &str = "replace 1\n";
/// A predecessor's answer, with lock and sockets.
const GRANTED: &str = "granted\n";
/// A successor's word that it serves.
const RUNNING: &str = "running\n";
