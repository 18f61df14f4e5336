//! Shards as processes of this machine, `--shard.type=local`: sidecars, each of which runs its Prometheus.
//!
//! Flow: every look at the replicas first takes the next step towards what is wanted. Shards that are missing are
//! created and started, those that ended are started again (with growing pauses, when they do not run well), those that
//! run are left alone. The number that was asked for is on disk before anything is done about it.
//!
//! Guarantees: shards outlive the coordinator, also one that is killed; the next one takes over those that run (known
//! by the folder that their command line names), and starts those that do not. A shard that leaves is asked to end, and
//! killed if it does not; its folder is put aside, so that neither its targets nor its data come back with its ordinal.
//! One coordinator at a time has the data directory.
//!
//! | in the data directory | what |
//! | --- | --- |
//! | `lock` | held by the coordinator; its process id |
//! | `api-token` | what the sidecars ask for, with `--shard.local.require-token` |
//! | `replica.json` | the number of shards last asked for |
//! | `shard-N/shard.json` | the shard's ports, when it was created, whether it is to go |
//! | `shard-N/sidecar.pid`, `shard-N/sidecar.log` | its sidecar's process id and output |
//! | `shard-N/…` | all else is the sidecar's store |
//! | `shard-N.removed-TIME/` | what is left of a shard that was removed, TIME in Unix seconds; nobody needs it again |

mod data_dir;
mod launch;
mod ports;
mod process;
mod shard;
mod shards;

use std::{
    ops::RangeInclusive,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use narthex_common::{
    config::{
        HttpClientConfig,
        http_client::{Auth, Source},
    },
    series_limit::SeriesLimits,
    shard::ReplicaId,
};
use tracing::warn;

use self::shards::Shards;
use super::{Provider, Replica};

/// How often it is looked whether ending shards have ended.
const LOOK: Duration = Duration::from_millis(100);

/// How long ending all shards may take: a sidecar that has to be killed, and then its Prometheus, too.
const END_ALL: Duration = Duration::from_secs(180);

/// What shards on this machine are started with.
#[derive(Clone, Debug)]
pub struct LocalSettings {
    /// Where they keep their configs and data: `--shard.local.data-dir`.
    pub data_dir: PathBuf,
    /// The ports they may use, three each: `--shard.local.ports`.
    pub ports: RangeInclusive<u16>,
    /// The user's config: `--config.file`.
    pub config_file: PathBuf,
    /// The Prometheus they run, a path or a name on PATH: `--shard.local.prometheus`.
    pub prometheus: PathBuf,
    /// The sidecar they run; found beside this binary or on PATH when none: `--shard.local.sidecar`.
    pub sidecar: Option<PathBuf>,
    /// What their Prometheus gets besides: `--shard.local.prometheus-arg`.
    pub prometheus_args: Vec<String>,
    /// What one of their targets may expose: `--target.max-series`.
    pub limits: SeriesLimits,
    /// What their sidecars log: `--log.level`.
    pub log_level: String,
    /// Whether their sidecars ask for a token: `--shard.local.require-token`.
    pub require_token: bool,
}

/// Starts and stops sidecars, each with its Prometheus, on this machine.
#[derive(Clone, Debug)]
pub struct LocalProvider(Arc<Mutex<Shards>>);

impl LocalProvider {
    /// Takes the data directory over, with the shards that run there.
    ///
    /// # Errors
    /// When the directory cannot be written or is damaged, another coordinator has it, or a binary is missing.
    pub fn open(settings: LocalSettings) -> anyhow::Result<Self> {
        Ok(Self(Arc::new(Mutex::new(Shards::open(&settings)?))))
    }

    /// The client settings with which the shards' sidecars are to be asked.
    #[must_use]
    pub fn client_settings(&self) -> HttpClientConfig {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let credentials = shards.token_file().map(|file| Source::File(file.to_owned()));
        let auth = credentials.map(|file| Auth::Header { kind: "Bearer".to_owned(), credentials: Some(file) });
        HttpClientConfig { auth, ..HttpClientConfig::default() }
    }

    /// Ends every shard: each sidecar is asked to, and ends its Prometheus; what does not end in time is killed.
    /// Nothing is started any more.
    ///
    /// # Errors
    /// When a shard could not be ended.
    pub async fn shutdown_all(&self) -> anyhow::Result<()> {
        let all_ended = async {
            while !self.act(|shards| shards.close(Instant::now())).await? {
                tokio::time::sleep(LOOK).await;
            }
            Ok(())
        };
        let late = || format!("end the local shards: some still run after {}s", END_ALL.as_secs());
        tokio::time::timeout(END_ALL, all_ended).await.with_context(late)?
    }

    /// Acts on the shards, away from the threads that must not be kept waiting by a disk or a starting process.
    async fn act<T: Send + 'static>(&self, act: impl FnOnce(&mut Shards) -> T + Send + 'static) -> anyhow::Result<T> {
        let shards = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || {
            // Every step starts from what is, so that one that was cut short is made up for by the next.
            act(&mut shards.lock().unwrap_or_else(PoisonError::into_inner))
        })
        .await
        .context("look after the local shards")
    }
}

impl Provider for LocalProvider {
    fn replicas(&self) -> BoxFuture<'_, anyhow::Result<Vec<Replica>>> {
        let look = |shards: &mut Shards| {
            if let Err(error) = shards.reconcile(Instant::now()) {
                warn!(error = format!("{error:#}"), "local shards are not as they should be; the others go on");
            }
            Ok(vec![shards.replica()?])
        };
        Box::pin(async move { self.act(look).await? })
    }

    fn scale<'a>(&'a self, replica: &'a ReplicaId, shards: u32) -> BoxFuture<'a, anyhow::Result<()>> {
        let replica = replica.clone();
        Box::pin(async move { self.act(move |all| all.scale(&replica, shards, Instant::now())).await? })
    }
}
