//! Watching the Prometheus next door, so that a report never waits for it.

use std::time::Duration;

use narthex_common::{report::PrometheusReport, time::Timestamp};
use narthex_runtime::{clock, shutdown::Shutdown};
use tokio::sync::watch;

use super::{OwnMetrics, PrometheusControl, PrometheusSeen, Readiness};

/// How often it is asked, so that its head series are fresh at every round of the coordinator.
const READY: Duration = Duration::from_secs(5);
/// How often it is asked while it is not ready, so that a start is noticed soon.
const NOT_READY: Duration = Duration::from_millis(500);

/// Asks Prometheus again and again and publishes what it says, until the process ends.
pub async fn observe<P: PrometheusControl>(
    prometheus: P,
    url: String,
    seen: watch::Sender<PrometheusSeen>,
    shutdown: Shutdown,
) {
    let asking = async {
        loop {
            let before = seen.borrow().clone();
            let now = look(&prometheus, &url, before.clone(), clock::now()).await;
            if now.report.ready != before.report.ready {
                let state = if now.report.ready { "ready" } else { "not ready" };
                tracing::info!(%url, "Prometheus is {state}");
                if now.report.ready {
                    for flag in prometheus.unsuitable_flags().await {
                        tracing::warn!(%url, "{flag}");
                    }
                }
            }
            let pause = if now.report.ready { READY } else { NOT_READY };
            seen.send_if_modified(|seen| std::mem::replace(seen, now.clone()) != now);
            tokio::time::sleep(pause).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = shutdown.wait() => {}
    }
}

async fn look<P: PrometheusControl>(
    prometheus: &P,
    url: &str,
    before: PrometheusSeen,
    now: Timestamp,
) -> PrometheusSeen {
    let not_ready = |silent_since| {
        let report = PrometheusReport { ready: false, url: url.to_owned(), silent_since, ..before.report.clone() };
        PrometheusSeen { report, config_loaded: None }
    };
    match prometheus.readiness().await {
        Readiness::Ready => {}
        Readiness::NotReady => return not_ready(None),
        Readiness::Silent => return not_ready(before.report.silent_since.or(Some(now))),
    }
    // It may have been another one before it was away.
    let version = if before.report.ready && before.report.version.is_some() {
        before.report.version
    } else {
        prometheus.version().await.map_err(|e| tracing::warn!(error = %format!("{e:#}"), "version unknown")).ok()
    };
    let own = prometheus.own_metrics().await.unwrap_or_else(|e| {
        tracing::warn!(error = %format!("{e:#}"), "head series as they were seen last");
        OwnMetrics { head_series: before.report.head_series, ..OwnMetrics::default() }
    });
    let report = PrometheusReport {
        url: url.to_owned(),
        ready: true,
        silent_since: None,
        version,
        head_series: own.head_series,
    };
    PrometheusSeen { report, config_loaded: own.config_loaded }
}

#[cfg(test)]
mod tests {
    use narthex_common::{load::Series, semantics::PrometheusVersion};

    use super::{super::fake::FakePrometheus, *};

    #[tokio::test]
    async fn a_prometheus_that_comes_back_as_another_is_asked_for_its_version_again() {
        let fake = FakePrometheus::default();
        let seen = look(&fake, "http://p", PrometheusSeen::default(), Timestamp(0)).await;
        assert_eq!((seen.report.ready, seen.report.version), (false, None));

        fake.set(|state| {
            state.ready = true;
            state.version = PrometheusVersion::V2_42;
            state.own_metrics.head_series = Some(Series(5));
        });
        let seen = look(&fake, "http://p", seen, Timestamp(0)).await;
        assert_eq!((seen.report.version, seen.report.head_series), (Some(PrometheusVersion::V2_42), Some(Series(5))));

        fake.set(|state| state.ready = false);
        let seen = look(&fake, "http://p", seen, Timestamp(0)).await;
        assert_eq!((seen.report.ready, seen.report.version), (false, Some(PrometheusVersion::V2_42)));

        fake.set(|state| {
            state.ready = true;
            state.version = PrometheusVersion::V3_5;
        });
        let seen = look(&fake, "http://p", seen, Timestamp(0)).await;
        assert_eq!(seen.report.version, Some(PrometheusVersion::V3_5));
    }

    #[tokio::test]
    async fn a_prometheus_that_is_not_there_is_silent_since_then_and_one_that_replays_its_log_is_not() {
        let fake = FakePrometheus::default();
        let silent = |seen: &PrometheusSeen| seen.report.silent_since.map(|since| since.0);
        let seen = look(&fake, "http://p", PrometheusSeen::default(), Timestamp(1)).await;
        assert_eq!(silent(&seen), None);
        fake.set(|state| state.answers = false);
        let seen = look(&fake, "http://p", seen, Timestamp(2)).await;
        let seen = look(&fake, "http://p", seen, Timestamp(3)).await;
        assert_eq!((silent(&seen), seen.report.ready), (Some(2), false));
        fake.set(|state| state.answers = true);
        let seen = look(&fake, "http://p", seen, Timestamp(4)).await;
        assert_eq!((silent(&seen), seen.report.ready), (None, false));
    }
}
