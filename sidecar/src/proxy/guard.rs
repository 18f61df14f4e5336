//! The guard: a target that exposes more series than it may is cut off, and let through again once it has shrunk.
//!
//! Flow: a body in which the limit is passed is broken off on its way, so that Prometheus takes none of it. From then on
//! the target is *guarded*: its bodies are counted before anything of them goes on, and no further than to the limit. As
//! long as one is above it, Prometheus gets a 502 with the reason, which it shows as the target's last error. Once one is
//! not, it is asked for again within the same scrape, and goes through as ever.

use std::sync::{Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use narthex_common::{load::Series, series_limit::SeriesLimit};
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, timeout_at};

use super::{body::as_go_says_it, measure::Measurement};

/// Whether one target is guarded. It outlives the routes of an assignment.
#[derive(Debug, Default)]
pub(super) struct TargetGuard(Mutex<Option<Guarded>>);

/// A target that is guarded, as long as it is.
#[derive(Debug)]
pub(super) struct Guarded(Gauge);

impl Guarded {
    pub(super) fn new(count: Gauge) -> Self {
        count.inc();
        Self(count)
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl TargetGuard {
    pub(super) fn is_on(&self) -> bool {
        self.lock().is_some()
    }

    pub(super) fn turn_on(&self, count: &Gauge) {
        self.lock().get_or_insert_with(|| Guarded::new(count.clone()));
    }

    pub(super) fn turn_off(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> MutexGuard<'_, Option<Guarded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What looking at the body of a guarded target came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Looked {
    /// It is above the limit.
    TooMany,
    /// It is not, or Prometheus will not take it anyway.
    Shrunk,
    /// It did not come to its end.
    BrokenOff(String),
}

/// Counts a body up to the limit. No more of it is taken than that.
pub(super) async fn look(
    mut body: Incoming,
    mut measurement: Measurement,
    limit: SeriesLimit,
    give_up_at: Instant,
) -> Looked {
    loop {
        match timeout_at(give_up_at, body.frame()).await {
            Err(_) => return Looked::BrokenOff("context deadline exceeded".to_owned()),
            Ok(Some(Err(error))) => return Looked::BrokenOff(as_go_says_it(&error)),
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                if let Some(piece) = frame.data_ref() {
                    measurement.feed(piece);
                }
            }
        }
        if exceeds(limit, measurement.exposed()) {
            return Looked::TooMany;
        }
        if measurement.has_stopped() {
            return Looked::Shrunk;
        }
    }
    match measurement.finish() {
        // Some of a compressed body is counted only at its end.
        Ok(Some(load)) if exceeds(limit, load.exposed) => Looked::TooMany,
        Ok(_) | Err(_) => Looked::Shrunk,
    }
}

/// Whether a target that exposes so many series is above a limit.
pub(super) fn exceeds(limit: SeriesLimit, exposed: Series) -> bool {
    exposed > limit.series
}
