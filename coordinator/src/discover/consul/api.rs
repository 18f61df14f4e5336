//! Consul's HTTP API, as far as discovery asks it, and as Consul's own client asks.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty, Limited};
use narthex_common::config::{http_client::HeaderValues, scrape::ConsulSdConfig};
use narthex_runtime::http_client::JobClient;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use tokio::time::Instant;
use url::form_urlencoded;

use super::super::{
    http::MAX_ANSWER,
    metrics::{ConsulCall, ConsulMetrics},
};

/// How long Consul may wait for a change before it answers.
const WAIT: Duration = Duration::from_secs(120);

/// How long an answer may come late: Consul itself waits up to a sixteenth longer.
const LATE: Duration = Duration::from_secs(15);

/// How much of an error's text is told.
const TOLD: usize = 200;

/// What Go escapes in paths.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// A Consul agent or server.
pub(super) struct Consul {
    pub(super) config: ConsulSdConfig,
    client: JobClient,
    metrics: ConsulMetrics,
}

/// An answer, and the index to wait for changes of it with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Indexed<T> {
    pub(super) index: u64,
    pub(super) answer: T,
}

/// One instance of a service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance {
    pub(super) node: Node,
    pub(super) service: Service,
    #[serde(default, deserialize_with = "null_is_nothing")]
    pub(super) checks: Vec<Check>,
}

/// The machine it runs on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Node {
    #[serde(rename = "Node")]
    pub(super) name: String,
    pub(super) address: String,
    #[serde(deserialize_with = "null_is_nothing")]
    pub(super) meta: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_is_nothing")]
    pub(super) tagged_addresses: BTreeMap<String, String>,
}

/// What runs there.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Service {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) address: String,
    pub(super) port: i64,
    #[serde(deserialize_with = "null_is_nothing")]
    pub(super) tags: Vec<String>,
    #[serde(deserialize_with = "null_is_nothing")]
    pub(super) meta: BTreeMap<String, String>,
    pub(super) namespace: String,
    pub(super) partition: String,
}

/// One check of its health.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Check {
    #[serde(rename = "CheckID")]
    pub(super) id: String,
    #[serde(rename = "Status")]
    pub(super) status: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Agent {
    config: AgentConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AgentConfig {
    datacenter: String,
}

impl Consul {
    /// A client by a config.
    pub(super) fn new(config: ConsulSdConfig, metrics: ConsulMetrics) -> Result<Self, String> {
        let mut http_client = config.http_client.clone();
        if !config.token.expose().is_empty() {
            // As a secret header it stays with this host, wherever a redirect leads.
            let token = HeaderValues { secrets: vec![config.token.clone()], ..HeaderValues::default() };
            http_client.http_headers.entry("X-Consul-Token".to_owned()).or_insert(token);
        }
        let client = JobClient::new(&http_client).map_err(|error| error.to_string())?;
        Ok(Self { config, client, metrics })
    }

    /// The datacenter of the agent itself.
    pub(super) async fn datacenter_of_agent(&self) -> Result<String, String> {
        let asked: Result<Indexed<Agent>, String> = self.ask("/v1/agent/self", &[]).await;
        let agent = asked.map_err(|why| self.failed("the datacenter of the agent", &why))?;
        Ok(agent.answer.config.datacenter)
    }

    /// The names of all services with their tags, once they are other ones than at an index.
    pub(super) async fn services(&self, since: u64) -> Result<Indexed<BTreeMap<String, Vec<String>>>, String> {
        let asked = self
            .wait::<BTreeMap<String, Option<Vec<String>>>>(
                "/v1/catalog/services",
                since,
                &self.config.filter,
                &[],
                ConsulCall::Services,
            )
            .await;
        let Indexed { index, answer } = asked.map_err(|why| self.failed("the list of services", &why))?;
        let answer = answer.into_iter().map(|(name, tags)| (name, tags.unwrap_or_default())).collect();
        Ok(Indexed { index, answer })
    }

    /// The instances of a service, once they are other ones than at an index.
    pub(super) async fn instances(&self, service: &str, since: u64) -> Result<Indexed<Vec<Instance>>, String> {
        let path = format!("/v1/health/service/{service}");
        let asked = self.wait(&path, since, &self.config.health_filter, &self.config.tags, ConsulCall::Service).await;
        asked.map_err(|why| self.failed(&format!("service {service:?}"), &why))
    }

    fn failed(&self, what: &str, why: &str) -> String {
        self.metrics.failed();
        format!("{what}: {why}")
    }

    /// Asks what may take until something changes.
    async fn wait<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        since: u64,
        filter: &str,
        tags: &[String],
        call: ConsulCall,
    ) -> Result<Indexed<T>, String> {
        let mut parameters = vec![("wait", format!("{}ms", WAIT.as_millis()))];
        if self.config.allow_stale {
            parameters.push(("stale", String::new()));
        }
        if since != 0 {
            parameters.push(("index", since.to_string()));
        }
        if !filter.is_empty() {
            parameters.push(("filter", filter.to_owned()));
        }
        parameters.extend(self.config.node_meta.iter().map(|(name, value)| ("node-meta", format!("{name}:{value}"))));
        parameters.extend(tags.iter().map(|tag| ("tag", tag.clone())));
        let begun = Instant::now();
        let answer = self.ask(path, &parameters).await;
        self.metrics.observe(call, begun.elapsed());
        answer
    }

    async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Indexed<T>, String> {
        let until = Instant::now() + WAIT + LATE;
        let request = Request::get(self.url(path, parameters)).body(Empty::<Bytes>::new());
        let request = request.map_err(|error| format!("{path}: {error}"))?;
        let response = self.client.send_until(request, until).await.map_err(|error| error.to_string())?;
        let (head, body) = response.into_parts();
        let read = tokio::time::timeout_at(until, Limited::new(body, MAX_ANSWER).collect()).await;
        let read = read.map_err(|_| "context deadline exceeded while reading body".to_owned())?;
        let body = read.map_err(|error| format!("read body: {error}"))?.to_bytes();
        if head.status != StatusCode::OK {
            let text: String = String::from_utf8_lossy(&body).trim().chars().take(TOLD).collect();
            return Err(format!("Unexpected response code: {} ({text})", head.status.as_u16()));
        }
        let index = match head.headers.get("X-Consul-Index").map(|value| value.to_str()) {
            None => 0,
            Some(text) => (text.ok().and_then(|text| text.parse().ok()))
                .ok_or_else(|| "Failed to parse X-Consul-Index".to_owned())?,
        };
        // Off the async threads: there may be many instances.
        let answer = tokio::task::spawn_blocking(move || serde_json::from_slice(&body).map_err(|e| e.to_string()));
        let answer = answer.await.map_err(|error| error.to_string())??;
        Ok(Indexed { index, answer })
    }

    fn url(&self, path: &str, parameters: &[(&str, String)]) -> String {
        let ConsulSdConfig { scheme, server, path_prefix, datacenter, namespace, partition, .. } = &self.config;
        let path = format!("{path_prefix}{path}");
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("dc", datacenter), ("ns", namespace), ("partition", partition)] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.extend_pairs(parameters);
        format!("{scheme}://{server}{}?{}", utf8_percent_encode(&path, IN_PATH), query.finish())
    }
}

/// Go leaves empty what is written `null`.
fn null_is_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
