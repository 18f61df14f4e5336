//! Discovery from real files and a real HTTP server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use narthex_common::{config::Config, semantics::PrometheusVersion};
use narthex_coordinator::discover::{Discovered, DiscoveryManager, DiscoverySettings, JobTargets};
use narthex_runtime::{
    files::Disk,
    http_client::install_tls_provider,
    shutdown::{Shutdown, ShutdownTrigger},
};
use prometheus_client::registry::Registry;
use rstest::rstest;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
};
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{basic_auth, header, method, path},
};

struct Discovery {
    manager: DiscoveryManager,
    snapshot: watch::Receiver<Arc<Discovered>>,
    registry: Registry,
    _shutdown: ShutdownTrigger,
}

fn load(folder: &Path, yaml: &str) -> Arc<Config> {
    let file = folder.join("prometheus.yml");
    fs::write(&file, yaml).unwrap();
    Arc::new(Config::load(&file, &Disk, PrometheusVersion::V3_5).unwrap_or_else(|error| panic!("{error}")))
}

impl Discovery {
    fn start(config: Arc<Config>) -> Self {
        Self::start_with(config, PrometheusVersion::V3_5.into())
    }

    fn start_with(config: Arc<Config>, settings: DiscoverySettings) -> Self {
        install_tls_provider();
        let (trigger, shutdown) = Shutdown::new();
        let mut registry = Registry::default();
        let (manager, snapshot) = DiscoveryManager::start(config, settings, &mut registry, shutdown);
        Self { manager, snapshot, registry, _shutdown: trigger }
    }

    /// Waits until job `j` is as wanted.
    async fn until(&mut self, wanted: &str, holds: impl Fn(&JobTargets) -> bool) -> Arc<JobTargets> {
        let job = "j".into();
        let seen = self.snapshot.wait_for(|snapshot| snapshot.jobs.get(&job).is_some_and(|job| holds(job)));
        let seen = tokio::time::timeout(Duration::from_secs(10), seen).await.map(|snapshot| drop(snapshot.unwrap()));
        let snapshot = Arc::clone(&self.snapshot.borrow());
        assert!(seen.is_ok(), "never {wanted}: {:#?}", snapshot.jobs);
        Arc::clone(&snapshot.jobs[&job])
    }

    async fn until_targets_are(&mut self, wanted: &[&str]) -> Arc<JobTargets> {
        let wanted: BTreeSet<&str> = wanted.iter().copied().collect();
        self.until(&format!("{wanted:?}"), |job| job.discovered && addresses(job) == wanted).await
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

fn addresses(job: &JobTargets) -> BTreeSet<&str> {
    job.active.values().filter_map(|active| active.target.labels.get("__address__")).collect()
}

/// An interval so long that only watching can tell.
const FILES: &str =
    "scrape_configs: [{job_name: j, file_sd_configs: [{files: ['sd/*.json', 'sd/*.yml'], refresh_interval: 1h}]}]";

#[tokio::test]
async fn files_are_followed_as_they_come_change_and_go() {
    let folder = TempDir::new().unwrap();
    let sd = folder.path().join("sd");
    fs::create_dir(&sd).unwrap();
    let mut discovery = Discovery::start(load(folder.path(), FILES));
    discovery.until_targets_are(&[]).await;

    fs::write(sd.join("a.json"), r#"[{"targets": ["a:1", "a:2"]}, {"targets": ["a:3"]}]"#).unwrap();
    let job = discovery.until_targets_are(&["a:1", "a:2", "a:3"]).await;
    let path = sd.join("a.json").display().to_string();
    assert!(job.active.values().all(|active| active.discovered_labels.get("__meta_filepath") == Some(&path)));

    fs::write(sd.join("b.yml"), "- targets: ['b:1']").unwrap();
    discovery.until_targets_are(&["a:1", "a:2", "a:3", "b:1"]).await;

    // A fewer group, and by renaming, as careful writers do.
    fs::write(sd.join("new"), r#"[{"targets": ["a:4"]}]"#).unwrap();
    fs::rename(sd.join("new"), sd.join("a.json")).unwrap();
    discovery.until_targets_are(&["a:4", "b:1"]).await;

    let metrics = discovery.metrics();
    for file in ["a.json", "b.yml"] {
        let of_file = format!("prometheus_sd_file_mtime_seconds{{filename=\"{}\"}} 1", sd.join(file).display());
        assert!(metrics.contains(&of_file), "{of_file} is not in {metrics}");
    }
    fs::remove_file(sd.join("b.yml")).unwrap();
    discovery.until_targets_are(&["a:4"]).await;
    let metrics = discovery.metrics();
    assert!(!metrics.contains("b.yml"), "{metrics}");
    assert!(metrics.contains("prometheus_sd_file_read_errors_total 0\n"), "{metrics}");
    assert!(!metrics.contains("prometheus_sd_file_scan_duration_seconds_count 0\n"), "{metrics}");
    assert!(metrics.contains("prometheus_sd_discovered_targets{config=\"j\",name=\"scrape\"} 1\n"), "{metrics}");
    assert!(metrics.contains("prometheus_sd_refresh_failures_total{mechanism=\"file\",config=\"j\"} 0\n"), "{metrics}");
}

#[rstest]
#[case::half_written(r#"[{"targets": ["a:1", "a:"#, "EOF")]
#[case::with_a_nil_group(r#"[{"targets": ["a:2"]}, null]"#, "nil target group item found (index 1)")]
#[case::with_an_unknown_field(r#"[{"targets": ["a:2"], "target": 1}]"#, "unknown field")]
#[tokio::test]
async fn a_bad_file_keeps_the_targets_it_had(#[case] bad: &str, #[case] error: &str) {
    let folder = TempDir::new().unwrap();
    let sd = folder.path().join("sd");
    fs::create_dir(&sd).unwrap();
    fs::write(sd.join("a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
    fs::write(sd.join("b.json"), r#"[{"targets": ["b:1"]}]"#).unwrap();
    let mut discovery = Discovery::start(load(folder.path(), FILES));
    discovery.until_targets_are(&["a:1", "b:1"]).await;

    fs::write(sd.join("a.json"), bad).unwrap();
    fs::write(sd.join("b.json"), r#"[{"targets": ["b:2"]}]"#).unwrap();
    let job = discovery.until("failing", |job| !job.failures.is_empty() && addresses(job).contains("b:2")).await;
    assert_eq!(addresses(&job), BTreeSet::from(["a:1", "b:2"]));
    assert!(!discovery.metrics().contains("prometheus_sd_file_read_errors_total 0\n"));
    assert!(job.failures[0].contains(error) && job.failures[0].contains("a.json"), "{:?}", job.failures);

    fs::write(sd.join("a.json"), r#"[{"targets": ["a:9"]}]"#).unwrap();
    let job = discovery.until_targets_are(&["a:9", "b:2"]).await;
    assert_eq!(job.failures, [""; 0]);
}

#[tokio::test]
async fn a_job_whose_file_is_bad_from_the_beginning_is_not_discovered_yet() {
    let folder = TempDir::new().unwrap();
    let sd = folder.path().join("sd");
    fs::create_dir(&sd).unwrap();
    fs::write(sd.join("a.json"), "[").unwrap();
    fs::write(sd.join("b.json"), r#"[{"targets": ["b:1"]}]"#).unwrap();
    let mut discovery = Discovery::start(load(folder.path(), FILES));
    let job = discovery.until("failing", |job| !job.failures.is_empty()).await;
    assert!(!job.discovered, "what the file had before the start is not to be forgotten");
    assert_eq!(addresses(&job), BTreeSet::from(["b:1"]));
}

/// As Prometheus 2.42 and 3.5 were seen to show them, started with a relative `--config.file`.
#[tokio::test]
async fn files_are_called_by_relative_paths_if_pattern_and_config_file_were_given_so() {
    let folder = TempDir::new().unwrap();
    let conf = folder.path().join("conf");
    fs::create_dir(&conf).unwrap();
    for file in ["a.json", "b.json"] {
        fs::write(conf.join(file), format!("[{{\"targets\": [\"{file}:1\"]}}]")).unwrap();
    }
    let absolute = conf.join("b.json").display().to_string();
    let yaml = format!("scrape_configs: [{{job_name: j, file_sd_configs: [{{files: [a.json, '{absolute}']}}]}}]");
    let settings = DiscoverySettings {
        working_dir: Some(folder.path().to_owned()),
        ..DiscoverySettings::from(PrometheusVersion::V3_5)
    };
    let mut discovery = Discovery::start_with(load(&conf, &yaml), settings);
    let job = discovery.until_targets_are(&["a.json:1", "b.json:1"]).await;
    let paths: BTreeSet<&str> =
        job.active.values().filter_map(|active| active.discovered_labels.get("__meta_filepath")).collect();
    assert_eq!(paths, BTreeSet::from(["conf/a.json", absolute.as_str()]));
}

#[tokio::test]
async fn a_directory_that_comes_later_is_found_by_refreshing() {
    let folder = TempDir::new().unwrap();
    let often = FILES.replace("1h", "200ms");
    let mut discovery = Discovery::start(load(folder.path(), &often));
    discovery.until_targets_are(&[]).await;
    fs::create_dir(folder.path().join("sd")).unwrap();
    fs::write(folder.path().join("sd/a.json"), r#"[{"targets": ["a:1"]}]"#).unwrap();
    discovery.until_targets_are(&["a:1"]).await;
}

#[tokio::test]
async fn many_jobs_with_files_of_their_own_need_one_watcher_only() {
    let folder = TempDir::new().unwrap();
    let jobs: String = (0..200)
        .map(|i| format!("- {{job_name: j{i}, file_sd_configs: [{{files: [sd{i}.json], refresh_interval: 1h}}]}}\n"))
        .collect();
    let yaml = format!(
        "scrape_configs:\n- {{job_name: j, file_sd_configs: [{{files: [sd.json], refresh_interval: 1h}}]}}\n{jobs}"
    );
    let mut discovery = Discovery::start(load(folder.path(), &yaml));
    discovery.until_targets_are(&[]).await;
    for i in 0..200 {
        fs::write(folder.path().join(format!("sd{i}.json")), r#"[{"targets": ["a:1"]}]"#).unwrap();
    }
    let all = discovery
        .snapshot
        .wait_for(|snapshot| (0..200).all(|i| !snapshot.jobs[&format!("j{i}").as_str().into()].active.is_empty()));
    assert!(tokio::time::timeout(Duration::from_secs(20), all).await.is_ok());
}

/// A server that asks for all that Prometheus sends, and lists one target.
async fn http_sd() -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path("/sd"))
        .and(basic_auth("user", "secret"))
        .and(header("accept", "application/json"))
        .and(header("x-prometheus-refresh-interval-seconds", "0.2"))
        .respond_with(json(r#"[{"targets": ["h:1"], "labels": {"zone": "x"}}]"#))
        .mount(&server)
        .await;
    server
}

fn json(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body, "application/json")
}

fn http_config(server: &MockServer) -> String {
    format!(
        "scrape_configs: [{{job_name: j, http_sd_configs: [{{url: '{}/sd', refresh_interval: 200ms, \
         basic_auth: {{username: user, password: secret}}}}]}}]",
        server.uri()
    )
}

#[tokio::test]
async fn an_url_is_asked_as_prometheus_asks_it() {
    let (folder, server) = (TempDir::new().unwrap(), http_sd().await);
    let mut discovery = Discovery::start(load(folder.path(), &http_config(&server)));
    let job = discovery.until_targets_are(&["h:1"]).await;
    let active = job.active.values().next().unwrap();
    assert_eq!(active.discovered_labels.get("__meta_url"), Some(format!("{}/sd", server.uri()).as_str()));
    assert_eq!(active.target.labels.get("zone"), Some("x"));
}

#[rstest]
#[case::an_error(ResponseTemplate::new(500), "server returned HTTP status 500 Internal Server Error")]
#[case::no_json(ResponseTemplate::new(200).set_body_raw("[]", "text/html"), r#"unsupported content type "text/html""#)]
#[case::half_a_list(json(r#"[{"targets": ["a"#), "EOF")]
#[case::a_list_with_a_hole(json("[null]"), "nil target group item found (index 0)")]
#[case::too_late(json("[]").set_delay(Duration::from_secs(5)), "no answer within 200ms")]
#[tokio::test]
async fn an_url_that_fails_keeps_its_last_targets(#[case] failure: ResponseTemplate, #[case] error: &str) {
    let (folder, server) = (TempDir::new().unwrap(), http_sd().await);
    let mut discovery = Discovery::start(load(folder.path(), &http_config(&server)));
    discovery.until_targets_are(&["h:1"]).await;

    server.reset().await;
    Mock::given(method("GET")).respond_with(failure).mount(&server).await;
    let job = discovery.until("failing", |job| !job.failures.is_empty()).await;
    assert_eq!(addresses(&job), BTreeSet::from(["h:1"]));
    assert!(job.failures[0].contains(error), "{:?}", job.failures);
    assert!(!job.failures[0].contains("secret"), "{:?}", job.failures);
    let counted = "prometheus_sd_refresh_failures_total{mechanism=\"http\",config=\"j\"}";
    assert!(discovery.metrics().lines().any(|line| line.starts_with(counted) && !line.ends_with(" 0")));
    assert!(!discovery.metrics().contains("prometheus_sd_http_failures_total 0\n"));
    assert!(discovery.metrics().contains("prometheus_sd_refresh_duration_seconds_count{mechanism=\"http\"} "));

    server.reset().await;
    Mock::given(method("GET")).respond_with(json(r#"[{"targets": ["h:2"]}]"#)).mount(&server).await;
    let job = discovery.until_targets_are(&["h:2"]).await;
    assert_eq!(job.failures, [""; 0]);
}

#[tokio::test]
async fn relabeling_sees_the_password_of_an_url_and_nobody_else_does() {
    let (folder, server) = (TempDir::new().unwrap(), http_sd().await);
    let yaml = http_config(&server).replace("http://", "http://user:secret@").replace(
        "job_name: j",
        "job_name: j, relabel_configs: [{source_labels: [__meta_url], regex: '.*:(s.*)@.*', target_label: seen}]",
    );
    let mut discovery = Discovery::start(load(folder.path(), &yaml));
    let job = discovery.until_targets_are(&["h:1"]).await;
    let active = job.active.values().next().unwrap();
    assert_eq!(active.target.labels.get("seen"), Some("secret"));
    let shown = active.discovered_labels.get("__meta_url").unwrap();
    assert!(shown.contains("user:xxxxx@"), "{shown}");
}

#[tokio::test]
async fn groups_that_are_no_longer_listed_are_removed() {
    let (folder, server) = (TempDir::new().unwrap(), MockServer::start().await);
    let two = Mock::given(method("GET")).respond_with(json(r#"[{"targets": ["h:1"]}, {"targets": ["h:2"]}]"#));
    two.mount(&server).await;
    let mut discovery = Discovery::start(load(folder.path(), &http_config(&server)));
    discovery.until_targets_are(&["h:1", "h:2"]).await;
    server.reset().await;
    Mock::given(method("GET")).respond_with(json(r#"[{"targets": ["h:2"]}]"#)).mount(&server).await;
    discovery.until_targets_are(&["h:2"]).await;
    server.reset().await;
    Mock::given(method("GET")).respond_with(json("[]")).mount(&server).await;
    discovery.until_targets_are(&[]).await;
}

#[tokio::test]
async fn a_reload_asks_nobody_again_whose_block_stayed() {
    let (folder, server) = (TempDir::new().unwrap(), http_sd().await);
    let hourly = http_config(&server).replace("200ms", "1h");
    server.reset().await;
    Mock::given(method("GET")).respond_with(json(r#"[{"targets": ["h:1"]}]"#)).expect(1).mount(&server).await;
    let mut discovery = Discovery::start(load(folder.path(), &hourly));
    discovery.until_targets_are(&["h:1"]).await;
    let changed = hourly.replace("job_name: j", "job_name: j, metrics_path: /other");
    discovery.manager.apply(load(folder.path(), &changed)).await;
    let moved = discovery
        .until("moved", |job| job.active.values().next().is_some_and(|active| active.target.url == "http://h:1/other"));
    assert!(moved.await.discovered);
    server.verify().await;
}

/// What a server does with a connection, after it has read the request.
#[derive(Clone, Copy)]
enum Manner {
    Lists(&'static str),
    RedirectsTo(&'static str),
    BreaksOff,
    StallsInBody,
    NeverEnds,
    SpeaksNoHttp,
}

/// Serves `/sd` in whatever manner it is told to, and `/elsewhere` well.
async fn moody_server(manner: Arc<Mutex<Manner>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let manner = Arc::clone(&manner);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap();
                let is_elsewhere = request[..length].starts_with(b"GET /elsewhere");
                let manner = if is_elsewhere { Manner::Lists("e:1") } else { *manner.lock().unwrap() };
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
                let said = match manner {
                    Manner::Lists(address) => format!("{head}\r\n[{{\"targets\": [\"{address}\"]}}]"),
                    Manner::RedirectsTo(path) => {
                        format!(
                            "HTTP/1.1 302 Found\r\nLocation: {path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        )
                    }
                    Manner::BreaksOff => format!("{head}Content-Length: 1000\r\n\r\n[{{\"targets\": [\"x:1\"]}}]"),
                    Manner::StallsInBody => format!("{head}Content-Length: 1000\r\n\r\n["),
                    Manner::NeverEnds => format!("{head}\r\n[{{\"targets\": [\"x:1\""),
                    Manner::SpeaksNoHttp => "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
                };
                drop(stream.write_all(said.as_bytes()).await);
                if matches!(manner, Manner::StallsInBody) {
                    tokio::time::sleep(Duration::from_secs(60)).await;
                }
                while matches!(manner, Manner::NeverEnds) && stream.write_all(b", \"y:1\"").await.is_ok() {}
            });
        }
    });
    format!("http://{address}/sd")
}

#[tokio::test]
async fn a_server_of_whatever_manners_costs_no_target_and_is_followed_when_it_has_good_ones_again() {
    let folder = TempDir::new().unwrap();
    let manner = Arc::new(Mutex::new(Manner::Lists("a:1")));
    let url = moody_server(Arc::clone(&manner)).await;
    let yaml =
        format!("scrape_configs: [{{job_name: j, http_sd_configs: [{{url: '{url}', refresh_interval: 300ms}}]}}]");
    let mut discovery = Discovery::start(load(folder.path(), &yaml));
    discovery.until_targets_are(&["a:1"]).await;
    for (bad, error) in [
        (Manner::BreaksOff, "read body: "),
        (Manner::StallsInBody, "no answer within 300ms"),
        (Manner::NeverEnds, "no answer within 300ms"),
        (Manner::SpeaksNoHttp, ""),
        (Manner::RedirectsTo("/sd"), ""),
    ] {
        *manner.lock().unwrap() = bad;
        let job = discovery.until("failing", |job| !job.failures.is_empty()).await;
        assert_eq!(addresses(&job), BTreeSet::from(["a:1"]));
        assert!(job.failures[0].contains(error), "{:?}", job.failures);
        *manner.lock().unwrap() = Manner::Lists("a:1");
        discovery.until("good again", |job| job.failures.is_empty() && addresses(job) == BTreeSet::from(["a:1"])).await;
    }
    *manner.lock().unwrap() = Manner::RedirectsTo("/elsewhere");
    discovery.until_targets_are(&["e:1"]).await;
}
