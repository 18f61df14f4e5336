//! Shards on this machine, with scripts in the place of sidecar and Prometheus.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot set its scene must fail")]

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use narthex_common::{
    config::http_client::{Auth, Source},
    load::Series,
    series_limit::SeriesLimits,
    shard::ReplicaId,
};
use narthex_coordinator::provider::{LocalProvider, LocalSettings, Provider as _, Replica};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/provider_local");

/// How long anything may take that takes a few milliseconds, when the machine is busy.
const PATIENCE: Duration = Duration::from_secs(20);

struct Machine {
    dir: TempDir,
    settings: LocalSettings,
}

impl Machine {
    fn new() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        // Tests that run at the same time, in this process and in others, have ranges of their own.
        let from = 22_000 + u16::try_from(std::process::id() % 40).unwrap() * 240 + nth * 12;
        let dir = tempfile::tempdir().unwrap();
        let settings = LocalSettings {
            data_dir: dir.path().join("data"),
            ports: from..=from + 11,
            config_file: dir.path().join("prometheus.yml"),
            prometheus: Path::new(SCRIPTS).join("prometheus.sh"),
            sidecar: Some(Path::new(SCRIPTS).join("sidecar.sh")),
            prometheus_args: vec![],
            limits: SeriesLimits::default(),
            log_level: "info".into(),
            require_token: false,
        };
        Self { dir, settings }
    }

    fn coordinator(&self) -> LocalProvider {
        LocalProvider::open(self.settings.clone()).unwrap()
    }

    fn error(&self) -> String {
        format!("{:#}", LocalProvider::open(self.settings.clone()).unwrap_err())
    }

    fn shard(&self, ordinal: u32) -> PathBuf {
        self.settings.data_dir.join(format!("shard-{ordinal}"))
    }

    fn sidecar(&self, ordinal: u32) -> i32 {
        pid(&self.shard(ordinal).join("sidecar.pid"))
    }

    fn prometheus(&self, ordinal: u32) -> i32 {
        pid(&self.shard(ordinal).join("prometheus.pid"))
    }

    /// Waits until a shard's sidecar has started for the nth time.
    async fn started(&self, ordinal: u32, times: usize) {
        let file = self.shard(ordinal).join("starts");
        until("the sidecar has started", || fs::read_to_string(&file).is_ok_and(|s| s.lines().count() >= times)).await;
    }
}

/// Shards outlive their coordinator; here they end with the test.
impl Drop for Machine {
    fn drop(&mut self) {
        let needle = self.dir.path().to_string_lossy().into_owned();
        let is_mine = |pid: &i32| {
            fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&needle))
        };
        // One that is killed may just have started another.
        for _ in 0..10 {
            let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
            let pids: Vec<i32> =
                processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_mine).collect();
            if pids.is_empty() {
                break;
            }
            for pid in pids.into_iter().filter_map(Pid::from_raw) {
                // Gone already is just as well.
                kill_process(pid, Signal::KILL).ok();
            }
        }
    }
}

fn pid(file: &Path) -> i32 {
    fs::read_to_string(file).unwrap().trim().parse().unwrap()
}

fn runs(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"));
}

async fn look(coordinator: &LocalProvider) -> Replica {
    coordinator.replicas().await.unwrap().remove(0)
}

/// Looks until the replica is as it should be, as rounds do.
async fn look_until(coordinator: &LocalProvider, holds: impl Fn(&Replica) -> bool) -> Replica {
    let wait = async {
        loop {
            let replica = look(coordinator).await;
            if holds(&replica) {
                return replica;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the replica is not as it should be")
}

async fn scale(coordinator: &LocalProvider, shards: u32) {
    coordinator.scale(&ReplicaId("local".into()), shards).await.unwrap();
}

fn problem(replica: &Replica, ordinal: usize) -> &str {
    replica.shards[ordinal].problem.as_deref().unwrap_or_default()
}

#[tokio::test]
async fn shards_are_started_with_ports_of_their_own() {
    let machine = Machine::new();
    let coordinator = machine.coordinator();
    assert_eq!((look(&coordinator).await.wanted_shards, look(&coordinator).await.shards.len()), (0, 0));
    scale(&coordinator, 2).await;
    let replica = look(&coordinator).await;
    assert_eq!((replica.wanted_shards, replica.scalable, replica.shards.len()), (2, true, 2));
    assert_eq!(replica.shards[1].id.0, "shard-1");
    let port = |n: usize| replica.shards[n].url.port().unwrap();
    assert!(port(1) >= port(0) + 3 && machine.settings.ports.contains(&port(1)));

    let line = fs::read_to_string(format!("/proc/{}/cmdline", machine.sidecar(1))).unwrap();
    // How many directories a shard may watch follows from this machine's inotify instances.
    let is_of_this_machine = |argument: &&str| argument.starts_with("--target-directories=");
    let (of_this_machine, arguments): (Vec<&str>, Vec<&str>) =
        line.trim_end_matches('\0').split('\0').skip(2).partition(is_of_this_machine);
    assert_eq!(of_this_machine.len(), 1);
    let path = machine.dir.path().display();
    let expected = [
        format!("--config.file={path}/prometheus.yml"),
        format!("--store.path={path}/data/shard-1"),
        format!("--web.api-addr=127.0.0.1:{}", port(1)),
        format!("--web.proxy-addr=127.0.0.1:{}", port(1) + 1),
        format!("--prometheus.url=http://127.0.0.1:{}", port(1) + 2),
        format!("--prometheus.exec={SCRIPTS}/prometheus.sh"),
        "--log.level=info".to_owned(),
    ];
    assert_eq!(arguments, expected);
}

#[tokio::test]
async fn shards_outlive_the_coordinator_and_the_next_one_takes_them_over() {
    let machine = Machine::new();
    let coordinator = machine.coordinator();
    scale(&coordinator, 2).await;
    let before = (machine.sidecar(0), machine.sidecar(1), look(&coordinator).await);
    // A coordinator that is killed between starting a sidecar and writing down which process it is.
    fs::remove_file(machine.shard(1).join("sidecar.pid")).unwrap();
    drop(coordinator);

    let next = machine.coordinator();
    let replica = look(&next).await;
    assert_eq!(replica, before.2);
    machine.started(1, 1).await;
    assert!(runs(before.0) && runs(before.1));
    assert_eq!(fs::read_to_string(machine.shard(1).join("starts")).unwrap().lines().count(), 1);
    assert!(!machine.shard(1).join("sidecar.pid").exists(), "nothing was started");
}

#[tokio::test]
async fn a_killed_sidecar_comes_back_beside_its_surviving_prometheus() {
    let machine = Machine::new();
    let coordinator = machine.coordinator();
    scale(&coordinator, 1).await;
    machine.started(0, 1).await;
    let (sidecar, prometheus) = (machine.sidecar(0), machine.prometheus(0));
    kill(sidecar);
    let replica = look_until(&coordinator, |r| r.shards[0].problem.is_none() && machine.sidecar(0) != sidecar).await;
    machine.started(0, 2).await;
    assert_eq!(replica.shards.len(), 1);
    assert!(runs(prometheus) && machine.prometheus(0) == prometheus);
}

#[tokio::test]
async fn a_scale_out_that_was_cut_short_is_finished_by_the_next_coordinator() {
    let machine = Machine::new();
    scale(&machine.coordinator(), 1).await;
    fs::write(machine.settings.data_dir.join("replica.json"), r#"{"wanted_shards": 3}"#).unwrap();
    fs::create_dir(machine.shard(1)).unwrap();
    let replica = look(&machine.coordinator()).await;
    assert_eq!((replica.wanted_shards, replica.shards.len()), (3, 3));
    machine.started(2, 1).await;
}

#[tokio::test]
async fn a_shard_that_leaves_ends_and_does_not_come_back_with_its_ordinal() {
    let machine = Machine::new();
    let coordinator = machine.coordinator();
    scale(&coordinator, 2).await;
    machine.started(1, 1).await;
    let (kept, sidecar, prometheus) = (machine.sidecar(0), machine.sidecar(1), machine.prometheus(1));
    fs::write(machine.shard(1).join("assignment.json"), "old targets").unwrap();
    scale(&coordinator, 1).await;
    assert_eq!(look(&coordinator).await.shards.len(), 1, "it is gone before it has ended");
    // A coordinator that is killed meanwhile, and asked for the shard again.
    drop(coordinator);
    let coordinator = machine.coordinator();
    scale(&coordinator, 2).await;
    look_until(&coordinator, |replica| replica.shards.len() == 2).await;
    machine.started(1, 1).await;
    assert!(!runs(sidecar) && !runs(prometheus) && runs(kept));
    assert!(!machine.shard(1).join("assignment.json").exists());
    let aside = fs::read_dir(&machine.settings.data_dir).unwrap().map(|entry| entry.unwrap().path());
    let aside: Vec<PathBuf> = aside.filter(|path| path.display().to_string().contains("shard-1.removed-")).collect();
    assert_eq!(fs::read_to_string(aside[0].join("assignment.json")).unwrap(), "old targets");
}

#[tokio::test]
async fn a_busy_port_is_named_and_the_others_go_on() {
    let machine = Machine::new();
    scale(&machine.coordinator(), 2).await;
    machine.started(1, 1).await;
    let (other, sidecar) = (machine.sidecar(0), machine.sidecar(1));
    let coordinator = machine.coordinator();
    let port = look(&coordinator).await.shards[1].url.port().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    kill(sidecar);
    let replica = look_until(&coordinator, |replica| replica.shards[1].problem.is_some()).await;
    let expected = format!("port {port}, which it has for its sidecar's API, is taken by another process (pid ");
    assert!(problem(&replica, 1).starts_with(&expected), "{}", problem(&replica, 1));
    assert!(problem(&replica, 1).contains("shard-1/shard.json"));
    assert!(replica.shards[0].problem.is_none() && runs(other));

    drop(taken);
    look_until(&coordinator, |replica| replica.shards[1].problem.is_none()).await;
    machine.started(1, 2).await;
}

#[tokio::test]
async fn a_sidecar_that_ends_at_once_is_quoted() {
    let mut machine = Machine::new();
    machine.settings.prometheus_args = vec!["--break".into()];
    let coordinator = machine.coordinator();
    scale(&coordinator, 1).await;
    let replica = look_until(&coordinator, |replica| replica.shards[0].problem.is_some()).await;
    let problem = problem(&replica, 0);
    assert!(problem.starts_with("its sidecar ended with exit status: 3; "), "{problem}");
    assert!(problem.ends_with("the last words of a sidecar"), "{problem}");
}

#[tokio::test]
async fn shards_with_other_flags_are_started_anew() {
    let mut machine = Machine::new();
    scale(&machine.coordinator(), 1).await;
    machine.started(0, 1).await;
    let before = machine.sidecar(0);
    machine.settings.log_level = "debug".into();
    look(&machine.coordinator()).await;
    assert!(runs(before) && machine.sidecar(0) == before, "what it logs is no reason");

    machine.settings.prometheus_args = vec!["--storage.tsdb.retention.time=6h".into()];
    machine.settings.limits = SeriesLimits::new(Series(5_000), &["a=b=7".parse().unwrap()]).unwrap();
    let coordinator = machine.coordinator();
    look_until(&coordinator, |replica| replica.shards[0].problem.is_none()).await;
    assert!(!runs(before));
    let line = fs::read_to_string(format!("/proc/{}/cmdline", machine.sidecar(0))).unwrap();
    for flag in [
        "--prometheus.arg=--storage.tsdb.retention.time=6h",
        "--target.max-series=5000",
        "--target.max-series-of-job=a=b=7",
    ] {
        assert!(line.contains(flag), "{line}");
    }
}

#[tokio::test]
async fn when_ports_run_out_there_are_as_many_shards_as_have_some() {
    let mut machine = Machine::new();
    let from = *machine.settings.ports.start();
    machine.settings.ports = from..=from + 6;
    let coordinator = machine.coordinator();
    let error = coordinator.scale(&ReplicaId("local".into()), 3).await.unwrap_err();
    let expected = format!(
        "create shard-2: no three free ports in a row are left in {from}-{} (flag --shard.local.ports): shards have 6 \
         of them, others 0",
        from + 6
    );
    assert_eq!(format!("{error:#}"), expected);
    let replica = look(&coordinator).await;
    assert_eq!((replica.wanted_shards, replica.shards.len()), (2, 2));
}

#[tokio::test]
async fn ending_all_ends_every_process_and_starts_none() {
    let machine = Machine::new();
    let coordinator = machine.coordinator();
    scale(&coordinator, 2).await;
    machine.started(0, 1).await;
    machine.started(1, 1).await;
    let processes = [machine.sidecar(0), machine.prometheus(0), machine.prometheus(1)];
    kill(machine.sidecar(1));
    coordinator.shutdown_all().await.unwrap();
    assert_eq!(processes.map(runs), [false; 3], "also the Prometheus of a sidecar that was killed");
    look(&coordinator).await;
    assert!(!runs(machine.sidecar(0)));
    drop(coordinator);
    let replica = look(&machine.coordinator()).await;
    assert_eq!(replica.shards.len(), 2, "they are back with the next coordinator");
}

#[test]
fn a_second_coordinator_is_told_who_has_the_data_directory() {
    let machine = Machine::new();
    let _first = machine.coordinator();
    let expected = format!("another coordinator (pid {}) has the data directory", std::process::id());
    let error = machine.error();
    assert!(error.starts_with(&expected) && error.contains("data/lock"), "{error}");
}

#[test]
fn what_makes_shards_impossible_is_said_at_the_start() {
    let mut machine = Machine::new();
    fs::write(&machine.settings.config_file, "").unwrap();
    let good = machine.settings.clone();
    machine.settings.data_dir = good.config_file.join("data");
    let error = machine.error();
    assert!(error.starts_with("create the data directory ") && error.contains("--shard.local.data-dir"), "{error}");

    machine.settings = LocalSettings { prometheus: "no-such-prometheus".into(), ..good.clone() };
    assert!(machine.error().contains("--shard.local.prometheus"), "{}", machine.error());
    machine.settings = LocalSettings { sidecar: Some("/no/such/sidecar".into()), ..good.clone() };
    assert!(machine.error().contains("/no/such/sidecar (flag --shard.local.sidecar)"), "{}", machine.error());

    machine.settings = good;
    fs::create_dir_all(machine.shard(0)).unwrap();
    fs::write(machine.shard(0).join("shard.json"), "{").unwrap();
    assert!(machine.error().contains("shard-0/shard.json is damaged: "), "{}", machine.error());
}

#[tokio::test]
async fn sidecars_that_are_to_ask_for_a_token_get_one_that_only_this_user_can_read() {
    let mut machine = Machine::new();
    let without = machine.coordinator();
    assert_eq!(without.client_settings().auth, None);
    scale(&without, 1).await;
    machine.started(0, 1).await;
    drop(without);

    machine.settings.require_token = true;
    let with = machine.coordinator();
    let file = machine.settings.data_dir.join("api-token");
    let token = fs::read_to_string(&file).unwrap();
    assert_eq!((token.trim().len(), fs::metadata(&file).unwrap().permissions().mode() & 0o777), (32, 0o600));
    let Some(Auth::Header { kind, credentials: Some(Source::File(sent)) }) = with.client_settings().auth else {
        panic!("{:?}", with.client_settings().auth)
    };
    assert_eq!((kind.as_str(), &sent), ("Bearer", &file));
    // The one that runs does not ask for it: it is started anew.
    look_until(&with, |_| fs::read_to_string(machine.shard(0).join("starts")).unwrap().lines().count() == 2).await;
    let command = fs::read(format!("/proc/{}/cmdline", machine.sidecar(0))).unwrap();
    let command = String::from_utf8(command).unwrap();
    assert!(command.contains(&format!("--web.token-file={}", file.display())), "{command}");
    assert!(!command.contains(token.trim()));
    drop(with);
    drop(machine.coordinator());
    assert_eq!(fs::read_to_string(&file).unwrap(), token, "a token is kept as long as the shards");
}
