//! The discovery manager: runs every distinct SD block once, has what it finds relabeled for each job that uses it,
//! and publishes one snapshot of everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use narthex_common::{config::Config, job::JobName, semantics::PrometheusVersion};
use narthex_runtime::{clock, shutdown::Shutdown};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinHandle},
    time::Instant,
};

use super::{
    Discovered,
    by_shards::relabeled_by_shards,
    discoverer::{Discoverer, DiscoveryConfig, DiscoveryId, Mechanisms, Update, Updates},
    metrics::{KindMetrics, Metrics},
    relabel::{Relabeled, Relabeling},
    settings::DiscoverySettings,
    state::State,
};

/// How often a snapshot is published while every job has answered. Prometheus waits 5 s between updates of its
/// targets; a round of the coordinator takes about as long.
const PAUSE: Duration = Duration::from_secs(1);

/// How often a snapshot is published while jobs have yet to answer: they are waited for.
const PAUSE_AT_START: Duration = Duration::from_millis(50);

/// How many updates may wait to be taken. More make discoverers wait, which costs nothing.
const WAITING_UPDATES: usize = 64;

/// Keeps discovery going. Cheap to clone; discovery ends at shutdown.
#[derive(Clone, Debug)]
pub struct DiscoveryManager {
    requests: mpsc::Sender<Request>,
}

/// What the manager is asked to do with a config.
enum Request {
    /// To go over to it, and to say so.
    Apply(Arc<Config>, oneshot::Sender<()>),
    /// To say what it would find with it.
    Preview(Arc<Config>, oneshot::Sender<Discovered>),
}

/// Makes the discoverer of an SD block; a test has its own.
pub(super) type MakeDiscoverer = Box<dyn Fn(&DiscoveryConfig) -> Box<dyn Discoverer> + Send>;

impl DiscoveryManager {
    /// Starts discovering the jobs of a config that [`check`](super::check) has let through.
    ///
    /// The snapshot lists every job from the beginning; [`JobTargets::discovered`](super::JobTargets::discovered) says
    /// which have answered. It is published as soon as jobs answer for the first time, later at most once a second.
    #[must_use]
    pub fn start(
        config: Arc<Config>,
        settings: impl Into<DiscoverySettings>,
        registry: &mut Registry,
        shutdown: Shutdown,
    ) -> (Self, watch::Receiver<Arc<Discovered>>) {
        let settings = settings.into();
        let version = settings.version;
        let mechanisms = Mechanisms::new(settings, KindMetrics::register(registry));
        let make: MakeDiscoverer = Box::new(move |block| block.discoverer(&mechanisms));
        Self::start_with(config, version, Metrics::register(registry), make, shutdown)
    }

    /// Starts with discoverers and metrics of the caller's.
    pub(super) fn start_with(
        config: Arc<Config>,
        version: PrometheusVersion,
        metrics: Metrics,
        make: MakeDiscoverer,
        shutdown: Shutdown,
    ) -> (Self, watch::Receiver<Arc<Discovered>>) {
        let state = State::new(config, version);
        let (snapshots, snapshot) = watch::channel(Arc::new(state.snapshot()));
        let (requests, asked) = mpsc::channel(1);
        let (update_sender, updates) = mpsc::channel(WAITING_UPDATES);
        let mut running = Running {
            state,
            make,
            metrics,
            update_sender,
            tasks: BTreeMap::new(),
            snapshots,
            generation: 0,
            published_generation: None,
            has_heard: false,
            relabeling: None,
            next_relabeling: Instant::now(),
        };
        running.note_jobs(&BTreeSet::new());
        running.tell_who_relabels(&BTreeSet::new());
        running.adjust_tasks();
        tokio::spawn(running.run(asked, updates, shutdown));
        (Self { requests }, snapshot)
    }

    /// Goes over to a new config that [`check`](super::check) has let through. SD blocks that stay keep running and
    /// keep what they know. Returns once the config is taken over; the snapshot follows as soon as it is relabeled.
    pub async fn apply(&self, config: Arc<Config>) {
        let (taken, is_taken) = oneshot::channel();
        // A manager that has ended is one at shutdown: there is nothing left to apply a config to.
        if self.requests.send(Request::Apply(config, taken)).await.is_ok() {
            drop(is_taken.await);
        }
    }

    /// What would be known with another config that [`check`](super::check) has let through, and changes nothing. SD
    /// blocks that run are relabeled by its rules; a job with one that does not run is not
    /// [`discovered`](super::JobTargets::discovered). None at shutdown.
    pub async fn preview(&self, config: Arc<Config>) -> Option<Discovered> {
        let (found, is_found) = oneshot::channel();
        self.requests.send(Request::Preview(config, found)).await.ok()?;
        is_found.await.ok()
    }
}

/// The manager's task.
struct Running {
    state: State,
    make: MakeDiscoverer,
    metrics: Metrics,
    update_sender: mpsc::Sender<(DiscoveryId, Update)>,
    tasks: BTreeMap<DiscoveryId, DiscoveryTask>,
    snapshots: watch::Sender<Arc<Discovered>>,
    /// Counts the configs taken over.
    generation: u64,
    /// The config that the last snapshot was made with; none before the first.
    published_generation: Option<u64>,
    /// Whether a discovery has answered since, even if with what it had told before.
    has_heard: bool,
    relabeling: Option<InFlight>,
    /// When the next relabeling may start.
    next_relabeling: Instant,
}

/// A relabeling that runs on other threads.
struct InFlight {
    generation: u64,
    jobs: Vec<JobName>,
    task: JoinHandle<Vec<Relabeled>>,
}

/// A running discoverer, which ends when this is dropped.
struct DiscoveryTask(AbortHandle);

impl Drop for DiscoveryTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Running {
    async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        mut updates: mpsc::Receiver<(DiscoveryId, Update)>,
        shutdown: Shutdown,
    ) {
        let ended = shutdown.wait();
        tokio::pin!(ended);
        loop {
            let may_relabel = self.relabeling.is_none()
                && (self.has_heard || self.state.has_changed() || self.published_generation != Some(self.generation));
            tokio::select! {
                () = &mut ended => return,
                Some(request) = requests.recv() => match request {
                    Request::Apply(config, taken) => {
                        self.apply(config);
                        // Whoever asked may have stopped waiting.
                        taken.send(()).unwrap_or_default();
                    }
                    Request::Preview(config, found) => drop(tokio::spawn(preview(self.state.clone(), config, found))),
                },
                Some((from, update)) = updates.recv() => self.take(from, update),
                relabeled = finished(&mut self.relabeling) => self.publish(relabeled),
                () = tokio::time::sleep_until(self.next_relabeling), if may_relabel => self.relabel(),
            }
        }
    }

    fn apply(&mut self, config: Arc<Config>) {
        let known = self.state.snapshot();
        let relabeled_by_shards = names_of_relabeled_by_shards(&known.config);
        let before: BTreeSet<JobName> = known.jobs.into_keys().collect();
        let used_before = self.state.used_mechanisms();
        self.state.apply(config);
        self.tell_who_relabels(&relabeled_by_shards);
        self.generation += 1;
        self.next_relabeling = Instant::now();
        for gone in before.difference(&self.state.snapshot().jobs.into_keys().collect()) {
            self.metrics.forget(gone);
        }
        for (mechanism, job) in used_before.difference(&self.state.used_mechanisms()) {
            self.metrics.forget_mechanism(mechanism, job);
        }
        self.note_jobs(&before);
        self.adjust_tasks();
    }

    fn note_jobs(&self, before: &BTreeSet<JobName>) {
        for job in &self.state.snapshot().config.jobs {
            self.metrics.limited(&job.job_name, !before.contains(&job.job_name), job.target_limit);
        }
    }

    /// Says which jobs the shards relabel, those that they did before aside.
    fn tell_who_relabels(&self, before: &BTreeSet<String>) {
        let config = self.state.snapshot().config;
        for remark in relabeled_by_shards(&config) {
            if remark.job.as_ref().is_none_or(|job| !before.contains(job)) {
                tracing::warn!("{remark}");
            }
        }
        self.metrics.relabeled_by_shards(names_of_relabeled_by_shards(&config).len());
    }

    /// Ends the discoverers of blocks that are no longer there, and starts those of new ones.
    fn adjust_tasks(&mut self) {
        let wanted = self.state.discoveries();
        self.tasks.retain(|id, _| wanted.contains_key(id));
        for (id, discovery) in wanted {
            for job in &discovery.jobs {
                self.metrics.started(discovery.config.mechanism(), job);
            }
            self.tasks.entry(*id).or_insert_with(|| {
                let updates = Updates::new(*id, self.update_sender.clone());
                let task = tokio::spawn((self.make)(&discovery.config).run(updates));
                DiscoveryTask(task.abort_handle())
            });
        }
    }

    fn take(&mut self, from: DiscoveryId, update: Update) {
        self.metrics.received_update();
        self.has_heard |= update.failure.is_none();
        if let Some(discovery) = self.state.discoveries().get(&from)
            && update.failure.is_some()
        {
            for job in &discovery.jobs {
                self.metrics.refresh_failed(discovery.config.mechanism(), job);
            }
        }
        self.state.take(from, update);
    }

    fn relabel(&mut self) {
        self.has_heard = false;
        let changed = self.state.take_changed();
        let jobs = changed.iter().map(|relabeling| relabeling.job.clone()).collect();
        let task = tokio::spawn(relabel_all(changed));
        self.relabeling = Some(InFlight { generation: self.generation, jobs, task });
    }

    fn publish(&mut self, (generation, jobs, relabeled): (u64, Vec<JobName>, Vec<Relabeled>)) {
        if generation != self.generation {
            // Another config came meanwhile. What was relabeled by the old one is thrown away.
            self.state.mark_changed(jobs);
            return;
        }
        let mut differs = self.published_generation != Some(generation);
        for job in relabeled {
            self.metrics.relabeled(&job);
            if let Some(error) = job.targets.errors.first().filter(|_| job.new_errors > 0) {
                let label_sets = job.targets.errors.len();
                tracing::warn!(job = %job.job, label_sets, first = error, "label sets that make no target are not scraped");
            }
            differs |= self.state.accept(job);
        }
        let snapshot = self.state.snapshot();
        let everything_answered = snapshot.jobs.values().all(|job| job.discovered);
        self.next_relabeling = Instant::now() + if everything_answered { PAUSE } else { PAUSE_AT_START };
        self.published_generation = Some(generation);
        self.metrics.handed_on(snapshot.jobs.keys(), clock::now());
        if differs {
            self.snapshots.send_replace(Arc::new(snapshot));
        }
    }
}

/// Relabels a copy of what is known by another config's rules.
async fn preview(mut state: State, config: Arc<Config>, found: oneshot::Sender<Discovered>) {
    state.apply(config);
    for relabeled in relabel_all(state.take_changed()).await {
        state.accept(relabeled);
    }
    // Whoever asked may have stopped waiting.
    drop(found.send(state.snapshot()));
}

/// Waits for the relabeling that runs, or for ever when none does.
async fn finished(relabeling: &mut Option<InFlight>) -> (u64, Vec<JobName>, Vec<Relabeled>) {
    let Some(running) = relabeling else { return std::future::pending().await };
    let relabeled = (&mut running.task).await.unwrap_or_default();
    let done = (running.generation, std::mem::take(&mut running.jobs), relabeled);
    *relabeling = None;
    done
}

/// Relabels jobs on as many threads as there are cores, none of them one that serves requests.
pub(super) async fn relabel_all(jobs: Vec<Relabeling>) -> Vec<Relabeled> {
    let cores = available_parallelism().map_or(1, usize::from);
    let relabeled = stream::iter(jobs)
        .map(|job| {
            tokio::task::spawn_blocking(|| {
                let began = Instant::now();
                let relabeled = job.run();
                Relabeled { took: began.elapsed(), ..relabeled }
            })
        })
        .buffer_unordered(cores)
        .filter_map(|relabeled| async { relabeled.inspect_err(|error| tracing::error!(%error, "relabel a job")).ok() });
    relabeled.collect().await
}

fn names_of_relabeled_by_shards(config: &Config) -> BTreeSet<String> {
    relabeled_by_shards(config).filter_map(|remark| remark.job).collect()
}
