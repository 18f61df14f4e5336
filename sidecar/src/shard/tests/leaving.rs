//! Leaving pools, on disk and as Prometheus is told of them.

use narthex_common::assignment::TargetState;

use super::*;

impl Fixture {
    /// The target files of leaving pools.
    fn leaving_files(&self) -> Vec<String> {
        let directories = fs::read_dir(self.path("targets")).unwrap().map(|entry| entry.unwrap().path());
        let leaving = directories.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("leaving-"));
        leaving.map(|path| fs::read_to_string(path.join("targets.json")).unwrap()).collect()
    }

    /// The target file of job `node`.
    fn own_file(&self, running: &Running) -> String {
        let id = running.shard.ids.id(&"node".into()).unwrap();
        fs::read_to_string(self.path(&format!("targets/{id}/{id}.json"))).unwrap()
    }

    fn reloaded(&self) -> usize {
        self.prometheus.get().reloaded
    }
}

impl Running {
    fn begin_to_move(&mut self, revision: u64, target: &AssignedTarget) {
        let leaving = AssignedTarget { state: TargetState::InTransfer, ..target.clone() };
        self.put(Some(revision - 1), revision, vec![leaving]).unwrap();
        self.shard.look_after_leaving();
    }

    fn hand_over(&mut self, revision: u64, target: &AssignedTarget) {
        let update = AssignmentUpdate {
            base: Some(Revision(revision - 1)),
            revision: Revision(revision),
            config: self.state.borrow().config,
            put: Vec::new(),
            remove: vec![target.target.id],
            handed_over: vec![target.target.id],
            ..AssignmentUpdate::default()
        };
        self.shard.put(update).unwrap();
        self.shard.look_after_leaving();
    }

    /// Lets Prometheus answer, and time pass.
    async fn go_on(&mut self) {
        for _ in 0..4 {
            self.shard.hear_out().await;
            self.shard.look_after_leaving();
            tokio::time::sleep(Duration::from_millis(120)).await;
        }
        self.shard.hear_out().await;
        self.shard.look_after_leaving();
    }

    fn scrape_through(&self, target: &AssignedTarget, generation: u32) {
        for _ in 0..3 {
            self.table.pool_scrapes().record(target.target.id, Some(crate::leaving::GenerationId(generation)));
        }
    }

    fn left(&self) -> (u64, u64) {
        self.shard.told.metrics.left()
    }
}

#[tokio::test]
async fn a_target_leaves_with_two_reloads_that_no_assignment_waits_for() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a(), b()]).unwrap();
    running.begin_to_move(2, &a());
    assert!(fixture.generated().contains("node~leaving-1"));
    assert_eq!(fixture.reloaded(), 0, "the assignment is in force before Prometheus is told");
    running.go_on().await;
    assert_eq!((fixture.reloaded(), fixture.leaving_files().len()), (1, 1));
    assert!(fixture.own_file(&running).contains("a:1"));

    running.hand_over(3, &a());
    running.go_on().await;
    assert!(fixture.leaving_files()[0].contains("a:1") && !fixture.own_file(&running).contains("a:1"));
    assert_eq!(running.state.borrow().assignment.targets.len(), 1);
    running.scrape_through(&a(), 1);
    running.go_on().await;
    assert_eq!((fixture.reloaded(), fixture.leaving_files().len()), (2, 0));
    assert!(!fixture.generated().contains("leaving"));
    assert_eq!((running.left(), running.shard.saved.leaving.is_empty()), ((1, 0), true));
}

#[tokio::test]
async fn pools_are_not_removed_under_running_loops() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    running.hand_over(2, &a());
    running.go_on().await;
    fixture.prometheus.set(|p| p.active_targets = 1);
    running.scrape_through(&a(), 1);
    running.go_on().await;
    assert!(!fixture.leaving_files()[0].contains("a:1"), "they are to end");
    assert_eq!(fixture.reloaded(), 1, "and have not");
    assert_eq!(running.state.borrow().idle_since, None, "there is something left to do");
    fixture.prometheus.set(|p| p.active_targets = 0);
    running.go_on().await;
    assert_eq!((fixture.reloaded(), running.left()), (2, (1, 0)));
    assert!(running.state.borrow().idle_since.is_some());
}

#[tokio::test]
async fn a_restart_goes_on_where_it_was() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a(), b()]).unwrap();
    running.begin_to_move(2, &a());
    running.go_on().await;
    running.hand_over(3, &a());
    running.go_on().await;
    drop(running);

    let before = (fixture.generated(), fixture.leaving_files(), fixture.target_files().len());
    let mut running = fixture.start();
    assert_eq!((fixture.generated(), fixture.leaving_files(), fixture.target_files().len()), before);
    running.scrape_through(&a(), 1);
    running.go_on().await;
    assert_eq!((running.left(), fixture.leaving_files().len()), ((1, 0), 0));
}

#[tokio::test]
async fn where_prometheus_does_not_reload_a_target_leaves_plainly_and_the_config_is_as_it_was() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    let before = fixture.generated();
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Refused("not enabled".to_owned()))]);
    running.begin_to_move(2, &a());
    running.go_on().await;
    assert_eq!((fixture.reloaded(), fixture.generated()), (1, before));
    assert!(fixture.own_file(&running).contains("a:1"));
    running.hand_over(3, &a());
    running.go_on().await;
    assert!(!fixture.own_file(&running).contains("a:1"));
    assert_eq!((running.left(), fixture.reloaded()), ((0, 1), 1));
    let seen = PrometheusSeen { config_loaded: Some(Timestamp(2)), ..PrometheusSeen::default() };
    running.shard.follow(&seen).await;
    assert_eq!(fixture.reloaded(), 1, "it runs what it is to run");
    assert_eq!(running.state.borrow().config_error, None);
}

#[tokio::test]
async fn a_prometheus_that_was_away_finds_the_pools_and_targets_enter_them_then() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a()]).unwrap();
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Unreachable("away".to_owned()))]);
    running.hand_over(2, &a());
    running.go_on().await;
    assert!(fixture.own_file(&running).contains("a:1"));
    let seen = PrometheusSeen { config_loaded: Some(clock::now()), ..PrometheusSeen::default() };
    running.shard.follow(&seen).await;
    running.go_on().await;
    assert!(fixture.leaving_files()[0].contains("a:1") && !fixture.own_file(&running).contains("a:1"));
}

#[tokio::test]
async fn a_new_config_keeps_the_pools_of_its_jobs_and_one_that_is_refused_changes_nothing() {
    let fixture = Fixture::new();
    let mut running = fixture.start();
    let other = target("other", "http://c:1/metrics", &[]);
    running.put(Some(0), 1, vec![a(), other.clone()]).unwrap();
    let leaving = [a(), other].map(|target| AssignedTarget { state: TargetState::InTransfer, ..target });
    running.put(Some(1), 2, leaving.into()).unwrap();
    running.go_on().await;
    let (generated, files) = (fixture.generated(), fixture.leaving_files());
    assert!(generated.contains("node~leaving-1") && generated.contains("other~leaving-1"));

    fs::write(fixture.path("user.yml"), "scrape_configs: [{job_name: other}]\n").unwrap();
    fixture.prometheus.set(|p| p.reloads = vec![Err(ReloadFailed::Refused("not with me".to_owned()))]);
    running.shard.reload().await.unwrap_err();
    assert_eq!((fixture.generated(), fixture.leaving_files()), (generated, files));
    running.shard.reload().await.unwrap();
    let generated = fixture.generated();
    assert!(!generated.contains("node") && generated.contains("other~leaving-1"), "{generated}");
}

#[tokio::test]
async fn beside_a_vmagent_whose_pools_are_not_removed_without_a_trace_none_is_opened() {
    let mut fixture = Fixture::new();
    let mut running = fixture.start();
    running.put(Some(0), 1, vec![a(), b()]).unwrap();
    running.begin_to_move(2, &b());
    running.go_on().await;
    assert_eq!(fixture.leaving_files().len(), 1);
    drop(running);

    // What was on its way when a Prometheus was there stays where it is.
    fixture.kind = PrometheusKind::Vmagent;
    let mut running = fixture.start();
    let reloaded = fixture.reloaded();
    assert!(!fixture.generated().contains("~leaving-"));
    running.begin_to_move(3, &a());
    running.hand_over(4, &a());
    running.go_on().await;
    assert!(!fixture.own_file(&running).contains("a:1") && fixture.own_file(&running).contains("b:1"));
    assert!(!fixture.generated().contains("~leaving-"));
    assert_eq!((fixture.reloaded(), running.left()), (reloaded, (0, 1)));
}
