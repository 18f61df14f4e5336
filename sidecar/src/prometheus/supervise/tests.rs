//! Supervision, tried on shell scripts that behave as Prometheus might.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use narthex_runtime::shutdown::ShutdownTrigger;
use tokio::task::JoinHandle;

use super::*;

struct Running {
    trigger: ShutdownTrigger,
    task: JoinHandle<()>,
    starts: Counter,
    refused: mpsc::Receiver<String>,
}

/// A script that stays with the command line it was started with, as a shell that `exec`s something would not.
fn script(directory: &Path, body: &str) -> PathBuf {
    let path = directory.join("prometheus.sh");
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn run(store: &Store, program: &Path, args: &[&str]) -> Running {
    let launch = Launch {
        program: program.to_owned(),
        address: PrometheusAddress::parse("http://127.0.0.1:9").unwrap(),
        config: store.generated_config(),
        kind: PrometheusKind::of_args(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
    };
    let starts = Counter::default();
    let (refusals, refused) = mpsc::channel(1);
    let mut supervisor = Supervisor::new(launch, store, starts.clone(), refusals);
    // A script's command line begins with its interpreter.
    supervisor.command.insert(0, "/bin/sh".to_owned());
    let (trigger, shutdown) = Shutdown::new();
    Running { trigger, task: tokio::spawn(supervisor.run(shutdown)), starts, refused }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never: {what}");
}

const WAITS_FOR_ITS_END: &str = "trap 'echo bye; exit 0' TERM\nwhile :; do sleep 0.05; done";

#[tokio::test]
async fn a_prometheus_that_ends_is_started_again_and_its_last_words_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap().free().unwrap();
    let program =
        script(directory.path(), "echo 'level=info msg=starting'; echo 'level=error err=\"port taken\"'; exit 1");
    let running = run(&store, &program, &[]);
    until("a second start", || running.starts.get() >= 2).await;
    let log = Log(store.prometheus_log());
    assert_eq!(log.last_error_since(0).unwrap(), "level=error err=\"port taken\"");
    running.trigger.trigger();
    running.task.await.unwrap();
}

#[tokio::test]
async fn prometheus_ends_in_order_with_the_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap().free().unwrap();
    let running = run(&store, &script(directory.path(), &format!("echo up\n{WAITS_FOR_ITS_END}")), &[]);
    let log = store.prometheus_log();
    until("it runs", || fs::read_to_string(&log).is_ok_and(|log| log.contains("up"))).await;
    running.trigger.trigger();
    running.task.await.unwrap();
    assert!(fs::read_to_string(&log).unwrap().contains("bye"));
    assert!(!store.prometheus_pid().exists());
}

#[tokio::test]
async fn a_prometheus_that_survived_its_sidecar_is_taken_over_unless_its_flags_changed() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap().free().unwrap();
    let program = script(directory.path(), WAITS_FOR_ITS_END);
    let first = run(&store, &program, &["--a"]);
    until("it is known", || store.prometheus_pid().exists()).await;
    let pid = fs::read_to_string(store.prometheus_pid()).unwrap();
    // As if the sidecar had been killed: nobody ends Prometheus.
    first.task.abort();

    let second = run(&store, &program, &["--a"]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((second.starts.get(), fs::read_to_string(store.prometheus_pid()).unwrap()), (0, pid.clone()));
    second.task.abort();

    let third = run(&store, &program, &["--b"]);
    until("it was started anew", || third.starts.get() == 1).await;
    assert_ne!(fs::read_to_string(store.prometheus_pid()).unwrap(), pid);
    third.trigger.trigger();
    third.task.await.unwrap();
}

#[tokio::test]
async fn a_process_that_merely_has_the_number_is_not_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap().free().unwrap();
    let pid_file = PidFile(store.prometheus_pid());
    pid_file.write(std::process::id());
    let mark = [format!("--config.file={}", store.generated_config().display())];
    assert!(Adopted::of(pid_file.read().unwrap(), &mark).is_none());
}

#[tokio::test]
async fn a_prometheus_that_does_not_start_with_its_config_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&directory.path().join("store")).unwrap().free().unwrap();
    let words = "level=error msg=\\\"Error loading config (--config.file=x)\\\" err=\\\"field not found\\\"";
    let mut running = run(&store, &script(directory.path(), &format!("echo \"{words}\"; exit 2")), &[]);
    let refused = tokio::time::timeout(Duration::from_secs(10), running.refused.recv()).await.unwrap().unwrap();
    assert!(refused.ends_with("err=\"field not found\""), "{refused}");
    running.trigger.trigger();
    running.task.await.unwrap();
}
