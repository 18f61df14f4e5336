//! A sidecar as its own process, in a directory of its own.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use narthex_common::{
    api::Answer,
    assignment::{AssignedTarget, Assignment, AssignmentUpdate, TargetState},
    labels::Labels,
    report::{Cursor, Report},
    target::{Target, TargetId},
};
use reqwest::{Client, StatusCode};

/// A directory, three ports, and the sidecar that works there.
pub(crate) struct Sidecar {
    pub(crate) root: tempfile::TempDir,
    pub(crate) api: u16,
    pub(crate) proxy: u16,
    pub(crate) prometheus: u16,
    args: Vec<String>,
    child: Option<Child>,
    client: Client,
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something holds, for a minute at most.
pub(crate) async fn until<F: Future<Output = Option<T>>, T>(what: &str, mut look: impl FnMut() -> F) -> T {
    for _ in 0..600 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("never: {what}");
}

impl Sidecar {
    /// A directory with a config; nothing runs yet.
    pub(crate) fn new(config: &str, args: &[&str]) -> Self {
        narthex_runtime::http_client::install_tls_provider();
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("user.yml"), config).unwrap();
        Self {
            root,
            api: free_port(),
            proxy: free_port(),
            prometheus: free_port(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            child: None,
            // By the next request another process may be at the other end.
            client: Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
        }
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_narthex-sidecar"));
        command
            .current_dir(self.root.path())
            .arg("--config.file=user.yml")
            .arg("--store.path=store")
            .arg(format!("--web.api-addr=127.0.0.1:{}", self.api))
            .arg(format!("--web.proxy-addr=127.0.0.1:{}", self.proxy))
            .arg(format!("--prometheus.url=http://127.0.0.1:{}", self.prometheus))
            .args(&self.args)
            .stdin(Stdio::null());
        command
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let log = fs::File::options().append(true).create(true).open(self.path("sidecar.log")).unwrap();
        self.child = Some(self.command().stderr(log).spawn().unwrap());
        until("the sidecar answers", || async {
            let ready = self.client.get(self.url("/-/ready")).send().await;
            ready.is_ok_and(|answer| answer.status() == StatusCode::OK).then_some(())
        })
        .await;
    }

    /// Starts another one in its place, and waits until it has ended.
    pub(crate) fn replace(&mut self) {
        let log = fs::File::options().append(true).open(self.path("sidecar.log")).unwrap();
        let successor = self.command().arg("--replace").stderr(log).spawn().unwrap();
        let status = self.child.replace(successor).unwrap().wait().unwrap();
        assert!(status.success(), "ended with {status}");
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// As `kill` does, waiting for its end.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
            let status = child.wait().unwrap();
            assert!(status.success() || std::thread::panicking(), "ended with {status}");
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.api)
    }

    pub(crate) async fn report(&self) -> Report {
        let answer = self.client.get(self.url("/api/v1/shard/report")).send().await.unwrap();
        answer.json::<Answer<Report>>().await.unwrap().into_result().unwrap()
    }

    pub(crate) async fn report_since(&self, cursor: &Cursor) -> Report {
        let text = self.get(&format!("/api/v1/shard/report?since={}", cursor.0)).await.1;
        serde_json::from_str::<Answer<Report>>(&text).unwrap().into_result().unwrap()
    }

    pub(crate) async fn assignment(&self) -> Assignment {
        let answer = self.client.get(self.url("/api/v1/shard/assignment")).send().await.unwrap();
        answer.json::<Answer<Assignment>>().await.unwrap().into_result().unwrap()
    }

    /// Puts an assignment that follows the one in force.
    pub(crate) async fn put(&self, put: Vec<AssignedTarget>, remove: Vec<TargetId>) -> (StatusCode, String) {
        let report = self.report().await;
        let update = AssignmentUpdate {
            base: Some(report.revision),
            revision: report.revision.next(),
            config: report.config,
            put,
            remove,
            ..AssignmentUpdate::default()
        };
        self.put_update(&update).await
    }

    /// Takes targets away that another shard has now.
    pub(crate) async fn hand_over(&self, targets: Vec<TargetId>) -> (StatusCode, String) {
        let report = self.report().await;
        let update = AssignmentUpdate {
            base: Some(report.revision),
            revision: report.revision.next(),
            config: report.config,
            put: Vec::new(),
            remove: targets.clone(),
            handed_over: targets,
            ..AssignmentUpdate::default()
        };
        self.put_update(&update).await
    }

    pub(crate) async fn put_update(&self, update: &AssignmentUpdate) -> (StatusCode, String) {
        let answer = self.client.put(self.url("/api/v1/shard/assignment")).json(update).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn reload(&self) -> (StatusCode, String) {
        let answer = self.client.post(self.url("/-/reload")).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let answer = self.client.get(self.url(path)).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    /// The values that an instant query finds, through the sidecar.
    pub(crate) async fn query(&self, query: &str) -> Vec<(Labels, f64)> {
        let request = self.client.get(self.url("/api/v1/query")).query(&[("query", query)]);
        let Ok(answer) = request.send().await else { return Vec::new() };
        let Ok(answer) = answer.json::<serde_json::Value>().await else { return Vec::new() };
        let found = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let series = |one: &serde_json::Value| {
            let labels = serde_json::from_value(one["metric"].clone()).unwrap();
            (labels, one["value"][1].as_str().unwrap().parse().unwrap())
        };
        found.iter().map(series).collect()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(log) = fs::read_to_string(self.path("sidecar.log"))
        {
            eprintln!("--- the sidecar's log ---\n{log}");
        }
        self.stop();
    }
}

/// A target as the coordinator would make it.
pub(crate) fn target(job: &str, address: &str, more: &[(&str, &str)]) -> AssignedTarget {
    let labels = [
        ("__address__", address),
        ("__metrics_path__", "/metrics"),
        ("__scheme__", "http"),
        ("__scrape_interval__", "1s"),
        ("__scrape_timeout__", "1s"),
        ("instance", address),
        ("job", job),
    ];
    let labels: Labels = labels.iter().chain(more).copied().collect();
    let url = format!("http://{address}/metrics");
    AssignedTarget { target: Target::new(job.into(), labels, url), state: TargetState::Normal, since: None, load: None }
}
