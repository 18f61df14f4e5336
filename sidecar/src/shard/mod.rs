//! The shard: the one owner of what runs here – the config in force and the assignment.
//!
//! Flow: commands ([`ShardHandle`]) and what is seen of Prometheus come in one after the other; each is carried out on
//! disk, then told to the proxy ([`Routes`]), the target table, and everyone who watches the [`ShardState`].
//!
//! Guarantees: an assignment is on disk, synced, before it is acknowledged; one that cannot be carried out leaves the
//! old one in force; a config that is broken, or that Prometheus refuses, leaves the old one in force.
//!
//! It reads and writes files as it goes, so it has a thread of its own.

mod config_change;
mod departed;
mod leaving;
mod put;

use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use narthex_common::{
    assignment::{Assignment, AssignmentUpdate, Revision},
    config::{Config, ConfigSources, http_client::Secret},
    fingerprint::Fingerprint,
    report::ConfigFrom,
    semantics::PrometheusVersion,
    time::Timestamp,
};
use narthex_runtime::clock;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::{config_change::ConfigNotTaken, put::PutRefused};
use self::{departed::Departed, leaving::LeavingPools};
use crate::{
    args::Rules,
    assignment::{self, Found, Saved},
    attribution::Attribution,
    base_config::ConfigSource,
    job_ids::JobIds,
    leaving::Leaving,
    metrics::ShardMetrics,
    prometheus::{PrometheusControl, PrometheusKind, PrometheusSeen},
    proxy::Routes,
    render::{RenderSettings, layout::Layout},
    self_check::ScrapePools,
    target_files::TargetFiles,
    targets::TargetTable,
};

/// What everybody else may know of the shard: a whole value, replaced when anything changes.
#[derive(Clone, Debug, Default)]
pub struct ShardState {
    /// The assignment in force.
    pub assignment: Arc<Assignment>,
    /// The fingerprint of the config in force.
    pub config: Fingerprint,
    /// Where the config comes from.
    pub config_from: ConfigFrom,
    /// Why the newest config is not the one in force.
    pub config_error: Option<String>,
    /// Since when there has been no target.
    pub idle_since: Option<Timestamp>,
    /// The targets on their way out, which may be scraped beside the assignment.
    pub leaving: Arc<Leaving>,
    /// The scrape pools of the generated config.
    pub pools: Arc<ScrapePools>,
    /// What became of the targets that Prometheus relabels.
    pub attribution: Arc<Attribution>,
}

/// What a shard is made of.
#[derive(Clone, Debug)]
pub struct ShardSetup {
    /// Where the user's config comes from.
    pub source: ConfigSource,
    /// Where the generated config goes.
    pub output: PathBuf,
    /// Where the assignment is kept.
    pub assignment: PathBuf,
    /// The target files.
    pub target_files: TargetFiles,
    /// Over how many directories they are spread at most.
    pub directories: NonZeroU32,
    /// Where Prometheus reaches the proxy.
    pub proxy_address: String,
    /// What Prometheus shows the proxy.
    pub token: Secret,
    /// What becomes of rules.
    pub rules: Rules,
    /// What kind of Prometheus is next door.
    pub kind: PrometheusKind,
    /// The version the user says Prometheus has.
    pub fixed_version: Option<PrometheusVersion>,
    /// The version Prometheus is known to have at the start.
    pub version: Option<PrometheusVersion>,
}

/// Whom the shard tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// The targets' table.
    pub table: Arc<TargetTable>,
    /// Everybody else.
    pub state: watch::Sender<ShardState>,
    /// The metrics.
    pub metrics: ShardMetrics,
}

/// The owner of config and assignment.
pub struct Shard<P> {
    setup: ShardSetup,
    prometheus: P,
    told: Told,
    routes: watch::Sender<Arc<Routes>>,
    config: Config,
    ids: JobIds,
    /// The text of the generated config on disk.
    generated: String,
    /// What the rule files held when Prometheus was last told to read them.
    rule_files: Fingerprint,
    /// Why the newest config is not the one in force.
    config_error: Option<String>,
    /// Why Prometheus has not read the generated config.
    unread: Option<String>,
    /// Whether Prometheus has read the generated config as it is on disk.
    is_read: bool,
    saved: Saved,
    /// The saved assignment was damaged: the target files are all that is left of it, and stay as they are.
    is_lost: bool,
    departed: Departed,
    leaving: LeavingPools,
    attribution: Arc<Attribution>,
    version: Option<PrometheusVersion>,
    /// The generated config, by when it was written, that Prometheus was told to read and took or refused: it is not told
    /// again.
    answered: Option<Timestamp>,
}

enum Command {
    Put(AssignmentUpdate, oneshot::Sender<Result<Revision, PutRefused>>),
    Reload(oneshot::Sender<Result<(), String>>),
    TakeConfig(ConfigSources, oneshot::Sender<Result<Fingerprint, ConfigNotTaken>>),
    Attribute(Fingerprint, Attribution),
    NotStarted(String),
    End,
}

/// Asks the shard to do something. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ShardHandle(mpsc::Sender<Command>);

/// The shard is gone: the process is ending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sidecar is ending")]
pub struct Ending;

impl ShardHandle {
    /// Puts an assignment into force.
    ///
    /// # Errors
    /// When the process is ending, or (inside) why the assignment was refused.
    pub async fn put(&self, update: AssignmentUpdate) -> Result<Result<Revision, PutRefused>, Ending> {
        self.ask(|answer| Command::Put(update, answer)).await
    }

    /// Reads the config file again.
    ///
    /// # Errors
    /// When the process is ending, or (inside) why the config in the file is not in force.
    pub async fn reload(&self) -> Result<Result<(), String>, Ending> {
        self.ask(Command::Reload).await
    }

    /// Puts a config of the coordinator into force.
    ///
    /// # Errors
    /// When the process is ending, or (inside) why the config is not in force.
    pub async fn take_config(&self, config: ConfigSources) -> Result<Result<Fingerprint, ConfigNotTaken>, Ending> {
        self.ask(|answer| Command::TakeConfig(config, answer)).await
    }

    /// Says what became of the targets that Prometheus relabels, under a config.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn attribute(&self, config: Fingerprint, learned: Attribution) -> Result<(), Ending> {
        self.0.send(Command::Attribute(config, learned)).await.map_err(|_| Ending)
    }

    /// Says that Prometheus does not start with the generated config, and why.
    ///
    /// # Errors
    /// When the process is ending.
    pub async fn prometheus_refused_to_start(&self, why: String) -> Result<(), Ending> {
        self.0.send(Command::NotStarted(why)).await.map_err(|_| Ending)
    }

    /// Ends the shard once everything that it was asked for before is done and on disk.
    pub async fn end(&self) {
        // One that is gone already has ended.
        drop(self.0.send(Command::End).await);
        self.gone().await;
    }

    /// Waits until the shard is gone: because it was told to end, or because it panicked.
    pub async fn gone(&self) {
        self.0.closed().await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Ending> {
        let (answer, answered) = oneshot::channel();
        self.0.send(command(answer)).await.map_err(|_| Ending)?;
        answered.await.map_err(|_| Ending)
    }
}

impl<P: PrometheusControl> Shard<P> {
    /// Takes up what the store has: the config, or its last good copy, and the assignment; writes what Prometheus is to
    /// run with. Afterwards Prometheus may be started.
    ///
    /// # Errors
    /// When there is no config that works, or the store cannot be read or written.
    pub fn start(setup: ShardSetup, prometheus: P, told: Told) -> anyhow::Result<(Self, watch::Receiver<Arc<Routes>>)> {
        let version = setup.fixed_version.or(setup.version);
        let start = setup.source.load_or_last_good(version.unwrap_or(PrometheusVersion::V3_5))?;
        if let Some(error) = &start.error {
            tracing::error!(%error, "the config cannot be used; going on with the last one that worked");
        }
        let (mut saved, is_lost) = match assignment::load(&setup.assignment)
            .with_context(|| format!("read the assignment {}", setup.assignment.display()))?
        {
            Found::Saved(saved) => (saved, false),
            Found::Nothing => (Saved { idle_since: Some(clock::now()), ..Saved::default() }, false),
            Found::Damaged { error, moved_to } => {
                tracing::error!(
                    %error, moved_to = %moved_to.display(),
                    "the saved assignment is damaged; target files stay as they are, scrapes fail until the \
                     coordinator assigns anew"
                );
                (Saved::default(), true)
            }
        };
        if !setup.kind.removes_pools_without_a_trace() {
            // Of a time when another kind of Prometheus was next door.
            saved.leaving = Leaving::default();
        }
        let ids = JobIds::of(&start.config);
        let routes = Routes::new(
            &start.config,
            &saved.assignment,
            &ids,
            setup.token.expose(),
            version.unwrap_or(PrometheusVersion::V3_5),
            None,
        );
        let (routes, routed) = watch::channel(Arc::new(routes));
        let mut shard = Self {
            routes,
            config_error: start.error.map(|error| error.to_string()),
            unread: None,
            is_read: false,
            config: start.config,
            ids,
            generated: String::new(),
            rule_files: Fingerprint::default(),
            saved,
            is_lost,
            departed: Departed::default(),
            leaving: LeavingPools::default(),
            attribution: Arc::default(),
            version,
            answered: None,
            setup,
            prometheus,
            told,
        };
        shard.write_everything()?;
        shard.tell();
        tracing::info!(
            revision = shard.saved.assignment.revision.0,
            targets = shard.saved.assignment.targets.len(),
            config = %shard.config.fingerprint(),
            "generated config and target files written"
        );
        Ok((shard, routed))
    }

    /// Runs on a thread of its own, until it is told to end, or the last handle is gone.
    ///
    /// # Errors
    /// When there can be no thread.
    pub fn run(self, seen: watch::Receiver<PrometheusSeen>) -> std::io::Result<ShardHandle> {
        let (sender, commands) = mpsc::channel(16);
        // Its own runtime, too: it must neither stall others while it writes nor lose its clock before it has ended.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new()
            .name("shard".to_owned())
            .spawn(move || runtime.block_on(self.serve(commands, seen)))?;
        Ok(ShardHandle(sender))
    }

    async fn serve(mut self, mut commands: mpsc::Receiver<Command>, mut seen: watch::Receiver<PrometheusSeen>) {
        loop {
            let departed_end = self.departed.next_end();
            let look = self.saved.leaving.next_look(clock::now());
            tokio::select! {
                command = commands.recv() => match command {
                    None | Some(Command::End) => return,
                    // Whoever asked may have gone: what was asked for is done all the same.
                    Some(Command::Put(update, answer)) => drop(answer.send(self.put(update))),
                    Some(Command::Reload(answer)) => drop(answer.send(self.reload().await)),
                    Some(Command::TakeConfig(config, answer)) => drop(answer.send(self.take_config(&config).await)),
                    Some(Command::Attribute(config, learned)) => self.attribute(config, learned),
                    Some(Command::NotStarted(why)) => self.roll_back(&why).await,
                },
                Ok(()) = seen.changed() => {
                    let now = seen.borrow_and_update().clone();
                    self.follow(&now).await;
                }
                () = sleep_until(departed_end) => {
                    self.departed.forget_ended(clock::now());
                    self.tell_routes();
                }
                outcome = self.leaving.outcome() => self.heard(outcome),
                () = sleep_until(look) => {}
            }
            self.look_after_leaving();
        }
    }

    fn render_settings(&self) -> RenderSettings {
        RenderSettings {
            proxy_address: self.setup.proxy_address.clone(),
            token: self.setup.token.clone(),
            target_directory: self.setup.target_files.directory.clone(),
            directories: self.setup.directories,
            rules: self.setup.rules,
            kind: self.setup.kind,
            version: self.version,
        }
    }

    /// Where the jobs' target files lie.
    fn layout(&self) -> Layout {
        Layout::of(&self.ids, self.setup.directories)
    }

    fn assumed_version(&self) -> PrometheusVersion {
        self.version.unwrap_or(PrometheusVersion::V3_5)
    }

    /// Tells everybody what is in force now.
    fn tell(&mut self) {
        self.told.table.assign(&self.saved.assignment);
        self.attribution.dropped().for_each(|id| self.told.table.dropped(id));
        self.attribution.untold().for_each(|id| self.told.table.untold(id));
        self.tell_routes();
        let state = ShardState {
            assignment: Arc::new(self.saved.assignment.clone()),
            config: self.config.fingerprint(),
            config_from: self.setup.source.origin(),
            config_error: self.config_error.clone().or_else(|| self.unread.clone()),
            // Until the last has left, there is something to do.
            idle_since: self.saved.idle_since.filter(|_| self.saved.leaving.is_empty()),
            leaving: Arc::new(self.saved.leaving.clone()),
            pools: Arc::new(ScrapePools::new(&self.ids, &self.saved.leaving)),
            attribution: Arc::clone(&self.attribution),
        };
        self.told.metrics.in_force(&state);
        self.told.metrics.leaving(&self.saved.leaving);
        self.told.state.send_replace(state);
    }

    /// Takes what became of the targets that Prometheus relabels. What was learned under another config is worth
    /// nothing.
    fn attribute(&mut self, config: Fingerprint, learned: Attribution) {
        if config == self.config.fingerprint() {
            self.attribution = Arc::new(learned);
            self.tell();
        }
    }

    fn tell_routes(&self) {
        let previous = Arc::clone(&self.routes.borrow());
        self.routes.send_replace(Arc::new(self.new_routes(&previous)));
    }

    /// Until Prometheus has taken a new config, it scrapes by the one before: jobs that are to go, too.
    fn tell_routes_of_both_configs(&self) {
        let previous = Arc::clone(&self.routes.borrow());
        self.routes.send_replace(Arc::new(self.new_routes(&previous).beside(&previous)));
    }

    fn new_routes(&self, previous: &Routes) -> Routes {
        let assignment = self.departed.beside(&self.saved.assignment);
        let assignment = self.saved.leaving.beside(&assignment);
        let token = self.setup.token.expose();
        let assignment = self.attribution.applied(&assignment);
        let config = &self.config;
        Routes::new(config, &assignment, &self.ids, token, self.assumed_version(), Some(previous))
    }
}

async fn sleep_until(moment: Option<Timestamp>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.since(clock::now()).max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
