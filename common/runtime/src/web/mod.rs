//! The web server of every binary: who may ask, over what, and how much of this machine one who asks may take.
//!
//! Flow: a task looks at the files that `--web.config.file` and `--web.token-file` name every second and publishes what
//! they say; every connection and every request takes the newest. TLS comes first, then the credentials, then the
//! router.
//!
//! Guarantees: with users or a token set, nothing but `/-/healthy` and `/-/ready` is answered without them, what is
//! passed on to somebody else included; who has passed is passed on without the credentials. Files that became
//! unreadable or wrong change nothing, nor do those that would end credentials or TLS: what was read before stays in
//! force, so half a rotation locks nobody out and lets nobody in. No secret comes out in a log, an error or a `Debug`. Every wait for the other side has an end, and the
//! number of connections has, too: see [`serve()`].

mod args;
mod client_certificates;
mod files;
mod gate;
mod metrics;
pub mod pace;
mod passwords;
mod serve;
#[cfg(test)]
mod tests;
mod tls;
mod token;

pub use args::WebArgs;
pub use files::Web;
pub use serve::serve;
