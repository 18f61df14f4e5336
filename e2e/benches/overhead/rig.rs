//! The processes that are measured: a load generator, a sidecar, a Prometheus.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail};
use narthex_common::{
    api::{Answer, SHARD_ASSIGNMENT, SHARD_REPORT},
    assignment::{AssignedTarget, AssignmentUpdate, TargetState},
    labels::Labels,
    report::Report,
    target::Target,
};
use narthex_e2e::{
    process::{Process, free_ports, narthex},
    promql,
};

/// The only job.
pub(crate) const JOB: &str = "bench";

/// How long a process may take until it is ready: a load generator renders a million series before it is.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A running load generator.
pub(crate) struct Loadgen {
    _process: Process,
    pub(crate) addresses: Vec<String>,
}

impl Loadgen {
    pub(crate) async fn start(dir: &Path, targets: usize, series: u64, gzip: bool) -> anyhow::Result<Self> {
        let port = free_ports(u16::try_from(targets)?)?;
        let ready = dir.join("loadgen-ready");
        drop(std::fs::remove_file(&ready));
        let mut command = Command::new(narthex("narthex-loadgen")?);
        command
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--targets={targets}"))
            .arg(format!("--series={series}"))
            .arg(format!("--ready-file={}", ready.display()))
            .args(["--fixed-values", "--log-level=warn"])
            .args((!gzip).then_some("--no-gzip"));
        let process = Process::start("narthex-loadgen", command, &dir.join("loadgen.log"))?;
        let addresses = until("the load generator listens", async || std::fs::read_to_string(&ready).ok()).await?;
        Ok(Self { _process: process, addresses: addresses.lines().map(str::to_owned).collect() })
    }
}

/// A running sidecar that has been assigned targets.
pub(crate) struct Sidecar {
    pub(crate) process: Process,
    pub(crate) generated_config: PathBuf,
    pub(crate) proxy: String,
    api: String,
}

impl Sidecar {
    pub(crate) async fn start(dir: &Path, config: &str, prometheus: &str, args: &[String]) -> anyhow::Result<Self> {
        let file = dir.join("user.yml");
        std::fs::write(&file, config)?;
        let store = dir.join("sidecar");
        drop(std::fs::remove_dir_all(&store));
        let port = free_ports(2)?;
        let (api, proxy) = (format!("127.0.0.1:{port}"), format!("127.0.0.1:{}", port + 1));
        let mut command = Command::new(narthex("narthex-sidecar")?);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--store.path={}", store.display()))
            .arg(format!("--web.api-addr={api}"))
            .arg(format!("--web.proxy-addr={proxy}"))
            .arg(format!("--prometheus.url=http://{prometheus}"))
            .arg("--log.level=error")
            .args(args);
        let process = Process::start("narthex-sidecar", command, &dir.join("sidecar.log"))?;
        let sidecar = Self { process, generated_config: store.join("prometheus.yml"), proxy, api };
        until("the sidecar answers", async || sidecar.report().await.ok()).await?;
        Ok(sidecar)
    }

    pub(crate) async fn report(&self) -> anyhow::Result<Report> {
        let answer = promql::client()?.get(format!("http://{}{SHARD_REPORT}", self.api)).send().await?;
        let answer: Answer<Report> = answer.json().await?;
        answer.into_result().map_err(anyhow::Error::msg)
    }

    /// Assigns the targets at these addresses.
    pub(crate) async fn assign(&self, addresses: &[String], interval: &str) -> anyhow::Result<()> {
        let report = self.report().await?;
        let update = AssignmentUpdate {
            base: Some(report.revision),
            revision: report.revision.next(),
            config: report.config,
            put: addresses.iter().map(|address| target(address, interval)).collect(),
            remove: vec![],
            ..AssignmentUpdate::default()
        };
        let url = format!("http://{}{SHARD_ASSIGNMENT}", self.api);
        let answer = promql::client()?.put(url).json(&update).send().await?;
        if !answer.status().is_success() {
            bail!("the sidecar refuses the assignment: {}", answer.text().await?);
        }
        Ok(())
    }

    /// What Prometheus shows the proxy: `id:token`.
    pub(crate) fn credentials(&self) -> anyhow::Result<String> {
        let config = std::fs::read_to_string(&self.generated_config)?;
        let after = config.split_once("proxy_url: ").context("no proxy_url in the generated config")?.1;
        let user = after.split_once("http://").and_then(|(_, url)| url.split_once('@')).context("a proxy_url")?.0;
        Ok(user.to_owned())
    }
}

fn target(address: &str, interval: &str) -> AssignedTarget {
    let labels: Labels = [
        ("__address__", address),
        ("__metrics_path__", "/metrics"),
        ("__scheme__", "http"),
        ("__scrape_interval__", interval),
        ("__scrape_timeout__", interval),
        ("instance", address),
        ("job", JOB),
    ]
    .into_iter()
    .collect();
    let target = Target::new(JOB.into(), labels, format!("http://{address}/metrics"));
    AssignedTarget { target, state: TargetState::Normal, since: None, load: None }
}

/// A config with the job, its targets listed in it.
pub(crate) fn config(addresses: &[String], interval: &str) -> String {
    format!(
        "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n\
         scrape_configs:\n- job_name: {JOB}\n  static_configs: [{{targets: {addresses:?}}}]\n"
    )
}

/// A running Prometheus.
pub(crate) struct Prometheus {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Prometheus {
    pub(crate) async fn start(binary: &Path, dir: &Path, config: &Path, address: &str) -> anyhow::Result<Self> {
        let data = dir.join("data");
        drop(std::fs::remove_dir_all(&data));
        let mut command = Command::new(binary);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--web.enable-lifecycle", "--log.level=warn"]);
        let process = Process::start("prometheus", command, &dir.join("prometheus.log"))?;
        let url = format!("http://{address}");
        until("Prometheus is ready", async || {
            let answer = promql::client().ok()?.get(format!("{url}/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await?;
        Ok(Self { process, url })
    }

    /// How many samples it has stored since its start.
    pub(crate) async fn appended(&self) -> anyhow::Result<f64> {
        let metrics = promql::client()?.get(format!("{}/metrics", self.url)).send().await?.text().await?;
        let of_each_kind =
            metrics.lines().filter(|line| line.starts_with("prometheus_tsdb_head_samples_appended_total"));
        let values = of_each_kind.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        Ok(values.sum())
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> anyhow::Result<T> {
    let began = tokio::time::Instant::now();
    while began.elapsed() < READY_WITHIN {
        if let Some(seen) = look().await {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("not within {READY_WITHIN:?}: {what}")
}
