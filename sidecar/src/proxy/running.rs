//! One scrape on its way: however it ends, it is recorded exactly once, in the words Prometheus would have used had it
//! asked the target itself.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, StatusCode, Uri};
use hyper::ext::ReasonPhrase;
use narthex_common::{
    exposition::MetricCounts,
    load::{Load, Series},
    series_limit::SeriesLimit,
    target_limit::TargetLimitExceeded,
    time::Timestamp,
};
use narthex_runtime::{clock, http_client::TimeLimits};

use super::{
    ProxySettings,
    counting::CountCompressed,
    guard::exceeds,
    measure::Measurement,
    metrics::{InFlight, Outcome, ProxyMetrics},
    routes::{JobRoute, Route, TargetRoute},
    top_metrics::TopMetrics,
    unpack,
};
use crate::{
    leaving::GenerationId,
    targets::{Scrape, TargetTable},
};

/// How long Prometheus waits for the whole scrape, in seconds with a fraction.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// How much longer than Prometheus the proxy waits before it gives up. Prometheus hangs up first; this is for whoever
/// asks and never does, so that nothing is held for ever.
const LONGER_THAN_PROMETHEUS: Duration = Duration::from_secs(10);

/// Prometheus starts its clock before it dials the proxy, so its timeout strikes while the proxy's clock shows a little
/// less: whoever hangs up after this many hundredths of the timeout is taken to have run out of it.
const RUN_OUT_PERCENT: u32 = 90;

/// One scrape on its way. Dropped before it ended, it is one that Prometheus gave up.
pub(super) struct RunningScrape {
    job: Arc<JobRoute>,
    target: Arc<TargetRoute>,
    uri: Uri,
    through: Option<GenerationId>,
    table: Arc<TargetTable>,
    metrics: ProxyMetrics,
    top: TopMetrics,
    began: Timestamp,
    started: Instant,
    timeout: Duration,
    /// Whether the target has answered: Prometheus words a timeout differently then.
    answered: bool,
    /// The most series it may bring.
    limit: Option<SeriesLimit>,
    count_compressed: CountCompressed,
    /// Whether its samples are counted.
    counted: bool,
    /// Whether metric relabeling is tried on them.
    relabeled: bool,
    /// Whether its samples are counted by metric.
    by_metric: bool,
    ended: bool,
    _in_flight: InFlight,
}

impl RunningScrape {
    pub(super) fn start(
        route: &Route,
        headers: &HeaderMap,
        settings: &ProxySettings,
        table: Arc<TargetTable>,
        metrics: ProxyMetrics,
        top: TopMetrics,
    ) -> Self {
        let asked = headers.get(TIMEOUT_HEADER).and_then(|seconds| seconds.to_str().ok()?.parse().ok());
        let timeout = asked.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            job: Arc::clone(&route.job),
            target: Arc::clone(&route.target),
            uri: route.uri.clone(),
            through: route.through,
            table,
            began: clock::now(),
            started: Instant::now(),
            timeout: timeout.unwrap_or(route.job.scrape_timeout),
            answered: false,
            limit: settings.limits.of(&route.job.name),
            count_compressed: settings.count_compressed,
            counted: true,
            relabeled: false,
            by_metric: false,
            ended: false,
            _in_flight: metrics.in_flight(),
            metrics,
            top,
        }
    }

    /// How long the target is waited for: its addresses share the time that Prometheus has.
    pub(super) fn time_limits(&self) -> TimeLimits {
        let give_up_at = self.give_up_at();
        let shared_until = self.started.checked_add(self.timeout).map_or(give_up_at, Into::into);
        TimeLimits { shared_until, give_up_at }
    }

    /// When the proxy itself gives up.
    pub(super) fn give_up_at(&self) -> tokio::time::Instant {
        let patience = self.timeout.saturating_add(LONGER_THAN_PROMETHEUS);
        // A header may ask for more than a clock can count.
        let at = self.started.checked_add(patience).unwrap_or(self.started + LONGER_THAN_PROMETHEUS);
        at.into()
    }

    /// The target has answered with 200: its body is to be measured.
    pub(super) fn measurement(&mut self, headers: &HeaderMap) -> Measurement {
        self.answered = true;
        let sampled = self.count_compressed == CountCompressed::WhenNeeded && unpack::is_compressed(headers);
        self.counted = !sampled || self.is_count_needed();
        if !self.counted {
            return Measurement::of_size(headers, &self.job);
        }
        self.by_metric = self.target.metrics.is_due();
        // Where few bodies are counted, each of them is looked at closely.
        self.relabeled = sampled || self.by_metric || self.job.is_kept_due(&self.target);
        let kept = self.job.kept.clone().filter(|_| self.relabeled).map(|kept| (kept, self.target.labels.clone()));
        Measurement::new(headers, &self.job, kept, self.by_metric)
    }

    /// Whether a compressed body must be counted: because a limit depends on it, or what was counted last is outdated.
    fn is_count_needed(&self) -> bool {
        let limited = self.limit.is_some() || self.job.sample_limit > 0 || self.job.body_size_limit > 0;
        limited || self.target.metrics.is_due() || self.target.memory().count.is_due()
    }

    /// The limit that a target must prove to be below before its body is passed on.
    pub(super) fn guarded_by(&self) -> Option<SeriesLimit> {
        self.limit.filter(|_| self.target.guard.is_on())
    }

    /// A guarded target has answered with 200: its body is to be counted, no more.
    pub(super) fn count(&mut self, headers: &HeaderMap) -> Measurement {
        self.answered = true;
        Measurement::new(headers, &self.job, None, false)
    }

    /// Whether there is time to ask the target again for what took so long.
    pub(super) fn has_time_to_ask_again(&self) -> bool {
        self.started.elapsed() < self.timeout / 2
    }

    /// The limit, if so many series are above it.
    pub(super) fn exceeded_by(&self, exposed: Series) -> Option<SeriesLimit> {
        self.limit.filter(|limit| exceeds(*limit, exposed))
    }

    /// Bytes of the body went through.
    pub(super) fn passed(&self, bytes: usize) {
        self.metrics.passed(bytes);
    }

    /// The target exposes more series than it may. Says so, for Prometheus.
    pub(super) fn cut_off(mut self, limit: SeriesLimit) -> String {
        self.target.guard.turn_on(self.metrics.guarded());
        // Once it is let through again it is at most that large. With a larger load, or with none, so that it is probed,
        // the coordinator would find it too large for its shard.
        self.table.bound_load(self.target.id, Load { exposed: limit.series, kept: limit.series });
        let reason = limit.to_string();
        self.record(Outcome::CutOff, Err(reason.clone()));
        reason
    }

    /// The target's job has too many targets: it is not asked. Says so, for Prometheus.
    pub(super) fn too_many_targets(mut self, exceeded: TargetLimitExceeded) -> String {
        let reason = exceeded.to_string();
        self.record(Outcome::TooManyTargets, Err(reason.clone()));
        reason
    }

    /// A guarded target has shrunk, so late that this scrape cannot bring its series any more. Says so, for Prometheus.
    pub(super) fn shrunk_too_late(mut self) -> String {
        self.target.guard.turn_off();
        let reason = "target was cut off, and exposes few enough series again; there is no time left in this scrape to \
                      pass them on, the next one will";
        self.record(Outcome::CutOff, Err(reason.to_owned()));
        reason.to_owned()
    }

    /// The whole answer went through, of so many bytes.
    pub(super) fn forwarded(
        mut self,
        measured: Result<Option<Load>, String>,
        bytes: u64,
        by_metric: Option<MetricCounts>,
    ) {
        self.target.guard.turn_off();
        match by_metric.filter(|_| measured.is_ok()) {
            Some(counts) => self.top.counted(&self.job.name, &self.target.metrics, counts),
            None => self.target.metrics.passed(),
        }
        if measured.is_ok() {
            let mut memory = self.target.memory();
            if self.counted { memory.count.counted(bytes) } else { memory.count.skipped(bytes) }
        }
        let outcome = measured.map(|load| load.map(|load| self.load(load)));
        self.record(Outcome::Forwarded, outcome);
    }

    /// The target answered with another status than 200: Prometheus looks no further.
    pub(super) fn other_status(mut self, status: StatusCode, phrase: Option<&ReasonPhrase>) {
        let reason = match phrase {
            Some(phrase) => String::from_utf8_lossy(phrase.as_bytes()).into_owned(),
            None => status.canonical_reason().unwrap_or_default().to_owned(),
        };
        let error = format!("server returned HTTP status {} {reason}", status.as_u16());
        self.record(Outcome::OtherStatus, Err(error.trim_end().to_owned()));
    }

    /// The target gave no answer.
    pub(super) fn no_answer(mut self, reason: &str, elsewhere: Option<String>) {
        let url = elsewhere.unwrap_or_else(|| self.uri.to_string());
        self.record(Outcome::NoAnswer, Err(failed_get(&url, reason)));
    }

    /// The target's answer broke off.
    pub(super) fn broke_off(mut self, reason: String) {
        self.record(Outcome::BrokenOff, Err(reason));
    }

    /// Prometheus read as much of a body as the job allows, and hung up.
    pub(super) fn refused_as_too_large(mut self) {
        self.record(Outcome::Cancelled, Err(super::measure::TOO_LARGE.into()));
    }

    /// The load to report: what was measured, and the part that is kept, relabeled now or earlier.
    fn load(&self, measured: Load) -> Load {
        if self.job.kept.is_none() {
            return measured;
        }
        let mut memory = self.target.memory();
        if self.relabeled {
            memory.kept.tried(measured);
            measured
        } else {
            memory.kept.estimate(measured.exposed)
        }
    }

    fn record(&mut self, ended: Outcome, outcome: Result<Option<Load>, String>) {
        self.ended = true;
        self.metrics.ended(ended);
        self.table.pool_scrapes().record(self.target.id, self.through);
        self.table.record(self.target.id, Scrape { began: self.began, took: self.started.elapsed(), outcome });
    }
}

/// Go's words for a request that got no answer.
fn failed_get(url: &str, reason: &str) -> String {
    format!("Get \"{url}\": {reason}")
}

impl Drop for RunningScrape {
    /// Prometheus went away. When its time was up, that is what it says of the target; otherwise it was told to stop
    /// scraping, which says nothing of the target.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if !has_run_out(self.started.elapsed(), self.timeout) {
            self.metrics.ended(Outcome::Cancelled);
            return;
        }
        let reason = "context deadline exceeded";
        let error = if self.answered { reason.to_owned() } else { failed_get(&self.uri.to_string(), reason) };
        self.record(Outcome::Cancelled, Err(error));
    }
}

/// Whether a timeout that Prometheus announced has struck. A header may announce any number.
fn has_run_out(elapsed: Duration, timeout: Duration) -> bool {
    elapsed >= timeout.saturating_mul(RUN_OUT_PERCENT) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_hangs_up_near_the_end_of_a_timeout_has_run_out_of_it() {
        let (elapsed, whole) = (Duration::from_secs(9), Duration::from_secs(10));
        assert!(has_run_out(elapsed, whole));
        assert!(!has_run_out(elapsed, whole * 2));
        assert!(!has_run_out(elapsed, Duration::MAX), "a timeout of any length can be counted with");
    }
}
