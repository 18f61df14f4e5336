//! Wiring: what is started in which order, who tells whom, and how all of it ends.
//!
//! Start: the store and the ports, the config and the assignment; all that Prometheus reads is written; then the proxy
//! and the API, then Prometheus. End: Prometheus first, while its scrapes still get through, then the rest. A sidecar
//! that makes room for another (see [`crate::succession`]) leaves Prometheus as it is.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use narthex_common::semantics::PrometheusVersion;
use narthex_runtime::{
    admin::Readiness,
    listen::Passed,
    shutdown::{Shutdown, ShutdownTrigger},
    web::{self, Web},
};
use prometheus_client::registry::Registry;
use tokio::{
    net::TcpListener,
    process::Command,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    api::{self, Api},
    args::{PrometheusArgs, RunArgs},
    attribution::Attributing,
    base_config::ConfigSource,
    metrics::ShardMetrics,
    prometheus::{
        HttpPrometheus, PrometheusAddress, PrometheusControl as _, PrometheusSeen, observe,
        supervise::{Launch, Supervisor},
    },
    proxy::{self, ProxyMetrics, ProxySettings, TopMetrics},
    report::Reporter,
    self_check::{SelfCheck, SelfCheckMetrics},
    shard::{Shard, ShardHandle, ShardSetup, ShardState, Told},
    store::Store,
    succession::{Holdings, Successor, Successors},
    target_files::TargetFiles,
    targets::TargetTable,
};

/// How long a Prometheus that may or may not be there is asked for its version before the start.
const ASK_VERSION: Duration = Duration::from_secs(2);
/// What whoever reaches an API without protection can do.
const ANYBODY_CAN: &str = "change what this shard scrapes, read its data and reload its Prometheus";
/// How long requests may take to end once Prometheus is gone, or may go on without this shard.
const END: Duration = Duration::from_secs(5);
/// How long they may take when the next sidecar is started only after this one has ended: meanwhile new ones wait.
const END_IN_THE_WAY: Duration = Duration::from_secs(2);
/// How long they may take when another sidecar serves already. Each has its own scrape timeout; this is for what hangs.
const END_REPLACED: Duration = Duration::from_secs(300);

/// Runs until SIGTERM or SIGINT, or until another sidecar takes this one's place: by asking for it, or, after SIGUSR2,
/// by being started once this one has ended.
///
/// # Errors
/// When something that is needed is not there: a port, the store, a config that works.
pub async fn run(args: RunArgs, passed: Passed) -> anyhow::Result<()> {
    let signals = Signals::listen().context("listen to signals")?;
    let address = PrometheusAddress::parse(&args.prometheus.url)?;
    args.prometheus.check(args.rules)?;
    let prometheus = HttpPrometheus::new(address.clone(), args.prometheus.kind());
    let starting = async {
        let version = find_version(&args.prometheus, &prometheus).await?;
        let (holdings, predecessor) = Holdings::take(&args, passed).await?;
        anyhow::Ok((version, holdings, predecessor))
    };
    let (version, holdings, mut predecessor) = tokio::select! {
        started = starting => started?,
        () = signals.end.clone().wait() => return Ok(()),
    };
    loop {
        let running = Running::start(&args, &address, version, &holdings)?;
        if signals.end.has_begun() && predecessor.is_some() {
            // It has not heard that this one serves, and goes on.
            return Ok(());
        }
        if let Some(predecessor) = predecessor.take() {
            predecessor.end().await;
        }
        match running.until_told(&args, &address, &holdings, &signals).await? {
            Leaving::Ended => {
                running.end(END).await;
                return Ok(());
            }
            Leaving::BeforeTheNext => {
                running.shard.end().await;
                running.end(END_IN_THE_WAY).await;
                return Ok(());
            }
            Leaving::To(successor) => {
                running.shard.end().await;
                if hand_on(successor, &holdings, &signals).await {
                    tracing::info!("another sidecar has taken this one's place; ending");
                    // Should that one die while this one ends, a third finds neither lock nor sockets taken.
                    drop(holdings);
                    running.end(END_REPLACED).await;
                    return Ok(());
                }
                tracing::error!("the sidecar that was to take this one's place ended before it served; going on");
                tokio::spawn(running.end(END_REPLACED));
            }
        }
    }
}

/// What tells the process what to do.
struct Signals {
    /// End, and Prometheus with it.
    end: Shutdown,
    /// End, and leave Prometheus to the next sidecar.
    leave: Shutdown,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        let mut user_defined = signal(SignalKind::user_defined2())?;
        let (trigger, leave) = Shutdown::new();
        tokio::spawn(async move {
            if user_defined.recv().await.is_some() {
                tracing::info!("SIGUSR2 received, ending; Prometheus goes on");
                trigger.trigger();
            }
            // Dropped, it would be taken for a signal.
            std::future::pending::<()>().await;
            drop(trigger);
        });
        Ok(Self { end: Shutdown::on_signals()?, leave })
    }
}

/// Why this sidecar is to go.
enum Leaving {
    /// It was told to end, and its Prometheus has ended.
    Ended,
    /// Another one is started as soon as it has ended.
    BeforeTheNext,
    /// Another one is there already.
    To(Successor),
}

/// Everything that runs while this sidecar has the store.
struct Running {
    shard: ShardHandle,
    output: PathBuf,
    metrics: ShardMetrics,
    end_serving: ShutdownTrigger,
    proxying: JoinHandle<()>,
    answering: JoinHandle<()>,
}

impl Running {
    fn start(
        args: &RunArgs,
        address: &PrometheusAddress,
        version: Option<PrometheusVersion>,
        holdings: &Holdings,
    ) -> anyhow::Result<Self> {
        let kind = args.prometheus.kind();
        let prometheus = HttpPrometheus::new(address.clone(), kind);
        let proxy_listener = TcpListener::from_std(holdings.proxy.try_clone()?)?;
        let api_listener = TcpListener::from_std(holdings.api.try_clone()?)?;
        // What serves Prometheus ends after it.
        let (end_serving, serving) = Shutdown::new();
        let mut registry = Registry::default();
        let web = Web::start(&args.web, &mut registry, serving.clone())?;
        web.warn_unless_protected(api_listener.local_addr()?, ANYBODY_CAN);
        let metrics = ShardMetrics::register(&mut registry);
        let proxy_metrics = ProxyMetrics::register(&mut registry);
        let settings = ProxySettings { limits: args.guard.limits()?, count_compressed: args.count_compressed };
        let table = Arc::new(TargetTable::default());
        let (state, shard_state) = watch::channel(ShardState::default());
        let told = Told { table: Arc::clone(&table), state, metrics: metrics.clone() };
        let proxy_address = reachable(proxy_listener.local_addr()?).to_string();
        let setup = setup(args, &holdings.store, proxy_address, version)?;
        let output = setup.output.clone();
        // With connections of its own: they are served on its thread.
        let (shard, routes) = Shard::start(setup, HttpPrometheus::new(address.clone(), kind), told)?;

        let (seen_sender, seen) = watch::channel(PrometheusSeen::default());
        let shard = shard.run(seen.clone()).context("start the shard's thread")?;
        let (found, self_check) = watch::channel(None);
        let check = SelfCheck {
            prometheus: prometheus.clone(),
            shard: shard_state.clone(),
            seen: seen.clone(),
            metrics: SelfCheckMetrics::register(&mut registry),
            found,
        };
        let attributing = Attributing {
            prometheus: prometheus.clone(),
            state: shard_state.clone(),
            seen: seen.clone(),
            shard: shard.clone(),
        };
        let reporter = Reporter { shard: shard_state, prometheus: seen.clone(), self_check, table: Arc::clone(&table) };
        let top = TopMetrics::default();
        let api = Api { shard: shard.clone(), reporter, top: top.clone(), putting: Arc::default() };
        let router = api::routes(api, prometheus.clone(), Arc::new(registry), watch::channel(Readiness::Ready).1);
        let proxied = proxy::serve(proxy_listener, routes, table, proxy_metrics, settings, top, serving.clone());
        let proxying = tokio::spawn(proxied);
        let answering = tokio::spawn(web::serve(api_listener, router, web, serving.clone()));
        tokio::spawn(observe(prometheus, address.url(), seen_sender, serving.clone()));
        tokio::spawn(check.run(args.self_check_interval.to_std(), serving.clone()));
        tokio::spawn(attributing.run(serving.clone()));
        tokio::spawn(show(seen, metrics.clone()));
        reload_on_sighup(shard.clone(), serving)?;
        Ok(Self { shard, output, metrics, end_serving, proxying, answering })
    }

    /// Runs Prometheus, if it is to be run, until there is a reason to leave.
    async fn until_told(
        &self,
        args: &RunArgs,
        address: &PrometheusAddress,
        holdings: &Holdings,
        signals: &Signals,
    ) -> anyhow::Result<Leaving> {
        let told_to_end = async {
            if let Some(program) = args.prometheus.exec.clone() {
                let (address, config) = (address.clone(), self.output.clone());
                let kind = args.prometheus.kind();
                let launch = Launch { program, address, config, kind, args: args.prometheus.args.clone() };
                let starts = self.metrics.prometheus_starts();
                let (refusals, refused) = mpsc::channel(1);
                tokio::spawn(pass_on_refusals(refused, self.shard.clone()));
                Supervisor::new(launch, &holdings.store, starts, refusals).run(signals.end.clone()).await;
            } else {
                signals.end.clone().wait().await;
            }
        };
        let successors = Successors::listen(&holdings.store);
        // Prometheus goes on where it is merely no longer looked after.
        tokio::select! {
            () = told_to_end => Ok(Leaving::Ended),
            () = signals.leave.clone().wait() => Ok(Leaving::BeforeTheNext),
            successor = successors.next() => Ok(Leaving::To(successor)),
            // Alive without its shard it would refuse every assignment for ever. Whoever starts it again adopts the
            // Prometheus that goes on meanwhile.
            () = self.shard.gone() => {
                bail!("the shard has ended abnormally, see the panic above; start the sidecar again")
            }
        }
    }

    /// Accepts nothing more, and waits for what is under way.
    async fn end(self, patience: Duration) {
        self.end_serving.trigger();
        let both = async {
            drop(self.proxying.await);
            drop(self.answering.await);
        };
        if tokio::time::timeout(patience, both).await.is_err() {
            tracing::warn!("requests were still under way after {}s; breaking them off", patience.as_secs());
        }
    }
}

/// Gives everything to a successor and waits until it serves; whether it does.
async fn hand_on(successor: Successor, holdings: &Holdings, signals: &Signals) -> bool {
    tracing::info!("another sidecar is taking this one's place; Prometheus goes on");
    if let Err(error) = successor.give(holdings).await {
        tracing::warn!(%error, "it is gone already");
        return false;
    }
    tokio::select! {
        runs = successor.runs() => runs,
        // Whoever is told to end now need not wait for it.
        () = signals.end.clone().wait() => true,
    }
}

fn setup(
    args: &RunArgs,
    store: &Store,
    proxy_address: String,
    version: Option<PrometheusVersion>,
) -> anyhow::Result<ShardSetup> {
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| format!("find {}", path.display()));
    let file = args.config_file().map(absolute).transpose()?;
    let output = args.config_output_file.as_deref().map_or_else(|| Ok(store.generated_config()), absolute)?;
    if let Some(file) = file.as_deref().filter(|file| is_same_file(file, &output)) {
        bail!("write the generated config to {}: that is the user's own (flag --config.output-file)", file.display());
    }
    Ok(ShardSetup {
        source: ConfigSource { file, last_good: store.last_good_config() },
        output,
        assignment: store.assignment(),
        target_files: TargetFiles { directory: store.targets(), staging: store.staging() },
        directories: args.target_directories,
        proxy_address,
        token: store.proxy_token()?,
        rules: args.rules,
        kind: args.prometheus.kind(),
        fixed_version: args.prometheus.fixed_version,
        version,
    })
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// The address by which a neighbour reaches a listener.
fn reachable(listening: SocketAddr) -> SocketAddr {
    let mut address = listening;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Asks the Prometheus that may be running for its version, or else the binary that is to run: while a new sidecar
/// starts, scrapes wait, and a binary takes many times as long to answer as a process.
async fn find_version(args: &PrometheusArgs, prometheus: &HttpPrometheus) -> anyhow::Result<Option<PrometheusVersion>> {
    if let Ok(Ok(version)) = tokio::time::timeout(ASK_VERSION, prometheus.version()).await {
        return Ok(Some(version));
    }
    let Some(program) = &args.exec else { return Ok(None) };
    let output = Command::new(program)
        .arg("--version")
        .output()
        .await
        .with_context(|| format!("run {} (flag --prometheus.exec)", program.display()))?;
    // `prometheus, version 2.42.0 (branch: …)`, on standard output or, in older ones, on standard error.
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1).and_then(|v| v.parse().ok());
    if version.is_none() {
        tracing::warn!(program = %program.display(), "version unknown; the running Prometheus will be asked");
    }
    Ok(version)
}

async fn show(mut seen: watch::Receiver<PrometheusSeen>, metrics: ShardMetrics) {
    while seen.changed().await.is_ok() {
        metrics.seen(&seen.borrow_and_update());
    }
}

/// Tells the shard when Prometheus does not start with the config that the shard wrote.
async fn pass_on_refusals(mut refused: mpsc::Receiver<String>, shard: ShardHandle) {
    while let Some(why) = refused.recv().await {
        if shard.prometheus_refused_to_start(why).await.is_err() {
            return;
        }
    }
}

fn reload_on_sighup(shard: ShardHandle, serving: Shutdown) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("listen to SIGHUP")?;
    let reloading = async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP received, reading the config again");
            // The shard logs how it went.
            drop(shard.reload().await);
        }
    };
    tokio::spawn(async move {
        tokio::select! {
            () = reloading => {}
            () = serving.wait() => {}
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reaches_a_proxy_that_listens_everywhere_on_this_machine() {
        assert_eq!(reachable("0.0.0.0:8008".parse().unwrap()).to_string(), "127.0.0.1:8008");
        assert_eq!(reachable("[::]:8008".parse().unwrap()).to_string(), "[::1]:8008");
        assert_eq!(reachable("10.0.0.1:8008".parse().unwrap()).to_string(), "10.0.0.1:8008");
    }
}
