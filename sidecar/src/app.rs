//! Wiring: what is started in which order, who tells whom, and how all of it ends.
//!
//! Start: the store, the ports, the config and the assignment; all that Prometheus reads is written; then the proxy and
//! the API, then Prometheus. End: Prometheus first, while its scrapes still get through, then the rest.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use narthex_common::semantics::PrometheusVersion;
use narthex_runtime::{
    admin::Readiness,
    listen::listen,
    shutdown::Shutdown,
    web::{self, Web},
};
use prometheus_client::registry::Registry;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    api::{self, Api},
    args::{PrometheusArgs, RunArgs},
    base_config::ConfigSource,
    metrics::ShardMetrics,
    prometheus::{
        HttpPrometheus, PrometheusAddress, PrometheusControl as _, PrometheusSeen, observe,
        supervise::{Launch, Supervisor},
    },
    proxy::{self, ProxyMetrics, ProxySettings, TopMetrics},
    report::Reporter,
    shard::{Shard, ShardHandle, ShardSetup, ShardState, Told},
    store::Store,
    target_files::TargetFiles,
    targets::TargetTable,
};

/// How long a Prometheus that may or may not be there is asked for its version before the start.
const ASK_VERSION: Duration = Duration::from_secs(2);
/// What whoever reaches an API without protection can do.
const ANYBODY_CAN: &str = "change what this shard scrapes, read its data and reload its Prometheus";
/// How long requests may take to end once the sidecar is to end.
const END: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When something that is needed is not there: a port, the store, a config that works.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals().context("listen to signals")?;
    let address = PrometheusAddress::parse(&args.prometheus.url)?;
    let prometheus = HttpPrometheus::new(address.clone());
    let store = Store::open(&args.store_path)?;
    let api_listener = listen(&args.api_addr, "--web.api-addr").await?;
    let proxy_listener = listen(&args.proxy_addr, "--web.proxy-addr").await?;
    let version = find_version(&args.prometheus, &prometheus).await?;

    let mut registry = Registry::default();
    let web = Web::start(&args.web, &mut registry, shutdown.clone())?;
    web.warn_unless_protected(api_listener.local_addr()?, ANYBODY_CAN);
    let metrics = ShardMetrics::register(&mut registry);
    let proxy_metrics = ProxyMetrics::register(&mut registry);
    let settings = ProxySettings { limits: args.guard.limits()?, count_compressed: args.count_compressed };
    let table = Arc::new(TargetTable::default());
    let (state, shard_state) = watch::channel(ShardState::default());
    let told = Told { table: Arc::clone(&table), state, metrics: metrics.clone() };
    let proxy_address = reachable(proxy_listener.local_addr()?).to_string();
    let setup = setup(&args, &store, proxy_address, version)?;
    let output = setup.output.clone();
    // With connections of its own: they are served on its thread.
    let (shard, routes) = Shard::start(setup, HttpPrometheus::new(address.clone()), told)?;

    // What serves Prometheus ends after it.
    let (end_serving, serving) = Shutdown::new();
    let (seen_sender, seen) = watch::channel(PrometheusSeen::default());
    let shard = shard.run(seen.clone()).context("start the shard's thread")?;
    let reporter = Reporter { shard: shard_state, prometheus: seen.clone(), table: Arc::clone(&table) };
    let top = TopMetrics::default();
    let api = Api { shard: shard.clone(), reporter, top: top.clone(), putting: Arc::default() };
    let router = api::routes(api, prometheus.clone(), Arc::new(registry), watch::channel(Readiness::Ready).1);
    let proxied = proxy::serve(proxy_listener, routes, table, proxy_metrics, settings, top, serving.clone());
    let proxying = tokio::spawn(proxied);
    let answering = tokio::spawn(web::serve(api_listener, router, web, serving.clone()));
    tokio::spawn(observe(prometheus, address.url(), seen_sender, serving.clone()));
    tokio::spawn(show(seen, metrics.clone()));
    reload_on_sighup(shard.clone())?;

    let told_to_end = async {
        if let Some(program) = args.prometheus.exec {
            let launch = Launch { program, address, config: output, args: args.prometheus.args };
            let (refusals, refused) = mpsc::channel(1);
            tokio::spawn(pass_on_refusals(refused, shard.clone()));
            Supervisor::new(launch, &store, metrics.prometheus_starts(), refusals).run(shutdown).await;
        } else {
            shutdown.wait().await;
        }
    };
    tokio::select! {
        () = told_to_end => {}
        // Alive without its shard it would refuse every assignment for ever. Whoever starts it again takes over the
        // Prometheus that goes on meanwhile.
        () = shard.gone() => bail!("the shard has ended abnormally, see the panic above; start the sidecar again"),
    }
    end_serving.trigger();
    end(proxying, answering).await;
    Ok(())
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

/// Asks the binary or, without one, the Prometheus that may be running for its version.
async fn find_version(args: &PrometheusArgs, prometheus: &HttpPrometheus) -> anyhow::Result<Option<PrometheusVersion>> {
    let Some(program) = &args.exec else {
        return Ok(tokio::time::timeout(ASK_VERSION, prometheus.version()).await.ok().and_then(Result::ok));
    };
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

fn reload_on_sighup(shard: ShardHandle) -> anyhow::Result<()> {
    let mut hangups = signal(SignalKind::hangup()).context("listen to SIGHUP")?;
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            tracing::info!("SIGHUP received, reading the config again");
            // The shard logs how it went.
            drop(shard.reload().await);
        }
    });
    Ok(())
}

async fn end(proxying: JoinHandle<()>, answering: JoinHandle<()>) {
    let both = async {
        drop(proxying.await);
        drop(answering.await);
    };
    if tokio::time::timeout(END, both).await.is_err() {
        tracing::warn!("requests were still under way at the end");
    }
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
