//! What the discovery manager promises, shown with discoverers that say what a test wants.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::{BoxFuture, FutureExt as _};
use narthex_common::{
    config::{Config, Files},
    semantics::PrometheusVersion,
};
use narthex_runtime::shutdown::{Shutdown, ShutdownTrigger};
use tokio::{sync::watch, time::Instant};

use super::{
    Discovered, DiscoveryManager, JobTargets,
    discoverer::{Discoverer, Update, Updates},
    group::TargetGroup,
    metrics::Metrics,
};

/// Discovery under test, with what its fake discoverers were given.
struct Fixture {
    manager: DiscoveryManager,
    snapshot: watch::Receiver<Arc<Discovered>>,
    fakes: Fakes,
    _shutdown: ShutdownTrigger,
}

#[derive(Clone, Default)]
struct Fakes {
    started: Arc<Mutex<Vec<(String, Updates)>>>,
    ended: Arc<AtomicUsize>,
}

struct Fake(Fakes, String);

/// Counts a discoverer whose future was dropped.
struct Ended(Arc<AtomicUsize>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Discoverer for Fake {
    fn run(self: Box<Self>, updates: Updates) -> BoxFuture<'static, ()> {
        let ended = Ended(Arc::clone(&self.0.ended));
        self.0.started.lock().unwrap().push((self.1, updates));
        async move {
            let _ended = ended;
            std::future::pending().await
        }
        .boxed()
    }
}

struct OneFile(&'static str);

impl Files for OneFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.to_owned())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

fn config(yaml: &'static str) -> Arc<Config> {
    Arc::new(Config::load(Path::new("/prometheus.yml"), &OneFile(yaml), PrometheusVersion::V3_5).unwrap())
}

impl Fixture {
    fn start(yaml: &'static str) -> Self {
        let fakes = Fakes::default();
        let (trigger, shutdown) = Shutdown::new();
        let made = fakes.clone();
        let (manager, snapshot) = DiscoveryManager::start_with(
            config(yaml),
            PrometheusVersion::V3_5,
            Metrics::default(),
            Box::new(move |block| Box::new(Fake(made.clone(), block.describe()))),
            shutdown,
        );
        Self { manager, snapshot, fakes, _shutdown: trigger }
    }

    /// Lets everything settle, and gives what is published then.
    async fn settled(&mut self) -> Arc<Discovered> {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Arc::clone(&self.snapshot.borrow_and_update())
    }

    /// What the block whose description ends so tells.
    async fn tell(&self, block: &str, update: Update) {
        let started = self.fakes.started.lock().unwrap().clone();
        let (_, updates) = started.iter().rev().find(|(name, _)| name.ends_with(block)).unwrap();
        updates.tell(update).await;
    }

    fn started(&self) -> usize {
        self.fakes.started.lock().unwrap().len()
    }

    fn ended(&self) -> usize {
        self.fakes.ended.load(Ordering::SeqCst)
    }
}

fn group(source: &str, addresses: &[&str]) -> TargetGroup {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    TargetGroup::of_addresses(source.into(), [("from", source)].into_iter().collect(), &addresses)
}

fn found(groups: impl IntoIterator<Item = TargetGroup>) -> Update {
    Update { groups: groups.into_iter().collect(), failure: None }
}

fn failed(why: &str) -> Update {
    Update { groups: Vec::new(), failure: Some(why.into()) }
}

fn job<'a>(discovered: &'a Discovered, name: &str) -> &'a Arc<JobTargets> {
    &discovered.jobs[&name.into()]
}

fn instances(job: &JobTargets) -> Vec<String> {
    let mut instances: Vec<String> =
        job.active.values().map(|active| active.target.labels.get("instance").unwrap().to_owned()).collect();
    instances.sort();
    instances
}

const TWO_JOBS: &str = "
scrape_configs:
- job_name: a
  http_sd_configs: [{url: 'http://sd/x'}]
- job_name: b
  scheme: https
  http_sd_configs: [{url: 'http://sd/x'}]
- job_name: c
  http_sd_configs: [{url: 'http://sd/y'}]
  static_configs: [{targets: ['static:1']}]
";

#[tokio::test(start_paused = true)]
async fn jobs_that_have_the_same_block_share_one_discovery() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    assert_eq!(discovery.started(), 2);
    discovery.tell("/x", found([group("0", &["h:1"])])).await;
    let now = discovery.settled().await;
    assert_eq!(instances(job(&now, "a")), ["h:1"]);
    assert_eq!(instances(job(&now, "b")), ["h:1"]);
    let urls: Vec<&str> =
        ["a", "b"].iter().map(|name| job(&now, name).active.values().next().unwrap().target.url.as_str()).collect();
    assert_eq!(urls, ["http://h:1/metrics", "https://h:1/metrics"]);
}

#[tokio::test(start_paused = true)]
async fn a_job_counts_as_discovered_once_all_its_discoveries_have_answered() {
    let mut discovery = Fixture::start(TWO_JOBS);
    let now = discovery.settled().await;
    assert_eq!(instances(job(&now, "c")), ["static:1"], "a static list answers at once");
    assert!(!job(&now, "c").discovered);
    discovery.tell("/y", failed("no route")).await;
    let now = discovery.settled().await;
    assert!(!job(&now, "c").discovered, "a failure is no answer");
    assert_eq!(job(&now, "c").failures, ["http_sd_configs http://sd/y: no route"]);
    discovery.tell("/y", found([])).await;
    let now = discovery.settled().await;
    assert!(job(&now, "c").discovered);
    assert_eq!(job(&now, "c").failures, [""; 0]);
    assert!(!job(&now, "a").discovered);
}

#[tokio::test(start_paused = true)]
async fn a_failing_discovery_keeps_what_it_found() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:1"])])).await;
    discovery.settled().await;
    discovery.tell("/x", failed("gone")).await;
    let now = discovery.settled().await;
    assert_eq!(instances(job(&now, "a")), ["h:1"]);
    assert!(job(&now, "a").discovered);
    assert_eq!(job(&now, "a").failures.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_group_replaces_the_one_of_its_source_and_an_empty_one_removes_it() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:1"]), group("1", &["h:2"])])).await;
    let before = discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:3"])])).await;
    let now = discovery.settled().await;
    assert_eq!(instances(job(&now, "a")), ["h:2", "h:3"]);
    let untouched = |snapshot: &Discovered| {
        let active = &job(snapshot, "a").active;
        Arc::clone(&active.values().find(|active| active.target.labels.get("from") == Some("1")).unwrap().target)
    };
    assert!(Arc::ptr_eq(&untouched(&before), &untouched(&now)), "only the changed group is relabeled");
    discovery.tell("/x", found([TargetGroup::gone("1".into())])).await;
    assert_eq!(instances(job(&*discovery.settled().await, "a")), ["h:3"]);
}

#[tokio::test(start_paused = true)]
async fn the_order_of_groups_does_not_matter() {
    let mut snapshots = Vec::new();
    for reversed in [false, true] {
        let mut discovery = Fixture::start(
            "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://sd/x'}], relabel_configs: [\
             {source_labels: [__address__], regex: 'drop.*', action: drop}, {regex: from, action: labeldrop}]}]",
        );
        discovery.settled().await;
        let mut groups = vec![
            group("0", &["h:1", "drop:1", "bad/address"]),
            group("1", &["h:1", "h:2", "drop:0"]),
            group("2", &["h:1"]),
        ];
        if reversed {
            groups.reverse();
        }
        for group in groups {
            discovery.tell("/x", found([group])).await;
        }
        snapshots.push(discovery.settled().await.jobs.clone());
    }
    assert_eq!(snapshots[0], snapshots[1]);
    let job = &snapshots[0][&"a".into()];
    assert_eq!((job.active.len(), job.dropped.len(), job.errors.len()), (2, 2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_new_config_keeps_what_its_unchanged_blocks_know() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:1"])])).await;
    discovery.settled().await;
    discovery
        .manager
        .apply(config(
            "
scrape_configs:
- job_name: b
  metrics_path: /other
  http_sd_configs: [{url: 'http://sd/x'}]
- job_name: d
  http_sd_configs: [{url: 'http://sd/z'}]
",
        ))
        .await;
    let now = discovery.settled().await;
    assert_eq!(now.config.jobs.len(), 2);
    assert_eq!(now.jobs.keys().map(|name| name.as_str()).collect::<Vec<_>>(), ["b", "d"]);
    assert_eq!(job(&now, "b").active.values().next().unwrap().target.url, "http://h:1/other");
    assert!(job(&now, "b").discovered, "it need not answer again");
    assert!(!job(&now, "d").discovered);
    assert_eq!((discovery.started(), discovery.ended()), (3, 1), "x goes on, y has ended, z is new");
}

#[tokio::test(start_paused = true)]
async fn a_new_config_is_published_even_if_it_changes_no_target() {
    let mut discovery = Fixture::start("scrape_configs: [{job_name: a, static_configs: [{targets: ['h:1']}]}]");
    let before = discovery.settled().await;
    let same = "# new\nscrape_configs: [{job_name: a, static_configs: [{targets: ['h:1']}], sample_limit: 7}]";
    discovery.manager.apply(config(same)).await;
    let now = discovery.settled().await;
    assert_eq!(now.config.jobs[0].sample_limit, 7);
    assert!(Arc::ptr_eq(job(&before, "a"), job(&now, "a")));
}

#[tokio::test(start_paused = true)]
async fn first_answers_are_published_at_once_and_later_ones_once_a_second() {
    let mut discovery = Fixture::start("scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://sd/x'}]}]");
    discovery.settled().await;
    let asked = Instant::now();
    discovery.tell("/x", found([group("0", &["h:0"])])).await;
    discovery.snapshot.changed().await.unwrap();
    assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());

    let mut published = 0;
    for port in 1..=40 {
        discovery.tell("/x", found([group("0", &[&format!("h:{port}")])])).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        published += usize::from(discovery.snapshot.has_changed().unwrap());
        discovery.snapshot.mark_unchanged();
    }
    assert!((3..=5).contains(&published), "published {published} times in 4 s");
    assert_eq!(instances(job(&*discovery.settled().await, "a")), ["h:40"], "the last is not lost");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_when_nothing_changes() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:1"])])).await;
    discovery.settled().await;
    discovery.tell("/x", found([group("0", &["h:1"])])).await;
    discovery.tell("/x", found([TargetGroup::gone("9".into())])).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!discovery.snapshot.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_preview_relabels_what_is_known_by_another_configs_rules_and_changes_nothing() {
    let mut discovery = Fixture::start(TWO_JOBS);
    discovery.settled().await;
    discovery.tell("/x", found([group("f", &["1:1", "2:1"])])).await;
    discovery.tell("/y", found([])).await;
    let before = discovery.settled().await;
    let other = config(
        "
scrape_configs:
- job_name: a
  http_sd_configs: [{url: 'http://sd/x'}]
  relabel_configs: [{source_labels: [__address__], regex: '1:1', action: drop}]
- job_name: new
  static_configs: [{targets: ['3:1']}]
  http_sd_configs: [{url: 'http://sd/x'}]
- job_name: unknown
  http_sd_configs: [{url: 'http://sd/z'}]
",
    );
    let previewed = discovery.manager.preview(other).await.unwrap();
    assert_eq!(previewed.jobs.len(), 3);
    assert_eq!((instances(job(&previewed, "a")), job(&previewed, "a").dropped.len()), (vec!["2:1".to_owned()], 1));
    assert_eq!(instances(job(&previewed, "new")), ["1:1", "2:1", "3:1"]);
    assert!(job(&previewed, "new").discovered && !job(&previewed, "unknown").discovered);

    assert!(Arc::ptr_eq(&before, &discovery.settled().await), "nothing is published");
    assert_eq!((discovery.started(), discovery.ended()), (2, 0), "nothing is started or ended");
    discovery.tell("/y", Update { groups: vec![group("f", &["4:1"])], failure: None }).await;
    let after = discovery.settled().await;
    assert_eq!(instances(job(&after, "c")), ["4:1", "static:1"], "the running config goes on");
}

#[tokio::test(start_paused = true)]
async fn a_job_has_too_many_targets_while_the_limit_that_it_has_now_is_below_them() {
    let mut discovery = Fixture::start(
        "scrape_configs: [{job_name: a, target_limit: 2, static_configs: [{targets: [a, a, b]}], \
         file_sd_configs: [{files: [x.yml]}]}]",
    );
    let exceeded = |found: &Discovered| found.exceeded_target_limits().get(&"a".into()).map(ToString::to_string);
    assert_eq!(exceeded(&*discovery.settled().await), None, "two that are equal are one");
    discovery.tell("file_sd_configs", Update { groups: vec![group("0", &["c"])], failure: None }).await;
    let words = "target_limit exceeded (number of targets: 3, limit: 2)".to_owned();
    assert_eq!(exceeded(&*discovery.settled().await), Some(words));
    let more = "scrape_configs: [{job_name: a, target_limit: 3, static_configs: [{targets: [a, a, b]}], \
                file_sd_configs: [{files: [x.yml]}]}]";
    discovery.manager.apply(config(more)).await;
    assert_eq!(exceeded(&*discovery.settled().await), None);
}

#[tokio::test(start_paused = true)]
async fn of_dropped_targets_as_many_are_kept_as_the_config_says_and_all_are_counted() {
    const YAML: &str = "scrape_configs: [{job_name: a, keep_dropped_targets: 3, file_sd_configs: [{files: [x.yml]}], \
                        relabel_configs: [{source_labels: [__address__], regex: 'down.*', action: drop}]}]";
    let mut discovery = Fixture::start(YAML);
    let dropped = |found: &Discovered| {
        let job = job(found, "a");
        let names: Vec<_> = job.dropped.iter().map(|labels| labels.get("__address__").unwrap().to_owned()).collect();
        (names.join(" "), job.dropped_count, job.active.len())
    };
    let groups = [group("0", &["down0", "up"]), group("1", &["down1", "down2"]), group("2", &["down3", "down4"])];
    discovery.tell("file_sd_configs", found(groups.clone())).await;
    assert_eq!(dropped(&*discovery.settled().await), ("down0 down1 down2".into(), 5, 1));
    discovery.tell("file_sd_configs", found([group("0", &["up"])])).await;
    assert_eq!(dropped(&*discovery.settled().await), ("down1 down2 down3".into(), 4, 1), "there is room for another");
    discovery.tell("file_sd_configs", found([group("0", &["down5", "down6", "down7", "up"])])).await;
    assert_eq!(dropped(&*discovery.settled().await), ("down5 down6 down7".into(), 7, 1), "and less again");
    discovery.manager.apply(config(String::leak(YAML.replace('3', "0")))).await;
    assert_eq!(dropped(&*discovery.settled().await).1, 7);
    assert_eq!(job(&*discovery.settled().await, "a").dropped.len(), 7, "0 is all");
}

#[tokio::test(start_paused = true)]
async fn discovery_that_fails_for_ten_minutes_or_flaps_loses_nothing_for_a_moment() {
    let mut discovery = Fixture::start("scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://sd/x'}]}]");
    discovery.tell("/x", found([group("0", &["1", "2"]), group("1", &["3"])])).await;
    assert_eq!(instances(job(&*discovery.settled().await, "a")).len(), 3);
    for minute in 0..10 {
        // What came before a failure may be told with it; it is not all there is.
        discovery.tell("/x", Update { groups: vec![group("0", &["1", "2"])], ..failed("connection refused") }).await;
        tokio::time::sleep(Duration::from_secs(55)).await;
        let found = discovery.settled().await;
        let job = job(&found, "a");
        assert_eq!((job.discovered, instances(job).len(), job.failures.len()), (true, 3, 1), "minute {minute}");
    }
    for second in 0..60 {
        let again = found([group("0", &["1", "2"]), group("1", &["3"])]);
        discovery.tell("/x", if second % 2 == 0 { again } else { failed("timeout") }).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(instances(job(&discovery.snapshot.borrow(), "a")).len(), 3, "second {second}");
    }
    discovery.tell("/x", found([group("0", &[]), group("1", &[])])).await;
    let job = Arc::clone(job(&*discovery.settled().await, "a"));
    assert_eq!((job.discovered, job.active.len(), job.failures.len()), (true, 0, 0), "an answer that there is nothing");
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_only_ever_failed_has_not_answered() {
    let mut discovery = Fixture::start("scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://sd/x'}]}]");
    for _ in 0..20 {
        discovery.tell("/x", failed("connection refused")).await;
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert!(!job(&*discovery.settled().await, "a").discovered);
    }
}
