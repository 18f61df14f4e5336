//! What the tests are made of: targets whose every byte is scripted, a proxy before them, and a client that shows what
//! came back byte by byte.

use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use narthex_common::{
    assignment::{AssignedTarget, Assignment, TargetState},
    config::{Config, Files},
    labels::Labels,
    report::{Health, TargetReport},
    semantics::PrometheusVersion,
    series_limit::SeriesLimits,
    target::{Target, TargetId},
    target_limit::ExceededTargetLimits,
};
use narthex_runtime::shutdown::{Shutdown, ShutdownTrigger};
use narthex_sidecar::{
    job_ids::JobIds,
    proxy::{self, ProxyMetrics, ProxySettings, Routes, TopMetrics},
    targets::TargetTable,
};
use prometheus_client::registry::Registry;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
};

pub(crate) const TOKEN: &str = "a-token";
pub(crate) const JOB: &str = "node";

/// The config of one job with further fields, in YAML.
pub(crate) fn config(fields: &str, version: PrometheusVersion) -> Config {
    let file = OnlyFile(format!("scrape_configs:\n- {{job_name: {JOB}, {fields}}}\n"));
    Config::load(Path::new("/prometheus.yml"), &file, version).unwrap()
}

struct OnlyFile(String);

impl Files for OnlyFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.clone())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![])
    }
}

/// A target whose answers are scripted.
pub(crate) struct ScriptedTarget {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl ScriptedTarget {
    /// Answers every connection's first request as `script` does.
    pub(crate) async fn start<F>(script: impl Fn(TcpStream) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = read_head(&mut stream).await;
                seen.lock().unwrap().push(head);
                tokio::spawn(script(stream));
            }
        });
        Self { address, heads }
    }

    /// Answers every request with these bytes and closes the connection.
    pub(crate) async fn answering(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Arc<[u8]> = bytes.into().into();
        Self::start(move |mut stream| {
            let bytes = Arc::clone(&bytes);
            async move {
                stream.write_all(&bytes).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        })
        .await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    /// How many requests came.
    pub(crate) fn times_asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    /// The head of the first request that came.
    pub(crate) fn asked(&self) -> String {
        self.heads.lock().unwrap()[0].clone()
    }
}

/// An answer with a body of known length.
pub(crate) fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// The proxy under test, with one job.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) table: Arc<TargetTable>,
    pub(crate) top: TopMetrics,
    pub(crate) registry: Registry,
    pub(crate) job_id: String,
    urls: BTreeMap<TargetId, String>,
    routed: (Config, Assignment, JobIds, PrometheusVersion),
    routes: watch::Sender<Arc<Routes>>,
    running: ShutdownTrigger,
    served: JoinHandle<()>,
}

impl Proxy {
    /// A proxy for a job with further fields whose targets have these URLs.
    pub(crate) async fn start(fields: &str, urls: &[String]) -> Self {
        Self::start_for(fields, urls, PrometheusVersion::V2_42).await
    }

    pub(crate) async fn start_for(fields: &str, urls: &[String], version: PrometheusVersion) -> Self {
        Self::start_limited(fields, urls, version, SeriesLimits::default()).await
    }

    /// One that cuts off targets above a limit.
    pub(crate) async fn start_limited(
        fields: &str,
        urls: &[String],
        version: PrometheusVersion,
        limits: SeriesLimits,
    ) -> Self {
        let settings = ProxySettings { limits, ..ProxySettings::default() };
        Self::start_set(fields, urls, version, settings).await
    }

    /// One with settings of its own.
    pub(crate) async fn start_set(
        fields: &str,
        urls: &[String],
        version: PrometheusVersion,
        settings: ProxySettings,
    ) -> Self {
        let targets = urls.iter().enumerate().map(|(i, url)| {
            let labels: Labels = [("job", JOB.to_owned()), ("instance", i.to_string())].into_iter().collect();
            let target = Target::new(JOB.into(), labels, url.clone());
            (target.id, AssignedTarget { target, state: TargetState::Normal, since: None, load: None })
        });
        let assignment = Assignment { targets: targets.collect(), ..Assignment::default() };
        let urls = assignment.targets.values().map(|t| (t.target.id, t.target.url.clone())).collect();
        let ids = JobIds::new([&JOB.into()]);
        let job_id = ids.id(&JOB.into()).unwrap().to_owned();
        let config = config(fields, version);
        let routes = Routes::new(&config, &assignment, &ids, TOKEN, version, None);

        let table = Arc::new(TargetTable::default());
        table.assign(&assignment);
        let mut registry = Registry::default();
        let metrics = ProxyMetrics::register(&mut registry);
        let (routes, published) = watch::channel(Arc::new(routes));
        let (running, shutdown) = Shutdown::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let top = TopMetrics::default();
        let serving = proxy::serve(listener, published, Arc::clone(&table), metrics, settings, top.clone(), shutdown);
        let served = tokio::spawn(serving);
        let routed = (config, assignment, ids, version);
        Self { address, table, top, registry, job_id, urls, routed, routes, running, served }
    }

    /// From now on these jobs have too many targets.
    pub(crate) fn exceed(&self, exceeded_target_limits: ExceededTargetLimits) {
        let (config, assignment, ids, version) = &self.routed;
        let assignment = Assignment { exceeded_target_limits, ..assignment.clone() };
        let before = Arc::clone(&self.routes.borrow());
        self.routes.send_replace(Arc::new(Routes::new(config, &assignment, ids, TOKEN, *version, Some(&before))));
    }

    /// Ends the proxy as the process does, and waits until it has ended.
    pub(crate) async fn end(self) {
        self.running.trigger();
        self.served.await.unwrap();
    }

    /// Sends a request as Prometheus would, with further header lines.
    pub(crate) async fn ask(&self, url: &str, headers: &str) -> TcpStream {
        let credentials = BASE64_STANDARD.encode(format!("{}:{TOKEN}", self.job_id));
        let host = url.trim_start_matches("http://").split('/').next().unwrap();
        self.send(&format!(
            "GET {url} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic {credentials}\r\n{headers}\r\n"
        ))
        .await
    }

    /// Sends these very bytes.
    pub(crate) async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Scrapes a target once.
    pub(crate) async fn scrape(&self, url: &str) -> Answer {
        let mut stream = self.ask(url, "Accept: text/plain\r\n").await;
        Answer::read(&mut stream).await
    }

    /// What is known of the only target once `known` holds.
    pub(crate) async fn report_once(&self, known: impl Fn(&TargetReport) -> bool) -> TargetReport {
        for _ in 0..500 {
            let report = self.table.all().remove(0);
            if known(&report) {
                return report;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("not in time; known is {:?}", self.table.all());
    }

    /// What is known of the only target once it has been scraped.
    pub(crate) async fn report(&self) -> TargetReport {
        self.report_once(|report| report.health != Health::Unknown).await
    }

    /// What is known of every target, by its URL.
    pub(crate) fn reports_by_url(&self) -> BTreeMap<String, TargetReport> {
        self.table.all().into_iter().map(|report| (self.urls[&report.id].clone(), report)).collect()
    }

    /// The proxy's own metrics as text.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text
    }
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    /// `HTTP/1.1 200 OK`
    pub(crate) status: String,
    /// The header lines, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// The body, chunks put together.
    pub(crate) body: Vec<u8>,
    /// Whether the body came to the end it announced.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) async fn read(stream: &mut TcpStream) -> Self {
        let head = read_head(stream).await;
        let mut lines = head.lines();
        let status = lines.next().unwrap_or_default().to_owned();
        let headers: BTreeMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let (body, complete) = match headers.get("content-length") {
            Some(length) => read_up_to(stream, length.parse().unwrap()).await,
            None => read_chunks(stream).await,
        };
        Self { status, headers, body, complete }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

async fn read_head(stream: &mut TcpStream) -> String {
    read_until(stream, b"\r\n\r\n").await.unwrap_or_default()
}

/// The text before `end`, which is read, too; none when the stream ends before.
async fn read_until(stream: &mut TcpStream, end: &[u8]) -> Option<String> {
    let mut text = vec![];
    while !text.ends_with(end) {
        text.push(stream.read_u8().await.ok()?);
    }
    Some(String::from_utf8(text[..text.len() - end.len()].to_vec()).unwrap())
}

async fn read_up_to(stream: &mut TcpStream, length: usize) -> (Vec<u8>, bool) {
    let mut bytes = vec![];
    let read = stream.take(length as u64).read_to_end(&mut bytes).await;
    let complete = read.is_ok() && bytes.len() == length;
    (bytes, complete)
}

async fn read_chunks(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut body = vec![];
    loop {
        let Some(size) = read_until(stream, b"\r\n").await else { return (body, false) };
        let size = usize::from_str_radix(&size, 16).unwrap();
        let (chunk, complete) = read_up_to(stream, size).await;
        body.extend(chunk);
        if !complete || read_until(stream, b"\r\n").await.is_none() {
            return (body, false);
        }
        if size == 0 {
            return (body, true);
        }
    }
}
