//! Wiring: which stage feeds which.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use narthex_common::{config::Config, semantics::PrometheusVersion, series_limit::SeriesLimits};
use narthex_runtime::{
    admin::{self, Readiness},
    clock,
    files::Disk,
    http_client::{ClientSettings, install_tls_provider},
    listen::listen,
    shutdown::Shutdown,
    telemetry,
    web::{self, Web},
};
use prometheus_client::registry::Registry;
use tokio::{sync::watch, time::MissedTickBehavior};
use tracing::{info, warn};

use crate::{
    apply::Teller,
    args::{Cli, Command, LogFormat, RunArgs, ShardType},
    check,
    discover::{self, Discovered, DiscoveryManager},
    observe::{HttpShardClient, Observer, ShardClient},
    probe::ProbeManager,
    provider::{LocalProvider, LocalSettings, Provider, StaticProvider},
    reload::ConfigFile,
    round::Rounds,
    sharding_rules::ShardingRules,
    simulate,
    status::{self, ApiState, RoundMetrics},
};

/// How long one sidecar may take to answer within a round.
const SHARD_TIMEOUT: Duration = Duration::from_secs(5);

/// What whoever reaches an API without protection can do.
const ANYBODY_CAN: &str = "read every target and plan, with previews keep a core busy, and reload the config";

/// Runs the command that was asked for.
pub async fn main(cli: Cli) -> ExitCode {
    install_tls_provider();
    let result = match cli.command {
        Some(Command::Check(command)) => return check::run(command).await,
        Some(Command::Status(args)) => status::print(&args).await,
        Some(Command::Samples(args)) => status::print_samples(&args).await,
        Some(Command::Plan(args)) => status::print_plan(&args).await,
        Some(Command::Simulate(args)) => match simulate::run(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        None => run(cli.run).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "logging may not have started; this is what the user must see")]
            {
                eprintln!("narthex-coordinator: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Coordinates until told to end.
///
/// # Errors
/// When it cannot start: a broken config, an unusable data directory, a busy port.
pub async fn run(args: RunArgs) -> anyhow::Result<()> {
    telemetry::init(
        &args.log_level,
        match args.log_format {
            LogFormat::Logfmt => telemetry::LogFormat::Logfmt,
            LogFormat::Json => telemetry::LogFormat::Json,
        },
    )?;
    let version = args.prometheus_version;
    let rules = args.rules()?;
    let limits = args.target.limits()?;
    let sharding = ShardingRules::ignored_if(args.ignore_sharding_rules);
    let config = Arc::new(load_config(&args.config_file, version, sharding)?);
    let listener = listen(&args.web_address, "--web.address").await?;
    let shutdown = Shutdown::on_signals().context("listen to signals")?;
    let local = match args.shard.kind {
        ShardType::Local => Some(Arc::new(LocalProvider::open(local_settings(&args, &limits)?)?)),
        ShardType::Static => None,
    };
    let provider: Arc<dyn Provider> = match &local {
        Some(local) => Arc::clone(local) as _,
        None => Arc::new(StaticProvider::open(&args.shard.static_file)?),
    };

    let mut registry = Registry::default();
    let web = Web::start(&args.web, &mut registry, shutdown.clone())?;
    web.warn_unless_protected(listener.local_addr()?, ANYBODY_CAN);
    let metrics = RoundMetrics::register(&mut registry);
    let mut settings = args.discovery.settings(version);
    if args.config_file.is_relative() {
        settings.working_dir = Some(std::env::current_dir().context("find the working directory")?);
    }
    let (discovery, discovered) =
        DiscoveryManager::start(Arc::clone(&config), settings, &mut registry, shutdown.clone());
    let (known, known_loads) = watch::channel(None);
    let probed = ProbeManager::start(
        discovered.clone(),
        known_loads,
        args.probe_concurrency.get(),
        (version, limits),
        &mut registry,
        shutdown.clone(),
    );
    let config_file = ConfigFile::new(args.config_file.clone(), (version, sharding), discovery, &mut registry);
    config_file.reload_on_hangup().context("listen to SIGHUP")?;

    let (publish, snapshot) = watch::channel(None);
    let (readiness, ready) = watch::channel(Readiness::NotReady("starting".to_owned()));
    let client: Arc<dyn ShardClient> = Arc::new(HttpShardClient::new(client_settings(&args, local.as_deref()))?);
    let api = status::router(ApiState::new(snapshot, config_file, Arc::clone(&client), version))
        .merge(admin::routes(Arc::new(registry), ready));
    let server = tokio::spawn(web::serve(listener, api, web, shutdown.clone()));
    info!(address = %args.web_address, jobs = config.jobs.len(), "the coordinator is up");

    let observer = Observer::new(Arc::clone(&client), SHARD_TIMEOUT);
    let mut rounds = Rounds::new(provider, observer, Teller::new(client, SHARD_TIMEOUT), rules);
    let ended = shutdown.clone().wait();
    tokio::pin!(ended);
    tokio::select! {
        // After a restart the shards know what their targets weigh: none of these is probed.
        found = rounds.look(clock::now()) => drop(known.send_replace(found)),
        () = &mut ended => {}
    }
    tokio::select! {
        () = first_answers(discovered.clone(), args.sd_init_timeout, &readiness) => {}
        () = &mut ended => {}
    }
    let mut tick = tokio::time::interval(args.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = &mut ended => break,
            _ = tick.tick() => {}
        }
        let (discovered, probed) = (Arc::clone(&discovered.borrow()), Arc::clone(&probed.borrow()));
        let snapshot = rounds.run(discovered, probed, clock::now()).await;
        metrics.show(&snapshot);
        known.send_if_modified(|known| {
            let measured = rounds.measured();
            let differs = *known != measured;
            *known = measured;
            differs
        });
        publish.send_replace(Some(Arc::new(snapshot)));
        readiness.send_replace(Readiness::Ready);
    }
    if let Some(local) = local.filter(|_| args.local.stop_with_coordinator) {
        info!("stopping the local shards (--shard.local.stop-with-coordinator)");
        local.shutdown_all().await?;
    }
    server.await.context("the web server ended abnormally")
}

/// Reads and checks a config, by whose rules targets are made.
///
/// # Errors
/// When Prometheus would refuse it, or it asks for something that Narthex cannot do.
pub fn load_config(
    path: &std::path::Path,
    version: PrometheusVersion,
    sharding: ShardingRules,
) -> anyhow::Result<Config> {
    let path = std::path::absolute(path).with_context(|| format!("find {}", path.display()))?;
    let config = Config::load(&path, &Disk, version)?;
    let config = sharding.treat(config);
    discover::check(&config, version)?;
    Ok(config)
}

fn local_settings(args: &RunArgs, limits: &SeriesLimits) -> anyhow::Result<LocalSettings> {
    let absolute =
        |path: &std::path::Path| std::path::absolute(path).with_context(|| format!("find {}", path.display()));
    Ok(LocalSettings {
        data_dir: absolute(&args.local.data_dir)?,
        config_file: absolute(&args.config_file)?,
        ports: args.local.ports.clone(),
        prometheus: args.local.prometheus.clone(),
        sidecar: args.local.sidecar.clone(),
        prometheus_args: args.local.prometheus_args.clone(),
        limits: limits.clone(),
        log_level: args.log_level.clone(),
        require_token: args.local.require_token,
    })
}

/// How sidecars are asked.
fn client_settings(args: &RunArgs, local: Option<&LocalProvider>) -> ClientSettings {
    match (args.shard.http_client_config.clone(), local) {
        (Some(path), _) => ClientSettings::File { path, flag: "--shard.http-client-config" },
        (None, Some(local)) => ClientSettings::Fixed(Box::new(local.client_settings())),
        (None, None) => ClientSettings::Fixed(Box::default()),
    }
}

/// Waits until every job's discovery has answered once, or for as long as it may take.
async fn first_answers(
    mut discovered: watch::Receiver<Arc<Discovered>>,
    limit: Duration,
    readiness: &watch::Sender<Readiness>,
) {
    let all_answered = discovered.wait_for(|discovered| {
        let silent = silent_jobs(discovered);
        if !silent.is_empty() {
            readiness
                .send_replace(Readiness::NotReady(format!("waiting for the first discovery of {}", silent.join(", "))));
        }
        silent.is_empty()
    });
    let in_time = tokio::time::timeout(limit, all_answered).await.is_ok();
    if !in_time {
        warn!(
            jobs = silent_jobs(&discovered.borrow()).join(", "),
            "no discovery answered within --sd.init-timeout; going on with the others; targets of these jobs stay \
             where they are"
        );
    }
}

fn silent_jobs(discovered: &Discovered) -> Vec<String> {
    discovered.jobs.iter().filter(|(_, found)| !found.discovered).map(|(job, _)| job.to_string()).collect()
}
