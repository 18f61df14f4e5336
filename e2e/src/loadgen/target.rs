//! One target: its settings, what it was asked, and the bodies it has made.

use std::{
    io::Write as _,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use anyhow::ensure;
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Failure, RequestSeen, TargetSettings,
    exposition::{Format, Lines},
};

/// One target.
#[derive(Debug)]
pub(super) struct Target {
    index: usize,
    settings: watch::Sender<Set>,
    seen: Mutex<Seen>,
    made: Mutex<Made>,
}

/// Settings and since when they count.
#[derive(Clone, Debug)]
pub(super) struct Set {
    pub(super) settings: TargetSettings,
    /// When growth began.
    since: Instant,
    /// From how many series it began.
    from: u64,
}

impl Set {
    fn new(settings: TargetSettings) -> Self {
        Self { since: Instant::now(), from: settings.series, settings }
    }

    fn series(&self) -> u64 {
        let grown = u128::from(self.settings.growth_per_minute) * self.since.elapsed().as_millis() / 60_000;
        self.from.saturating_add(u64::try_from(grown).unwrap_or(u64::MAX))
    }
}

#[derive(Debug, Default)]
struct Seen {
    scrapes: u64,
    last: Option<RequestSeen>,
}

/// What was made last, to be used again by whoever asks for the same.
#[derive(Default)]
struct Made {
    lines: Option<(LinesOf, Lines)>,
    bodies: Vec<(BodyOf, Bytes)>,
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

/// What a target's lines depend on.
type LinesOf = (u64, u64, u32, Format);
/// What a body depends on: the lines, the second, whether it is compressed.
type BodyOf = (LinesOf, u64, bool);

impl Target {
    pub(super) fn new(index: usize, settings: TargetSettings) -> Self {
        let (settings, _) = watch::channel(Set::new(settings));
        Self { index, settings, seen: Mutex::default(), made: Mutex::default() }
    }

    /// The settings of this moment.
    pub(super) fn settings(&self) -> TargetSettings {
        self.settings.borrow().settings.clone()
    }

    /// Tells when settings change.
    pub(super) fn watch(&self) -> watch::Receiver<Set> {
        self.settings.subscribe()
    }

    pub(super) fn current_series(&self) -> u64 {
        self.settings.borrow().series()
    }

    pub(super) fn scrapes(&self) -> u64 {
        locked(&self.seen).scrapes
    }

    pub(super) fn last_request(&self) -> Option<RequestSeen> {
        locked(&self.seen).last.clone()
    }

    /// Remembers a request.
    pub(super) fn saw(&self, request: RequestSeen) {
        let mut seen = locked(&self.seen);
        seen.scrapes += 1;
        seen.last = Some(request);
    }

    /// Changes settings. Series start anew from `series` when the change names it, and stay at what they have grown to
    /// when it does not.
    pub(super) fn change(&self, change: &Value) -> anyhow::Result<()> {
        let before = self.settings.borrow().clone();
        let settings = before.settings.changed(change)?;
        ensure!(settings.tls == before.settings.tls, "tls cannot change while the target runs");
        tracing::info!(target_index = self.index, failure = %settings.failure, series = settings.series, "target changed");
        let mut set = Set::new(settings);
        if change.get("series").is_none() {
            set.from = before.series();
        }
        self.settings.send_replace(set);
        Ok(())
    }

    /// The series as they are now. `extra` comes after them.
    pub(super) fn body(&self, format: Format, gzip: bool, extra: &str) -> Bytes {
        let (settings, count) = {
            let set = self.settings.borrow();
            (set.settings.clone(), set.series())
        };
        let second = if settings.fixed_values { 0 } else { seconds_since_the_epoch() };
        let lines_of = (count, settings.metrics, settings.labels, format);
        let body_of = (lines_of, second, gzip);
        // Held while a body is made: whoever asks for the same meanwhile gets it from here.
        let mut made = locked(&self.made);
        made.bodies.retain(|((_, made_in, _), _)| *made_in == second);
        if extra.is_empty()
            && let Some((_, body)) = made.bodies.iter().find(|(key, _)| *key == body_of)
        {
            return body.clone();
        }
        let lines = match made.lines.take() {
            Some((key, lines)) if key == lines_of => lines,
            Some(_) | None => Lines::new(self.index, count, &settings, format),
        };
        let mut text = lines.at(second);
        made.lines = Some((lines_of, lines));
        text.extend_from_slice(extra.as_bytes());
        text.extend_from_slice(format.end().as_bytes());
        let body = if gzip { compressed(&text) } else { Bytes::from(text) };
        if extra.is_empty() {
            made.bodies.push((body_of, body.clone()));
        }
        body
    }
}

fn seconds_since_the_epoch() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Whether the port of a target with these settings is closed.
pub(super) fn is_closed(set: &Set) -> bool {
    set.settings.failure == Failure::Refuse
}

/// A text as gzip, fast rather than small.
#[must_use]
pub fn compressed(text: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::with_capacity(text.len() / 8), Compression::fast());
    // Writing into memory does not fail.
    drop(encoder.write_all(text));
    Bytes::from(encoder.finish().unwrap_or_default())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
