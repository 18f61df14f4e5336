//! What the probe manager promises, shown with a prober that does what a test wants.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use narthex_common::{
    config::{Config, Files},
    labels::Labels,
    load::{Load, Series},
    semantics::PrometheusVersion,
    target::{Target, TargetId},
    target_limit::TargetLimitExceeded,
};
use narthex_planner::world::{KnownLoad, TargetMap};
use narthex_runtime::shutdown::{Shutdown, ShutdownTrigger};
use tokio::{sync::watch, time::Instant};

use super::{Measured, ProbeManager, Probed, Prober, metrics::Metrics};
use crate::discover::{ActiveTarget, Discovered, JobTargets};

/// Says for every target what it was told, a second after it was asked.
#[derive(Default)]
struct FakeProber {
    answers: Mutex<BTreeMap<TargetId, Result<Load, String>>>,
    asked: Mutex<Vec<(Instant, TargetId)>>,
    /// How many probes run, and the most that ever ran at once.
    running: Arc<Mutex<(usize, usize)>>,
}

impl Prober for FakeProber {
    fn probe(&self, _: &Arc<Config>, target: Arc<Target>) -> BoxFuture<'static, Result<Load, String>> {
        self.asked.lock().unwrap().push((Instant::now(), target.id));
        let answer = self.answers.lock().unwrap()[&target.id].clone();
        let running = Arc::clone(&self.running);
        async move {
            {
                let mut running = running.lock().unwrap();
                running.0 += 1;
                running.1 = running.1.max(running.0);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            running.lock().unwrap().0 -= 1;
            answer
        }
        .boxed()
    }
}

struct Fixture {
    prober: Arc<FakeProber>,
    discovered: watch::Sender<Arc<Discovered>>,
    known: watch::Sender<Measured>,
    probed: watch::Receiver<Arc<Probed>>,
    _shutdown: ShutdownTrigger,
}

const ONE: Load = Load { exposed: Series(10), kept: Series(7) };

impl Fixture {
    fn start(targets: &[Arc<Target>], concurrency: usize) -> Self {
        let prober = Arc::new(FakeProber::default());
        let (discovered, discovered_receiver) = watch::channel(snapshot(targets));
        let (known, known_receiver) = watch::channel(Some(TargetMap::new()));
        let (trigger, shutdown) = Shutdown::new();
        for target in targets {
            prober.answers.lock().unwrap().insert(target.id, Ok(ONE));
        }
        let probed = ProbeManager::start_with(
            Arc::clone(&prober) as _,
            (discovered_receiver, known_receiver),
            concurrency,
            Metrics::default(),
            shutdown,
        );
        Self { prober, discovered, known, probed, _shutdown: trigger }
    }

    fn answer(&self, target: &Target, answer: Result<Load, String>) {
        self.prober.answers.lock().unwrap().insert(target.id, answer);
    }

    /// When a target was asked, counted from the first time.
    fn asked(&self, target: &Target) -> Vec<Duration> {
        let asked = self.prober.asked.lock().unwrap();
        let times: Vec<Instant> = asked.iter().filter(|(_, id)| *id == target.id).map(|(at, _)| *at).collect();
        times.iter().map(|at| *at - times[0]).collect()
    }

    async fn after(&self, seconds: u64) -> Arc<Probed> {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Arc::clone(&self.probed.borrow())
    }
}

struct NoJobs;

impl Files for NoJobs {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok("scrape_configs: []".into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

fn snapshot(targets: &[Arc<Target>]) -> Arc<Discovered> {
    let config = Config::load(Path::new("/prometheus.yml"), &NoJobs, PrometheusVersion::V3_5).unwrap();
    let active = targets
        .iter()
        .map(|target| (target.id, ActiveTarget { target: Arc::clone(target), discovered_labels: Labels::default() }));
    let job = JobTargets { discovered: true, active: active.collect(), ..JobTargets::default() };
    Arc::new(Discovered { config: Arc::new(config), jobs: BTreeMap::from([("job".into(), Arc::new(job))]) })
}

fn targets(count: usize) -> Vec<Arc<Target>> {
    let target = |i| Arc::new(Target::new("job".into(), Labels::default(), format!("http://h{i}/metrics")));
    (0..count).map(target).collect()
}

#[tokio::test(start_paused = true)]
async fn no_target_of_a_job_with_too_many_is_asked() {
    let target = targets(1).remove(0);
    let mut fixture = Fixture::start(&[], 1);
    let mut discovered = Discovered::clone(&snapshot(&[Arc::clone(&target)]));
    let mut found = JobTargets::clone(&discovered.jobs[&target.job]);
    found.exceeded_target_limit = TargetLimitExceeded::of(8, 7);
    discovered.jobs.insert(target.job.clone(), Arc::new(found));
    fixture.discovered.send_replace(Arc::new(discovered));
    let probed = fixture.probed.wait_for(|probed| !probed.is_empty()).await.unwrap().clone();
    assert!(matches!(probed[&target.id], KnownLoad::ProbeFailed { .. }), "so that it is assigned: {probed:?}");
    assert!(fixture.prober.asked.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_target_whose_load_nobody_knows_is_probed_once() {
    let targets = targets(3);
    let probes = Fixture::start(&targets, 10);
    let probed = probes.after(600).await;
    assert_eq!(*probed, targets.iter().map(|target| (target.id, KnownLoad::Measured(ONE))).collect());
    assert_eq!(probes.prober.asked.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_more_probes_run_at_once_than_allowed() {
    let probes = Fixture::start(&targets(25), 4);
    let probed = probes.after(5).await;
    assert!((16..=20).contains(&probed.len()), "{} after 5 s", probed.len());
    let probed = probes.after(5).await;
    assert_eq!(probed.len(), 25);
    assert_eq!(probes.prober.running.lock().unwrap().1, 4);
}

#[tokio::test(start_paused = true)]
async fn a_failed_target_is_tried_again_slower_and_slower_until_it_answers() {
    let targets = targets(1);
    let probes = Fixture::start(&targets, 1);
    probes.answer(&targets[0], Err("connection refused".into()));
    let probed = probes.after(2).await;
    let KnownLoad::ProbeFailed { since } = probed[&targets[0].id] else { panic!("{probed:?}") };
    let probed = probes.after(3000).await;
    assert_eq!(probed[&targets[0].id], KnownLoad::ProbeFailed { since }, "since the first failure");
    let asked = probes.asked(&targets[0]);
    let pauses: Vec<f64> = asked.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64() - 1.0).collect();
    for (pause, longest) in pauses.iter().zip([5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]) {
        assert!((longest / 2.0 - 0.1..=longest + 0.1).contains(pause), "{pause} s, at most {longest}: {pauses:?}");
    }
    probes.answer(&targets[0], Ok(ONE));
    let probed = probes.after(302).await;
    assert_eq!(probed[&targets[0].id], KnownLoad::Measured(ONE));
}

#[tokio::test(start_paused = true)]
async fn what_a_shard_has_measured_is_not_probed() {
    let targets = targets(2);
    let probes = Fixture::start(&[], 1);
    for target in &targets {
        probes.answer(target, Ok(ONE));
    }
    probes.known.send_replace(Some(TargetMap::unit(targets[0].id, 1)));
    probes.discovered.send_replace(snapshot(&targets));
    let probed = probes.after(5).await;
    assert_eq!(probed.keys().copied().collect::<Vec<_>>(), [targets[1].id]);
    assert!(probes.asked(&targets[0]).is_empty());
    probes.known.send_replace(Some(TargetMap::new()));
    let probed = probes.after(5).await;
    assert_eq!(probed.len(), 2, "the shard is lost: now nobody knows");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_probed_before_the_shards_were_asked() {
    let targets = targets(2);
    let probes = Fixture::start(&targets, 1);
    probes.known.send_replace(None);
    assert_eq!(*probes.after(60).await, Probed::new());
    probes.known.send_replace(Some(TargetMap::unit(targets[0].id, 1)));
    assert_eq!(probes.after(5).await.keys().copied().collect::<Vec<_>>(), [targets[1].id]);
    assert!(probes.asked(&targets[0]).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_target_that_vanished_is_dropped() {
    let targets = targets(2);
    let probes = Fixture::start(&targets, 2);
    assert_eq!(probes.after(5).await.len(), 2);
    probes.discovered.send_replace(snapshot(&targets[..1]));
    assert_eq!(probes.after(5).await.keys().copied().collect::<Vec<_>>(), [targets[0].id]);
}

#[tokio::test(start_paused = true)]
async fn a_new_config_lets_failed_targets_be_tried_at_once() {
    let targets = targets(1);
    let probes = Fixture::start(&targets, 1);
    probes.answer(&targets[0], Err("401 Unauthorized".into()));
    probes.after(1000).await;
    probes.answer(&targets[0], Ok(ONE));
    probes.discovered.send_replace(snapshot(&targets));
    let probed = probes.after(2).await;
    assert_eq!(probed[&targets[0].id], KnownLoad::Measured(ONE));
}

#[tokio::test(start_paused = true)]
async fn snapshots_come_a_few_times_a_second_at_most() {
    let probes = Fixture::start(&targets(1000), 100);
    let mut receiver = probes.probed.clone();
    let mut published = 0;
    while tokio::time::timeout(Duration::from_secs(5), receiver.changed()).await.is_ok() {
        published += 1;
    }
    assert_eq!(receiver.borrow().len(), 1000);
    assert!((1..=40).contains(&published), "{published} snapshots in 10 s");
}
