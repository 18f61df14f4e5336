//! `http_sd_configs`: target groups from an URL that is asked at an interval.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty, Limited};
use narthex_common::{config::scrape::HttpSdConfig, semantics::NameValidation};
use narthex_runtime::http_client::JobClient;
use tokio::time::MissedTickBehavior;
use url::Url;

use super::{
    discoverer::{Discoverer, Update, Updates},
    group::{ListFormat, TargetGroup, read_groups, source},
    metrics::{HttpMetrics, RefreshMetrics},
};

/// The label that says which URL a target comes from.
pub(super) const URL_LABEL: &str = "__meta_url";

/// Tells the server how often it is asked, as Prometheus does.
const REFRESH_INTERVAL_HEADER: &str = "X-Prometheus-Refresh-Interval-Seconds";

/// The largest answer that is read: a million targets with a few labels each take about half of it. Without a limit
/// an endless answer would take all memory within one refresh interval.
pub(super) const MAX_ANSWER: usize = 512 << 20;

/// Asks one `http_sd_configs` entry.
pub(super) struct HttpDiscoverer {
    config: HttpSdConfig,
    names: NameValidation,
    client: Option<JobClient>,
    metrics: HttpMetrics,
    refreshes: RefreshMetrics,
}

impl HttpDiscoverer {
    /// A discoverer that asks once it is run.
    pub(super) const fn new(
        config: HttpSdConfig,
        names: NameValidation,
        metrics: HttpMetrics,
        refreshes: RefreshMetrics,
    ) -> Self {
        Self { config, names, client: None, metrics, refreshes }
    }

    async fn keep_asking(mut self, updates: Updates) {
        let interval = self.config.refresh_interval.to_std().max(Duration::from_millis(1));
        let mut refresh = tokio::time::interval(interval);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut known = 0;
        let mut last_failure = None;
        loop {
            refresh.tick().await;
            let begun = tokio::time::Instant::now();
            let answer = tokio::time::timeout(interval, self.ask()).await;
            let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {}", self.config.refresh_interval)));
            self.refreshes.observe("http", begun.elapsed());
            let update = match answer {
                Ok(groups) => {
                    let listed = groups.len();
                    let gone = (listed..known).map(|i| TargetGroup::gone(source(self.config.url.expose(), i)));
                    let update = Update { groups: groups.into_iter().chain(gone).collect(), failure: None };
                    known = listed;
                    update
                }
                Err(failure) => {
                    self.metrics.failed();
                    Update { groups: Vec::new(), failure: Some(failure) }
                }
            };
            self.log(last_failure.as_ref(), update.failure.as_ref(), known);
            last_failure.clone_from(&update.failure);
            updates.tell(update).await;
        }
    }

    async fn ask(&mut self) -> Result<Vec<TargetGroup>, String> {
        // The client is made at first use, so that a CA file that comes late fails a refresh and not the discovery.
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let client = JobClient::new(&self.config.http_client).map_err(|error| error.to_string())?;
                self.client.insert(client).clone()
            }
        };
        // The limit around this comes first and has better words.
        let give_up_at = tokio::time::Instant::now() + self.config.refresh_interval.to_std() + Duration::from_secs(1);
        let response = client.send_until(self.request()?, give_up_at).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("server returned HTTP status {}", response.status()));
        }
        if !is_json(response.headers()) {
            let content_type = response.headers().get(header::CONTENT_TYPE);
            let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
            return Err(format!("unsupported content type {content_type:?}"));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|error| format!("read body: {error}"))?.to_bytes();
        let (names, url) = (self.names, self.config.url.clone());
        let read = tokio::task::spawn_blocking(move || {
            // Go, too, takes what is not UTF-8 for U+FFFD.
            let text = String::from_utf8_lossy(&body);
            read_groups(&text, ListFormat::Json, names, (URL_LABEL, url.expose()))
        });
        read.await.map_err(|error| error.to_string())?
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        Request::get(self.config.url.expose())
            .header(header::USER_AGENT, concat!("Narthex/", env!("CARGO_PKG_VERSION")))
            .header(header::ACCEPT, "application/json")
            .header(REFRESH_INTERVAL_HEADER, self.config.refresh_interval.to_std().as_secs_f64().to_string())
            .body(Empty::new())
            .map_err(|error| error.to_string())
    }

    /// Says a failure once, not at every refresh.
    fn log(&self, before: Option<&String>, now: Option<&String>, known: usize) {
        let url = without_password(self.config.url.expose());
        match (before, now) {
            (before, Some(error)) if before != Some(error) => {
                tracing::warn!(%url, %error, groups = known, "no target groups from http_sd; keeping the last ones");
            }
            (Some(_), None) => tracing::info!(%url, "http_sd answers again"),
            (_, Some(_)) | (None, None) => {}
        }
    }
}

impl Discoverer for HttpDiscoverer {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        self.keep_asking(updates).boxed()
    }
}

/// Prometheus' rule: `^(?i:application\/json(;\s*charset=("utf-8"|utf-8))?)$`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let value = value.to_ascii_lowercase();
    let (media_type, parameter) = value.split_once(';').map_or((value.as_str(), None), |(m, p)| (m, Some(p)));
    media_type == "application/json"
        && parameter.is_none_or(|p| matches!(p.trim_start(), "charset=utf-8" | "charset=\"utf-8\""))
}

/// An URL as it may be shown: a password in it is hidden as Prometheus hides it.
pub(crate) fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if parsed.password().is_some() => match parsed.set_password(Some("xxxxx")) {
            Ok(()) => parsed.to_string(),
            Err(()) => "<secret>".to_owned(),
        },
        Ok(_) => url.to_owned(),
        Err(_) => "<secret>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("application/json", true)]
    #[case("application/JSON; charset=UTF-8", true)]
    #[case(r#"application/json;charset="utf-8""#, true)]
    #[case("application/json; charset=latin1", false)]
    #[case("application/json; charset=utf-8; x=y", false)]
    #[case("text/plain; charset=utf-8", false)]
    #[case("", false)]
    fn only_json_in_utf_8_is_taken(#[case] content_type: &str, #[case] taken: bool) {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())]);
        assert_eq!(is_json(&headers), taken);
    }

    #[rstest]
    #[case("http://a/b?c=d", "http://a/b?c=d")]
    #[case("http://user:secret@a/b", "http://user:xxxxx@a/b")]
    #[case("not an url: secret", "<secret>")]
    fn a_password_in_an_url_is_not_shown(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(without_password(url), shown);
    }
}
