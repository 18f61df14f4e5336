//! The shard, with real files and a Prometheus that is none.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use narthex_common::assignment::AssignedTarget;

mod leaving;

use super::{departed::Departed, *};
use crate::render::layout::DEFAULT_DIRECTORIES;
use crate::{
    prometheus::{ReloadFailed, fake::FakePrometheus},
    store::create_directory,
    testing::target,
};

const CONFIG: &str = "scrape_configs:\n- {job_name: node, static_configs: [{targets: ['a:1', 'b:1']}]}\n\
                      - {job_name: other, static_configs: [{targets: ['c:1']}]}\n";

/// A shard, and the directory it lives in.
struct Fixture {
    root: tempfile::TempDir,
    prometheus: FakePrometheus,
    kind: PrometheusKind,
}

struct Running {
    shard: Shard<FakePrometheus>,
    state: watch::Receiver<ShardState>,
    table: Arc<TargetTable>,
}

impl Fixture {
    fn new() -> Self {
        // The proxy's clients are made for every job.
        narthex_runtime::http_client::install_tls_provider();
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("user.yml"), CONFIG).unwrap();
        for directory in ["targets", "staging"] {
            create_directory(&root.path().join(directory)).unwrap();
        }
        Self { root, prometheus: FakePrometheus::default(), kind: PrometheusKind::Server }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn try_start(&self) -> anyhow::Result<Running> {
        self.try_start_with(Some(self.path("user.yml")))
    }

    fn try_start_with(&self, file: Option<PathBuf>) -> anyhow::Result<Running> {
        let setup = ShardSetup {
            source: ConfigSource { file, last_good: self.path("last-good-config.json") },
            output: self.path("prometheus.yml"),
            assignment: self.path("assignment.json"),
            target_files: TargetFiles { directory: self.path("targets"), staging: self.path("staging") },
            directories: DEFAULT_DIRECTORIES,
            proxy_address: "127.0.0.1:8008".to_owned(),
            token: Secret::new("t"),
            rules: Rules::Drop,
            kind: self.kind,
            fixed_version: None,
            version: Some(PrometheusVersion::V2_42),
        };
        let (sender, state) = watch::channel(ShardState::default());
        let table = Arc::new(TargetTable::default());
        let told = Told { table: Arc::clone(&table), state: sender, metrics: ShardMetrics::default() };
        let (shard, _routes) = Shard::start(setup, self.prometheus.clone(), told)?;
        Ok(Running { shard, state, table })
    }

    fn start(&self) -> Running {
        self.try_start().unwrap()
    }

    fn generated(&self) -> String {
        fs::read_to_string(self.path("prometheus.yml")).unwrap()
    }

    /// All target files, one after the other.
    fn target_files(&self) -> String {
        let mut texts = Vec::new();
        for directory in fs::read_dir(self.path("targets")).unwrap() {
            for file in fs::read_dir(directory.unwrap().path()).unwrap() {
                texts.push(fs::read_to_string(file.unwrap().path()).unwrap());
            }
        }
        texts.concat()
    }
}

impl Running {
    fn put(&mut self, base: Option<u64>, revision: u64, put: Vec<AssignedTarget>) -> Result<Revision, PutRefused> {
        let config = self.state.borrow().config;
        let update = AssignmentUpdate {
            base: base.map(Revision),
            revision: Revision(revision),
            config,
            put,
            remove: Vec::new(),
            ..AssignmentUpdate::default()
        };
        self.shard.put(update)
    }
}

fn a() -> AssignedTarget {
    target("node", "http://a:1/metrics", &[])
}

fn b() -> AssignedTarget {
    target("node", "http://b:1/metrics", &[])
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn a_new_shard_is_idle_and_has_everything_prometheus_needs_to_start() {
    let fixture = Fixture::new();
    let running = fixture.start();
    assert!(fixture.generated().contains("job_name: node"));
    assert!(!fixture.target_files().contains("__address__"));
    assert!(running.state.borrow().idle_since.is_some());
    assert_eq!(running.state.borrow().assignment.revision, Revision(0));
}

#[tokio::test]
async fn an_assignment_reaches_prometheus_without_a_reload_and_survives_a_restart() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    running.put(Some(1), 2, vec![b()]).unwrap();
    assert!(fixture.target_files().contains("a:1") && fixture.target_files().contains("b:1"));
    assert_eq!(fixture.prometheus.get().reloaded, 0);
    assert_eq!(running.state.borrow().idle_since, None);
    drop(running);

    let before = (fixture.generated(), fixture.target_files());
    let again = fixture.start();
    assert_eq!(again.state.borrow().assignment.revision, Revision(2));
    assert_eq!(again.table.changed_since(None).0.len(), 2);
    assert_eq!((fixture.generated(), fixture.target_files()), before);
}

#[tokio::test]
async fn a_shard_stays_idle_since_the_same_moment_over_a_restart() {
    let fixture = Fixture::new();
    let since = fixture.start().state.borrow().idle_since;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(fixture.start().state.borrow().idle_since, since);
}

#[tokio::test]
async fn an_assignment_for_another_config_or_from_another_revision_is_refused() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let update = AssignmentUpdate {
        base: Some(Revision(0)),
        revision: Revision(1),
        config: Fingerprint(7),
        put: vec![a()],
        remove: Vec::new(),
        ..AssignmentUpdate::default()
    };
    assert!(matches!(running.shard.put(update), Err(PutRefused::OtherConfig { .. })));
    assert!(matches!(running.put(Some(3), 4, vec![a()]), Err(PutRefused::Update(_))));
    let unknown = target("no such job", "http://a:1/", &[]);
    assert!(matches!(running.put(Some(0), 1, vec![unknown]), Err(PutRefused::UnknownJob { .. })));
    assert!(!fixture.target_files().contains("__address__"));
    assert_eq!(running.state.borrow().assignment.revision, Revision(0));
}

#[tokio::test]
async fn an_assignment_that_cannot_be_kept_leaves_the_old_one_in_force() {
    if is_root() {
        eprintln!("note: nothing is unwritable to root");
    }
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    let before = fixture.target_files();
    // In the way of the renames, also for root: a directory where the file is to be.
    fs::remove_file(fixture.path("assignment.json")).unwrap();
    create_directory(&fixture.path("assignment.json")).unwrap();
    let refused = running.put(Some(1), 2, vec![b()]).unwrap_err().to_string();
    assert!(refused.starts_with("keep the assignment: "), "{refused}");
    assert!(refused.contains("assignment.json"), "{refused}");
    assert_eq!(fixture.target_files(), before);
    assert_eq!(running.state.borrow().assignment.revision, Revision(1));
    assert_eq!(fs::read_dir(fixture.path("staging")).unwrap().count(), 0);

    fs::remove_dir(fixture.path("assignment.json")).unwrap();
    running.put(Some(1), 2, vec![b()]).unwrap();
    assert!(fixture.target_files().contains("b:1"));
}

#[tokio::test]
async fn a_target_file_that_cannot_be_put_in_place_takes_the_assignment_back() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![]).unwrap();
    let id = running.shard.ids.id(&"node".into()).unwrap().to_owned();
    let file = fixture.path(&format!("targets/{id}/{id}.json"));
    fs::remove_file(&file).unwrap();
    create_directory(&file).unwrap();
    let refused = running.put(Some(1), 2, vec![a()]).unwrap_err().to_string();
    assert!(refused.contains("put in place"), "{refused}");
    assert_eq!(running.state.borrow().assignment.revision, Revision(1));
    fs::remove_dir(&file).unwrap();
    drop(running);
    assert_eq!(fixture.start().state.borrow().assignment.revision, Revision(1));
}

#[tokio::test]
async fn target_files_that_cannot_be_written_leave_the_old_assignment_in_force() {
    if is_root() {
        eprintln!("note: nothing is unwritable to root; skipped");
        return;
    }
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    set_mode(&fixture.path("staging"), 0o500);
    let refused = running.put(Some(1), 2, vec![b()]).unwrap_err();
    set_mode(&fixture.path("staging"), 0o700);
    assert!(matches!(refused, PutRefused::NotKept(_)));
    drop(running);
    assert_eq!(fixture.start().state.borrow().assignment.revision, Revision(1));
}

#[tokio::test]
async fn a_damaged_assignment_leaves_target_files_as_they_are_until_there_is_a_new_one() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 5, vec![a()]).unwrap();
    drop(running);
    let before = fixture.target_files();
    fs::write(fixture.path("assignment.json"), "{").unwrap();

    let mut running = fixture.start();
    assert_eq!(fixture.target_files(), before);
    assert_eq!(running.state.borrow().assignment.revision, Revision(0));
    assert_eq!(running.state.borrow().idle_since, None);
    running.put(Some(0), 1, vec![]).unwrap();
    assert!(!fixture.target_files().contains("__address__"));
}

#[tokio::test]
async fn a_broken_config_leaves_the_one_before_in_force_and_says_where_it_is_broken() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let (generated, config) = (fixture.generated(), running.state.borrow().config);
    fs::write(fixture.path("user.yml"), "scrape_configs:\n- {job_name: node, scrape_interval: nonsense}\n").unwrap();
    let error = running.shard.reload().await.unwrap_err();
    assert!(error.contains("user.yml:2"), "{error}");
    assert_eq!(running.state.borrow().config_error.as_ref(), Some(&error));
    assert_eq!((fixture.generated(), running.state.borrow().config), (generated.clone(), config));
    drop(running);

    // A restart goes on with it, too.
    let again = fixture.start();
    assert_eq!((fixture.generated(), again.state.borrow().config), (generated, config));
    assert!(again.state.borrow().config_error.as_ref().unwrap().contains("user.yml:2"));
}

#[tokio::test]
async fn a_broken_config_at_the_first_start_is_the_end() {
    let fixture = Fixture::new();
    fs::write(fixture.path("user.yml"), "scrape_configs: [{}]\n").unwrap();
    let error = fixture.try_start().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("user.yml:1"), "{error}");
}

#[tokio::test]
async fn a_config_that_prometheus_refuses_is_taken_back() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    let before = (fixture.generated(), fixture.target_files());
    fs::write(fixture.path("user.yml"), "scrape_configs: [{job_name: renamed}]\n").unwrap();
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Refused("not with me".to_owned()))]);
    let error = running.shard.reload().await.unwrap_err();
    assert!(error.ends_with("not with me"), "{error}");
    assert_eq!(fixture.generated(), before.0);
    assert!(fixture.target_files().contains("a:1"));
    // Refused once, told once more to be as before.
    assert_eq!(fixture.prometheus.get().reloaded, 2);
    running.put(Some(1), 2, vec![b()]).unwrap();
}

#[tokio::test]
async fn a_changed_config_is_reloaded_and_files_of_jobs_that_are_gone_go() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let config = running.state.borrow().config;
    fs::write(fixture.path("user.yml"), "scrape_configs: [{job_name: node, honor_labels: true}]\n").unwrap();
    running.shard.reload().await.unwrap();
    assert!(fixture.generated().contains("honor_labels: true"));
    assert_eq!(fixture.prometheus.get().reloaded, 1);
    assert_ne!(running.state.borrow().config, config);
    assert_eq!(fs::read_dir(fixture.path("targets")).unwrap().count(), 1);
}

#[tokio::test]
async fn what_only_the_coordinator_minds_needs_no_reload_of_prometheus() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let config = running.state.borrow().config;
    fs::write(fixture.path("user.yml"), CONFIG.replace("'b:1'", "'z:1'")).unwrap();
    running.shard.reload().await.unwrap();
    assert_eq!(fixture.prometheus.get().reloaded, 0);
    assert_ne!(running.state.borrow().config, config);
}

#[tokio::test]
async fn a_reload_for_a_changed_rule_file_alone_reaches_prometheus_once() {
    let fixture = Fixture::new();
    fs::write(fixture.path("user.yml"), format!("rule_files: ['*.rules']\n{CONFIG}")).unwrap();
    let mut running = fixture.start();
    fs::write(fixture.path("a.rules"), "groups: []").unwrap();
    running.shard.reload().await.unwrap();
    assert_eq!(fixture.prometheus.get().reloaded, 0, "rules are dropped");

    running.shard.setup.rules = Rules::Keep;
    for (rules, reloaded) in [("groups: []", 1), ("groups: []", 1), ("groups: [{name: g}]", 2)] {
        fs::write(fixture.path("a.rules"), rules).unwrap();
        running.shard.reload().await.unwrap();
        assert_eq!(fixture.prometheus.get().reloaded, reloaded);
    }
}

#[tokio::test]
async fn a_config_that_prometheus_has_refused_is_not_in_force_until_it_has_taken_it() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let refusal = || Err(ReloadFailed::Refused("no".to_owned()));
    fixture.prometheus.set(|p| p.reloads = vec![refusal(), refusal(), refusal()]);
    running.shard.follow(&seen(Timestamp(2))).await;
    running.shard.reload().await.unwrap_err();
    assert!(running.state.borrow().config_error.as_ref().unwrap().ends_with(": no"));
    running.shard.reload().await.unwrap();
    assert_eq!(running.state.borrow().config_error, None);
}

fn seen(config_loaded: Timestamp) -> PrometheusSeen {
    PrometheusSeen { config_loaded: Some(config_loaded), ..PrometheusSeen::default() }
}

fn given(text: &str) -> ConfigSources {
    ConfigSources::of_text("/etc/prometheus/prometheus.yml", text)
}

#[tokio::test]
async fn a_shard_without_a_file_runs_what_the_coordinator_gives_it_also_after_a_restart() {
    let fixture = Fixture::new();
    let mut running = fixture.try_start_with(None).unwrap();
    assert_eq!(running.state.borrow().config_from, ConfigFrom::Coordinator);
    assert!(!fixture.generated().contains("job_name"));
    let config = running.shard.take_config(&given(CONFIG)).await.unwrap();
    assert_eq!((running.state.borrow().config, fixture.prometheus.get().reloaded), (config, 1));
    running.put(Some(0), 1, vec![a()]).unwrap();
    let before = (fixture.generated(), fixture.target_files());
    drop(running);

    let mut again = fixture.try_start_with(None).unwrap();
    assert_eq!((again.state.borrow().config, (fixture.generated(), fixture.target_files())), (config, before));
    again.shard.reload().await.unwrap();
    assert_eq!(again.state.borrow().config, config, "there is nothing newer to read");
}

#[tokio::test]
async fn a_config_of_the_coordinator_that_cannot_be_used_leaves_the_one_before_in_force() {
    let fixture = Fixture::new();
    let mut running = fixture.try_start_with(None).unwrap();
    let config = running.shard.take_config(&given(CONFIG)).await.unwrap();
    let generated = fixture.generated();
    let bad = running.shard.take_config(&given("scrape_configs: [{}]")).await.unwrap_err();
    assert!(matches!(bad, ConfigNotTaken::Bad(_)) && bad.to_string().contains("prometheus.yml:1"), "{bad}");
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Refused("not with me".to_owned()))]);
    let refused = running.shard.take_config(&given("scrape_configs: [{job_name: new}]")).await.unwrap_err();
    assert!(refused.to_string().ends_with("not with me"), "{refused}");
    assert_eq!((running.state.borrow().config, fixture.generated()), (config, generated));

    let mut with_file = fixture.start();
    let refused = with_file.shard.take_config(&given(CONFIG)).await.unwrap_err();
    assert!(matches!(refused, ConfigNotTaken::HasFile(_)), "{refused}");
}

#[tokio::test]
async fn a_config_that_prometheus_does_not_start_with_gives_way_to_the_last_one_it_has_read() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.shard.follow(&seen(clock::now())).await;
    let (generated, config) = (fixture.generated(), running.state.borrow().config);
    drop(running);
    fs::write(fixture.path("user.yml"), "scrape_configs: [{job_name: node, honor_labels: true}]\n").unwrap();

    let mut running = fixture.start();
    assert!(fixture.generated().contains("honor_labels"));
    let unreachable = || Err(ReloadFailed::Unreachable("connection refused".to_owned()));
    fixture.prometheus.set(|p| p.reloads = vec![unreachable()]);
    running.shard.roll_back("field honor_labels not found").await;
    assert_eq!((fixture.generated(), running.state.borrow().config), (generated, config));
    assert!(running.state.borrow().config_error.as_ref().unwrap().ends_with("field honor_labels not found"));

    // It starts with the old one; the error of the new one stays until there is another.
    running.shard.follow(&seen(clock::now())).await;
    assert!(running.state.borrow().config_error.is_some());
    running.shard.roll_back("a word that came late").await;
    assert_eq!(running.state.borrow().config, config);
    fs::write(fixture.path("user.yml"), CONFIG).unwrap();
    running.shard.reload().await.unwrap();
    assert_eq!(running.state.borrow().config_error, None);
}

#[tokio::test]
async fn an_only_config_that_prometheus_refused_is_no_error_once_it_has_read_it() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.shard.roll_back("no such rule file").await;
    assert!(running.state.borrow().config_error.as_ref().unwrap().ends_with("no such rule file"));
    running.shard.follow(&seen(clock::now())).await;
    assert_eq!(running.state.borrow().config_error, None);
}

#[tokio::test]
async fn an_assignment_that_cannot_be_read_is_named() {
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("assignment.json")).unwrap();
    let failed = format!("{:#}", fixture.try_start().err().unwrap());
    assert!(failed.contains("assignment.json: "), "{failed}");
}

#[tokio::test]
async fn a_prometheus_that_was_away_when_the_config_changed_is_told_when_it_is_seen_with_the_old_one() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.shard.follow(&seen(clock::now())).await;
    assert_eq!(fixture.prometheus.get().reloaded, 0);
    running.shard.follow(&seen(Timestamp(1))).await;
    assert_eq!(fixture.prometheus.get().reloaded, 1);

    // What was seen before it read the config does not count.
    running.shard.follow(&seen(Timestamp(1))).await;
    assert_eq!(fixture.prometheus.get().reloaded, 1);
}

#[tokio::test]
async fn a_prometheus_that_refuses_the_config_is_not_told_again_and_again() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Refused("no".to_owned()))]);
    running.shard.follow(&seen(Timestamp(2))).await;
    assert!(running.state.borrow().config_error.as_ref().unwrap().ends_with(": no"));
    running.shard.follow(&seen(Timestamp(2))).await;
    assert_eq!(fixture.prometheus.get().reloaded, 1);
}

#[tokio::test]
async fn a_target_that_was_taken_away_is_proxied_until_prometheus_has_let_go() {
    let mut departed = Departed::default();
    let before = Assignment { targets: [(a().target.id, a())].into(), ..Assignment::default() };
    departed.note(&before, &Assignment::default(), Timestamp(1000));
    assert_eq!(departed.beside(&Assignment::default()).targets.len(), 1);
    let end = departed.next_end().unwrap();
    departed.forget_ended(end);
    assert_eq!(departed.beside(&Assignment::default()).targets.len(), 0);
    // One that comes back is no more departed.
    departed.note(&before, &Assignment::default(), Timestamp(1000));
    departed.note(&Assignment::default(), &before, Timestamp(2000));
    assert_eq!(departed.next_end(), None);
}

#[tokio::test]
async fn a_prometheus_of_another_version_gets_the_config_that_is_right_for_it() {
    let fixture = Fixture::new();
    let jobs: String = (0..40).map(|i| format!("- {{job_name: job-{i}}}\n")).collect();
    fs::write(fixture.path("user.yml"), format!("scrape_configs:\n{jobs}")).unwrap();
    let mut running = fixture.start();
    assert!(!fixture.generated().contains("keep_dropped_targets"));
    let mut seen = PrometheusSeen::default();
    seen.report.version = Some(PrometheusVersion::V3_5);
    running.shard.follow(&seen).await;
    assert!(fixture.generated().contains("keep_dropped_targets"));
    assert_eq!(fixture.prometheus.get().reloaded, 1);
    running.shard.follow(&seen).await;
    assert_eq!(fixture.prometheus.get().reloaded, 1);
}
