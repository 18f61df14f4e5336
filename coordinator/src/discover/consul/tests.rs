//! How a catalog is followed, shown with a Consul that really waits for changes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use narthex_common::{
    config::{Config, Files, SdConfig, scrape::ConsulSdConfig},
    semantics::PrometheusVersion,
};
use narthex_runtime::http_client::install_tls_provider;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{
    super::{
        discoverer::{Discoverer as _, DiscoveryId, Update, Updates},
        metrics::KindMetrics,
    },
    ConsulDiscoverer,
    watch::Pace,
};

/// A Consul that knows what a test says, and answers as its API's documentation has it.
#[derive(Clone)]
struct Fake {
    address: String,
    catalog: Arc<Mutex<Catalog>>,
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct Catalog {
    index: u64,
    /// The tags and instances of each service, and when they changed.
    services: BTreeMap<String, (u64, Vec<String>, Vec<Value>)>,
    /// When a service came or went.
    listed_at: u64,
    /// What asks for paths that contain this is answered with an error.
    failing: Option<&'static str>,
    asked: Vec<String>,
}

impl Fake {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let fake = Self {
            address: listener.local_addr().unwrap().to_string(),
            catalog: Arc::new(Mutex::new(Catalog { index: 10, listed_at: 10, ..Catalog::default() })),
            changed: watch::channel(()).0,
        };
        let routes = Router::new()
            .route("/v1/agent/self", get(agent))
            .route("/v1/catalog/services", get(services))
            .route("/v1/health/service/{*name}", get(instances))
            .with_state(fake.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    fn set(&self, name: &str, tags: &[&str], instances: Vec<Value>) {
        self.change(|catalog| {
            let index = catalog.index;
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            let before = catalog.services.insert(name.to_owned(), (index, tags.clone(), instances));
            if before.is_none_or(|(_, before, _)| before != tags) {
                catalog.listed_at = index;
            }
        });
    }

    fn change(&self, change: impl FnOnce(&mut Catalog)) {
        let mut catalog = self.catalog.lock().unwrap();
        catalog.index += 1;
        change(&mut catalog);
        drop(catalog);
        self.changed.send_replace(());
    }

    /// Answers with what `of` finds, once its index is above the one that was asked with.
    async fn answer(
        &self,
        path: &str,
        (query, headers): (Option<String>, HeaderMap),
        of: impl Fn(&Catalog) -> (u64, Value),
    ) -> Response {
        let query = query.unwrap_or_default();
        let token = headers.get("X-Consul-Token").map_or("", |token| token.to_str().unwrap());
        self.catalog.lock().unwrap().asked.push(format!("{path}?{query} {token}"));
        let since =
            query.split('&').find_map(|part| part.strip_prefix("index=")).map_or(0, |index| index.parse().unwrap());
        let mut changed = self.changed.subscribe();
        loop {
            let (index, answer) = {
                let catalog = self.catalog.lock().unwrap();
                if catalog.failing.is_some_and(|failing| path.contains(failing)) {
                    return (StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader").into_response();
                }
                of(&catalog)
            };
            if index > since {
                let headers = [("X-Consul-Index", index.to_string()), ("X-Consul-LastContact", "0".to_owned())];
                return (headers, Json(answer)).into_response();
            }
            changed.changed().await.unwrap();
        }
    }
}

async fn agent(State(fake): State<Fake>, query: RawQuery, headers: HeaderMap) -> Response {
    let answer = json!({"Config": {"Datacenter": "dc1", "NodeName": "n1", "Server": true}, "Member": {}});
    fake.answer("/v1/agent/self", (query.0, headers), |_| (1, answer.clone())).await
}

async fn services(State(fake): State<Fake>, query: RawQuery, headers: HeaderMap) -> Response {
    let list = |catalog: &Catalog| {
        let services = catalog.services.iter().map(|(name, (_, tags, _))| (name.clone(), json!(tags)));
        (catalog.listed_at, Value::Object(services.collect()))
    };
    fake.answer("/v1/catalog/services", (query.0, headers), list).await
}

async fn instances(
    State(fake): State<Fake>,
    Path(name): Path<String>,
    query: RawQuery,
    headers: HeaderMap,
) -> Response {
    let path = format!("/v1/health/service/{name}");
    let of = |catalog: &Catalog| {
        let known = catalog.services.get(&name);
        known.map_or((catalog.index, json!([])), |(index, _, instances)| (*index, json!(instances)))
    };
    fake.answer(&path, (query.0, headers), of).await
}

/// An instance as Consul shows one.
fn instance(address: &str, port: u16) -> Value {
    json!({
        "Node": {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5", "Node": "n-1", "Address": "10.1.10.12", "Datacenter": "dc1",
            "TaggedAddresses": {"lan": "10.1.10.12", "wan-ipv4": "203.0.113.7"},
            "Meta": {"instance-type": "t2.medium", "instance.type": "last", "consul-version": ""},
            "CreateIndex": 5, "ModifyIndex": 9
        },
        "Service": {
            "ID": "web1", "Service": "web", "Tags": ["a", "b"], "Address": address, "Port": port,
            "TaggedAddresses": {"lan": {"address": "10.1.10.99", "port": 1}},
            "Meta": {"redis_version": "4.0", "a/b": "c"}, "Weights": {"Passing": 10, "Warning": 1},
            "Namespace": "default", "Partition": "part"
        },
        "Checks": [
            {"Node": "n-1", "CheckID": "serfHealth", "Status": "passing", "Output": "", "ServiceID": ""},
            {"Node": "n-1", "CheckID": "service:web", "Status": "warning", "ServiceID": "web1", "ServiceTags": null}
        ]
    })
}

struct OneFile(String);

impl Files for OneFile {
    fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
        Ok(self.0.clone())
    }

    fn glob(&self, _: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }
}

fn config(block: &str) -> ConsulSdConfig {
    let yaml = format!("scrape_configs: [{{job_name: j, consul_sd_configs: [{{{block}}}]}}]");
    let config = Config::load("/p.yml".as_ref(), &OneFile(yaml), PrometheusVersion::V3_5).unwrap();
    let [SdConfig::Consul(consul)] = &config.jobs[0].discovery[..] else { panic!("{config:?}") };
    consul.clone()
}

/// A running discoverer, and what it has told.
struct Running {
    updates: mpsc::Receiver<(DiscoveryId, Update)>,
    known: BTreeMap<String, usize>,
    last: Update,
    registry: Registry,
}

impl Running {
    fn start(fake: &Fake, more: &str) -> Self {
        install_tls_provider();
        let config = config(&format!("server: '{}', {more}", fake.address));
        let mut registry = Registry::default();
        let metrics = KindMetrics::register(&mut registry);
        let pace = Pace { interval: Duration::from_millis(20), retry: Duration::from_millis(50) };
        let discoverer = ConsulDiscoverer { config, metrics: metrics.consul, pace };
        let (sender, updates) = mpsc::channel(1);
        tokio::spawn(Box::new(discoverer).run(Updates::new(DiscoveryId(0), sender)));
        Self { updates, known: BTreeMap::new(), last: Update::default(), registry }
    }

    async fn next(&mut self) -> &Update {
        let update = tokio::time::timeout(Duration::from_secs(20), self.updates.recv()).await.unwrap().unwrap().1;
        for group in &update.groups {
            if group.targets.is_empty() {
                self.known.remove(&group.source);
            } else {
                self.known.insert(group.source.clone(), group.targets.len());
            }
        }
        self.last = update;
        &self.last
    }

    /// Waits until these services have so many targets, and something fails or not.
    async fn until(&mut self, services: &[(&str, usize)], fails: bool) -> &Update {
        let wanted: BTreeMap<String, usize> = services.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        loop {
            self.next().await;
            if self.known == wanted && self.last.failure.is_some() == fails {
                return &self.last;
            }
        }
    }

    fn metric(&self, name: &str) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().to_owned()
    }
}

/// What Prometheus 3.5's own `discovery/consul` made of the same answers.
#[tokio::test]
async fn an_instance_has_the_labels_that_prometheus_gives_it() {
    let fake = Fake::start().await;
    fake.set("web", &["a", "b"], vec![instance("", 8000), instance("fd00::1", 8001)]);
    let mut running = Running::start(&fake, "");
    let update = running.until(&[("web", 2)], false).await;
    let group = &update.groups[0];
    assert_eq!(
        group.labels.iter().collect::<Vec<_>>(),
        [("__meta_consul_dc", "dc1"), ("__meta_consul_service", "web")]
    );
    let expected = [
        ("__address__", "10.1.10.12:8000"),
        ("__meta_consul_address", "10.1.10.12"),
        ("__meta_consul_health", "warning"),
        ("__meta_consul_metadata_instance_type", "last"),
        ("__meta_consul_namespace", "default"),
        ("__meta_consul_node", "n-1"),
        ("__meta_consul_partition", "part"),
        ("__meta_consul_service_id", "web1"),
        ("__meta_consul_service_metadata_a_b", "c"),
        ("__meta_consul_service_metadata_redis_version", "4.0"),
        ("__meta_consul_service_port", "8000"),
        ("__meta_consul_tagged_address_lan", "10.1.10.12"),
        ("__meta_consul_tagged_address_wan_ipv4", "203.0.113.7"),
        ("__meta_consul_tags", ",a,b,"),
    ];
    assert_eq!(group.targets[0].iter().collect::<Vec<_>>(), expected);
    let of_service = &group.targets[1];
    assert_eq!(of_service.get("__address__"), Some("[fd00::1]:8001"));
    assert_eq!(of_service.get("__meta_consul_service_address"), Some("fd00::1"));
}

#[tokio::test]
async fn services_come_change_and_go() {
    let fake = Fake::start().await;
    let mut running = Running::start(&fake, "");
    running.until(&[], false).await;
    fake.set("web", &[], vec![instance("", 1)]);
    running.until(&[("web", 1)], false).await;
    fake.set("web", &[], vec![instance("", 1), instance("", 2)]);
    fake.set("db", &[], vec![instance("", 3)]);
    running.until(&[("db", 1), ("web", 2)], false).await;
    fake.set("web", &[], Vec::new());
    running.until(&[("db", 1)], false).await;
    fake.change(|catalog| {
        catalog.services.remove("db");
        catalog.listed_at = catalog.index;
    });
    running.until(&[], false).await;
    let asked = fake.catalog.lock().unwrap().asked.len();
    assert!(asked < 20, "it waits for changes and does not ask all the time: {asked}");
    assert_ne!(
        running.metric("prometheus_sd_consul_rpc_duration_seconds_count{endpoint=\"catalog\",call=\"service\"}"),
        "0"
    );
    assert_eq!(running.metric("prometheus_sd_consul_rpc_failures_total"), "0");
}

#[tokio::test]
async fn the_first_answers_of_all_services_are_told_together() {
    let fake = Fake::start().await;
    for name in ["a", "b", "c"] {
        fake.set(name, &[], vec![instance("", 1)]);
    }
    let mut running = Running::start(&fake, "");
    assert_eq!(running.next().await.groups.len(), 3);
    assert_eq!(running.last.failure, None);

    fake.change(|catalog| catalog.failing = Some("service/b"));
    let mut second = Running::start(&fake, "");
    assert_eq!(second.next().await.groups.len(), 2);
    let failure = second.last.failure.clone().unwrap();
    assert_eq!(failure, "service \"b\": Unexpected response code: 500 (No cluster leader)");
}

#[tokio::test]
async fn what_fails_keeps_its_targets() {
    let fake = Fake::start().await;
    fake.set("web", &[], vec![instance("", 1)]);
    let mut running = Running::start(&fake, "");
    running.until(&[("web", 1)], false).await;
    fake.change(|catalog| catalog.failing = Some("/v1/"));
    running.until(&[("web", 1)], true).await;
    assert_ne!(running.metric("prometheus_sd_consul_rpc_failures_total"), "0");
    fake.change(|catalog| catalog.failing = None);
    running.until(&[("web", 1)], false).await;
    fake.set("web", &[], vec![instance("", 1), instance("", 2)]);
    running.until(&[("web", 2)], false).await;
}

#[tokio::test]
async fn an_agent_that_cannot_say_its_datacenter_is_asked_again() {
    let fake = Fake::start().await;
    fake.set("web", &[], vec![instance("", 1)]);
    fake.change(|catalog| catalog.failing = Some("agent"));
    let mut running = Running::start(&fake, "");
    let failure = running.until(&[], true).await.failure.clone().unwrap();
    assert!(failure.starts_with("the datacenter of the agent: "), "{failure}");
    fake.change(|catalog| catalog.failing = None);
    running.until(&[("web", 1)], false).await;
}

/// The questions are those that Prometheus 3.5 was seen to ask.
#[tokio::test]
async fn consul_is_asked_for_what_the_config_wants() {
    let fake = Fake::start().await;
    fake.set("web", &["x", "y"], vec![instance("", 1)]);
    fake.set("other", &["x"], vec![instance("", 2)]);
    let wants = "token: tok, namespace: n, partition: p, tags: [x, y], node_meta: {k: 'v 1'}, filter: 'a == b', \
                 health_filter: 'c != d'";
    let mut running = Running::start(&fake, wants);
    running.until(&[("web", 1)], false).await;
    let asked = fake.catalog.lock().unwrap().asked[..3].to_vec();
    assert_eq!(
        asked,
        [
            "/v1/agent/self?ns=n&partition=p tok",
            "/v1/catalog/services?ns=n&partition=p&wait=120000ms&stale=&filter=a+%3D%3D+b&node-meta=k%3Av+1 tok",
            "/v1/health/service/web?ns=n&partition=p&wait=120000ms&stale=&filter=c+%21%3D+d&node-meta=k%3Av+1&tag=x&tag=y tok",
        ]
    );
}

#[tokio::test]
async fn named_services_are_followed_without_the_list() {
    let fake = Fake::start().await;
    fake.set("we b/1", &[], vec![instance("", 1)]);
    fake.set("unwanted", &[], vec![instance("", 1)]);
    let mut running = Running::start(&fake, "services: ['we b/1', missing], datacenter: dc7, allow_stale: false");
    let update = running.until(&[("we b/1", 1)], false).await;
    assert_eq!(update.groups.last().unwrap().labels.get("__meta_consul_dc"), Some("dc7"));
    let asked = fake.catalog.lock().unwrap().asked.clone();
    assert!(asked.contains(&"/v1/health/service/we b/1?dc=dc7&wait=120000ms ".to_owned()), "{asked:?}");
    assert!(asked.iter().all(|path| path.starts_with("/v1/health/")), "{asked:?}");
    fake.set("missing", &[], vec![instance("", 1)]);
    running.until(&[("missing", 1), ("we b/1", 1)], false).await;
}
