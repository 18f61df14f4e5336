//! Prometheus, asked over HTTP. Where a vmagent must be asked otherwise is in [`vmagent`].

use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use bytes::{Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, uri::PathAndQuery};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use narthex_common::semantics::PrometheusVersion;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    ActiveTarget, OwnMetrics, PrometheusAddress, PrometheusControl, PrometheusKind, Readiness, RelabeledTargets,
    ReloadFailed,
    active_targets::{self, OnlyActive},
    own_metrics::OwnMetricsReader,
    vmagent,
};

/// A body that goes to Prometheus.
pub type Body = axum::body::Body;

/// How long Prometheus may take over a question about itself.
const ASK: Duration = Duration::from_secs(5);
/// How long a reload may take: with tens of thousands of targets it is seconds.
const RELOAD: Duration = Duration::from_secs(120);
/// How much of an error's text is worth keeping.
const MAX_ERROR: usize = 4096;
/// More than any Prometheus tells of itself.
const MAX_METRICS: usize = 64 << 20;
/// How long it may take to tell of all its targets: with tens of thousands of them it is seconds.
const ALL_TARGETS: Duration = Duration::from_secs(60);
/// More than a Prometheus tells of a hundred thousand targets. It is not held in memory.
const MAX_TARGETS: usize = 512 << 20;

/// The Prometheus next door. Cheap to clone; connections are kept and shared.
#[derive(Clone, Debug)]
pub struct HttpPrometheus {
    address: PrometheusAddress,
    kind: PrometheusKind,
    client: Client<HttpConnector, Body>,
}

#[derive(Deserialize)]
struct BuildInfo {
    data: BuildInfoData,
}

#[derive(Deserialize)]
struct BuildInfoData {
    version: String,
}

impl HttpPrometheus {
    /// The Prometheus at an address.
    #[must_use]
    pub fn new(address: PrometheusAddress, kind: PrometheusKind) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(ASK));
        connector.set_nodelay(true);
        Self { address, kind, client: Client::builder(TokioExecutor::new()).build(connector) }
    }

    /// Where it is.
    #[must_use]
    pub const fn address(&self) -> &PrometheusAddress {
        &self.address
    }

    /// Sends a request whose URI is a path to Prometheus; the answer's body is still to be read.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn send(&self, mut request: Request<Body>) -> anyhow::Result<Response<Incoming>> {
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        *request.uri_mut() = self.address.at(&path)?;
        self.client.request(request).await.map_err(|e| match std::error::Error::source(&e) {
            Some(cause) => anyhow!("{e}: {}", innermost(cause)),
            None => anyhow!(e),
        })
    }

    /// All targets that it scrapes, in whatever pool.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn all_active_targets(&self) -> anyhow::Result<Vec<ActiveTarget>> {
        let targets: OnlyActive = self.targets("/api/v1/targets?state=active", ALL_TARGETS).await?;
        Ok(targets.active_targets)
    }

    /// All targets of a scrape pool, before and after relabeling; an old one tells of all pools.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub async fn relabeled_targets(&self, pool: &str) -> anyhow::Result<RelabeledTargets> {
        let pool = utf8_percent_encode(pool, NON_ALPHANUMERIC);
        self.targets(&format!("/api/v1/targets?state=any&scrapePool={pool}"), ALL_TARGETS).await
    }

    async fn targets<T: DeserializeOwned + Send + 'static>(&self, path: &str, limit: Duration) -> anyhow::Result<T> {
        let answer = self.ask(Method::GET, path, limit).await.context("ask Prometheus for its targets")?;
        ensure!(answer.status().is_success(), "ask Prometheus for its targets: it answered {}", answer.status());
        let body = Limited::new(answer.into_body(), MAX_TARGETS);
        let reading = tokio::time::timeout(limit, active_targets::read(body));
        reading.await.context("read Prometheus' targets")?.context("read Prometheus' targets")
    }

    async fn ask(&self, method: Method, path: &str, limit: Duration) -> anyhow::Result<Response<Incoming>> {
        let request = Request::builder().method(method).uri(path).body(Body::empty())?;
        let answer = tokio::time::timeout(limit, self.send(request)).await;
        answer.map_err(|_| anyhow!("no answer within {}s", limit.as_secs()))?
    }

    async fn get(&self, path: &str) -> anyhow::Result<Response<Incoming>> {
        let answer = self.ask(Method::GET, path, ASK).await.with_context(|| format!("ask Prometheus for {path}"))?;
        ensure!(answer.status().is_success(), "ask Prometheus for {path}: it answered {}", answer.status());
        Ok(answer)
    }

    /// The text of a short answer.
    pub(super) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.get(path).await?;
        let text = tokio::time::timeout(ASK, read(answer, MAX_METRICS)).await;
        let text = text.with_context(|| format!("read {path}"))?.with_context(|| format!("read {path}"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Has it read its config again, and waits for its answer.
    pub(super) async fn post_reload(&self) -> Result<(), ReloadFailed> {
        let unreachable = |e: anyhow::Error| ReloadFailed::Unreachable(format!("{e:#}"));
        let answer = self.ask(Method::POST, "/-/reload", RELOAD).await.map_err(unreachable)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let text = read(answer, MAX_ERROR).await.unwrap_or_default();
        let text = String::from_utf8_lossy(&text).trim().to_owned();
        Err(match (status, self.kind) {
            (StatusCode::SERVICE_UNAVAILABLE, _) => ReloadFailed::Unreachable(text),
            (StatusCode::FORBIDDEN, PrometheusKind::Server | PrometheusKind::Agent) => {
                ReloadFailed::Forbidden(format!("{text} (Prometheus must be started with --web.enable-lifecycle)"))
            }
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, PrometheusKind::Vmagent) => {
                ReloadFailed::Forbidden(format!("{text} (vmagent must be started without -reloadAuthKey)"))
            }
            (_, _) => ReloadFailed::Refused(text),
        })
    }
}

impl PrometheusControl for HttpPrometheus {
    async fn readiness(&self) -> Readiness {
        match self.ask(Method::GET, "/-/ready", ASK).await {
            Ok(answer) if answer.status().is_success() => Readiness::Ready,
            Ok(_) => Readiness::NotReady,
            Err(_) => Readiness::Silent,
        }
    }

    async fn reload(&self) -> Result<(), ReloadFailed> {
        if self.kind == PrometheusKind::Vmagent {
            return vmagent::reload(self).await;
        }
        self.post_reload().await?;
        // What it says of itself counts: some of its parts take a config that others refuse.
        match self.own_metrics().await {
            Ok(OwnMetrics { config_is_good: Some(false), .. }) => Err(ReloadFailed::Refused(
                "it answered that it has read it, and its metric prometheus_config_last_reload_successful is 0".into(),
            )),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn active_targets(&self, pool: &str) -> anyhow::Result<usize> {
        let pool_encoded = utf8_percent_encode(pool, NON_ALPHANUMERIC);
        let path = format!("/api/v1/targets?state=active&scrapePool={pool_encoded}");
        let targets: OnlyActive = self.targets(&path, ASK).await?;
        // A Prometheus older than 2.42 tells of all pools.
        Ok(targets.active_targets.iter().filter(|target| target.scrape_pool == pool).count())
    }

    async fn version(&self) -> anyhow::Result<PrometheusVersion> {
        if let Some(assumed) = self.kind.assumed_version() {
            return Ok(assumed);
        }
        let text = self.text("/api/v1/status/buildinfo").await?;
        let info: BuildInfo = serde_json::from_str(&text).context("read Prometheus' version")?;
        Ok(info.data.version.parse()?)
    }

    async fn own_metrics(&self) -> anyhow::Result<OwnMetrics> {
        let answer = self.get("/metrics").await?;
        let reading = async {
            let mut body = answer.into_body();
            let mut reader = OwnMetricsReader::default();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame?.into_data() {
                    reader.take(&data);
                }
            }
            Ok(reader.finish())
        };
        tokio::time::timeout(ASK, reading).await.context("read Prometheus' own metrics")?
    }

    async fn unsuitable_flags(&self) -> Vec<String> {
        match self.kind {
            PrometheusKind::Server | PrometheusKind::Agent => Vec::new(),
            PrometheusKind::Vmagent => match self.text("/flags").await {
                Ok(flags) => vmagent::unsuitable_flags(&flags),
                Err(error) => {
                    tracing::debug!(error = %format!("{error:#}"), "the flags of vmagent are not known");
                    Vec::new()
                }
            },
        }
    }
}

/// A whole body, or as much of it as matters.
async fn read(answer: Response<Incoming>, limit: usize) -> Result<Bytes, hyper::Error> {
    let mut body = answer.into_body();
    let mut text = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            text.extend_from_slice(&data);
            if text.len() >= limit {
                text.truncate(limit);
                break;
            }
        }
    }
    Ok(text.freeze())
}

fn innermost<'a>(mut error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    while let Some(cause) = error.source() {
        error = cause;
    }
    error
}

#[cfg(test)]
mod tests {
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{method, path},
    };

    use super::*;

    async fn answering(at: &str, verb: &str, answer: ResponseTemplate) -> (MockServer, HttpPrometheus) {
        let server = MockServer::start().await;
        Mock::given(method(verb)).and(path(at)).respond_with(answer).mount(&server).await;
        let address = PrometheusAddress::parse(&server.uri()).unwrap();
        let prometheus = HttpPrometheus::new(address, PrometheusKind::Server);
        (server, prometheus)
    }

    #[tokio::test]
    async fn a_refused_reload_says_what_prometheus_says() {
        let answer = ResponseTemplate::new(500).set_body_string("failed to reload config: no such file\n");
        let (_server, prometheus) = answering("/-/reload", "POST", answer).await;
        let refused = ReloadFailed::Refused("failed to reload config: no such file".to_owned());
        assert_eq!(prometheus.reload().await, Err(refused));
    }

    #[tokio::test]
    async fn a_reload_that_is_not_enabled_names_the_flag() {
        let answer = ResponseTemplate::new(403).set_body_string("Lifecycle API is not enabled.");
        let (_server, prometheus) = answering("/-/reload", "POST", answer).await;
        let refused = prometheus.reload().await.unwrap_err().to_string();
        assert!(refused.contains("--web.enable-lifecycle"), "{refused}");
    }

    #[tokio::test]
    async fn a_prometheus_that_is_not_there_is_unreachable_and_not_ready() {
        // Port 1 is for nobody.
        let address = PrometheusAddress::parse("http://127.0.0.1:1").unwrap();
        let prometheus = HttpPrometheus::new(address, PrometheusKind::Server);
        let ReloadFailed::Unreachable(why) = prometheus.reload().await.unwrap_err() else { panic!("refused") };
        assert!(why.contains("refused"), "{why}");
        assert_eq!(prometheus.readiness().await, Readiness::Silent);
    }

    #[tokio::test]
    async fn the_version_is_what_the_build_says() {
        let body = r#"{"status":"success","data":{"version":"2.42.0+ds","revision":"x","goVersion":"go1.19.8"}}"#;
        let (_server, prometheus) =
            answering("/api/v1/status/buildinfo", "GET", ResponseTemplate::new(200).set_body_string(body)).await;
        assert_eq!(prometheus.version().await.unwrap(), PrometheusVersion::V2_42);
    }

    #[tokio::test]
    async fn of_its_targets_pool_labels_and_url_are_kept() {
        let body = r#"{"status":"success","data":{"activeTargets":[
            {"discoveredLabels":{"__address__":"a:1"},"labels":{"instance":"a:1","job":"j"},"scrapePool":"j",
             "scrapeUrl":"http://a:1/metrics?x=\u003c","lastError":"","health":"up","scrapeInterval":"15s"},
            {"labels":{},"scrapePool":"other","scrapeUrl":"http://b:1/"}],"droppedTargets":[]}}"#;
        let (_server, prometheus) =
            answering("/api/v1/targets", "GET", ResponseTemplate::new(200).set_body_string(body)).await;
        let targets = prometheus.all_active_targets().await.unwrap();
        assert_eq!(targets.iter().map(|t| t.scrape_pool.as_str()).collect::<Vec<_>>(), ["j", "other"]);
        assert_eq!(targets[0].labels.to_string(), r#"{instance="a:1", job="j"}"#);
        assert_eq!(targets[0].scrape_url, "http://a:1/metrics?x=<");
        assert_eq!(prometheus.active_targets("j").await.unwrap(), 1);
    }

    #[tokio::test]
    async fn half_an_answer_about_its_targets_is_none() {
        let body = r#"{"status":"success","data":{"activeTargets":[{"labels":{},"scrapePool":"j","scra"#;
        let (_server, prometheus) =
            answering("/api/v1/targets", "GET", ResponseTemplate::new(200).set_body_string(body)).await;
        let error = format!("{:#}", prometheus.all_active_targets().await.unwrap_err());
        assert!(error.starts_with("read Prometheus' targets: "), "{error}");
    }
}
