//! A shard with a real Prometheus, which the sidecar runs. Skipped, with a note, where there is none: neither
//! `$PROMETHEUS` nor `prometheus` on PATH.

use std::{fs, net::TcpListener, process::Command};

use axum::{Router, routing::get};
use narthex_common::{load::Series, report::Health};
use reqwest::StatusCode;

use crate::process::{Sidecar, target, until};

const CONFIG: &str = r#"
global: {scrape_interval: 1s, scrape_timeout: 1s}
rule_files: [nowhere.yml]
scrape_configs:
- job_name: node
  static_configs: [{targets: ["not looked at:1"]}]
  metric_relabel_configs: [{source_labels: [__name__], regex: unwanted, action: drop}]
- job_name: other
  honor_labels: true
"#;

const EXPOSED: &str = "wanted{n=\"1\"} 1\nwanted{n=\"2\"} 2\nunwanted 3\n";

pub(crate) fn prometheus() -> Option<String> {
    let program = std::env::var("PROMETHEUS").unwrap_or_else(|_| "prometheus".to_owned());
    let runs = Command::new(&program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !runs {
        eprintln!("note: no Prometheus to be run here; what the sidecar does with a real one is not known");
    }
    runs.then_some(program)
}

/// A target that exposes three series, one of which is not kept.
pub(crate) async fn serve_target() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(
        async move { axum::serve(listener, Router::new().route("/metrics", get(|| async { EXPOSED }))).await },
    );
    address
}

fn with_prometheus(program: &str) -> Sidecar {
    Sidecar::new(CONFIG, &[&format!("--prometheus.exec={program}")])
}

async fn until_scraped(sidecar: &Sidecar, count: usize) {
    until("Prometheus scrapes its targets", || async { (sidecar.query("up == 1").await.len() == count).then_some(()) })
        .await;
}

pub(crate) fn pid(sidecar: &Sidecar) -> String {
    fs::read_to_string(sidecar.path("store/prometheus.pid")).unwrap()
}

pub(crate) async fn loaded_at(sidecar: &Sidecar) -> String {
    let own =
        reqwest::get(format!("http://127.0.0.1:{}/metrics", sidecar.prometheus)).await.unwrap().text().await.unwrap();
    let name = "prometheus_config_last_reload_success_timestamp_seconds ";
    own.lines().find(|line| line.starts_with(name)).unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_what_is_assigned_and_a_change_touches_nothing_else() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    sidecar.start().await;
    let (one, two, three) = (serve_target().await, serve_target().await, serve_target().await);
    let first = target("node", &one, &[("zone", "1.10"), ("__tmp", "x")]);
    let second = target("other", &two, &[("job", ""), ("instance", "own")]);
    let leaving = second.target.id;
    let (status, text) = sidecar.put(vec![first, second], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until_scraped(&sidecar, 2).await;

    // Labels are exactly those of the targets.
    let found = sidecar.query("wanted{n='1'}").await;
    let mut labels: Vec<_> = found.iter().map(|(labels, _)| labels.to_string()).collect();
    labels.sort();
    let mut expected = vec![
        format!(r#"{{__name__="wanted", instance="{one}", job="node", n="1", zone="1.10"}}"#),
        r#"{__name__="wanted", instance="own", n="1"}"#.to_owned(),
    ];
    expected.sort();
    assert_eq!(labels, expected);

    // The report knows each target's load and health.
    let report = until("both targets are reported up, and Prometheus as ready", || async {
        let report = sidecar.report().await;
        let is_whole = report.targets.iter().all(|t| t.health == Health::Up && t.scrapes >= 3)
            && report.prometheus.head_series.is_some_and(|series| series > Series(0));
        is_whole.then_some(report)
    })
    .await;
    let mut kept: Vec<_> = report.targets.iter().map(|t| t.load.unwrap()).collect();
    kept.sort();
    assert_eq!(kept.iter().map(|load| (load.exposed.0, load.kept.0)).collect::<Vec<_>>(), [(3, 2), (3, 3)]);
    assert!(report.prometheus.version.is_some());

    // One target goes, another comes: nobody else's loop starts anew.
    let before = loaded_at(&sidecar).await;
    sidecar.put(vec![target("node", &three, &[])], vec![leaving]).await;
    until("the new target is scraped", || async {
        (!sidecar.query(&format!("up{{instance='{three}'}} == 1")).await.is_empty()).then_some(())
    })
    .await;
    assert_eq!(loaded_at(&sidecar).await, before);
    let added = sidecar.query(&format!("scrape_series_added{{instance='{one}'}}")).await;
    assert!(added.iter().all(|(_, added)| *added == 0.0), "{added:?}");
    // The one that went was never down: it was proxied until Prometheus let go.
    assert!(sidecar.query("min_over_time(up[1m]) == 0").await.is_empty());
    assert_eq!(sidecar.report().await.targets.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_leaves_prometheus_running_and_takes_it_over_again() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    sidecar.start().await;
    let one = serve_target().await;
    sidecar.put(vec![target("node", &one, &[])], vec![]).await;
    until_scraped(&sidecar, 1).await;
    let (process, loaded) = (pid(&sidecar), loaded_at(&sidecar).await);
    sidecar.kill();
    let started = std::time::Instant::now();
    sidecar.start().await;
    eprintln!("note: answering again after {:?}", started.elapsed());
    until("the target is scraped again", || async {
        let report = sidecar.report().await;
        report.targets.iter().all(|t| t.health == Health::Up && t.scrapes >= 2).then_some(())
    })
    .await;
    assert_eq!((pid(&sidecar), loaded_at(&sidecar).await), (process.clone(), loaded));
    let added = sidecar.query("scrape_series_added").await;
    assert!(added.iter().all(|(_, added)| *added == 0.0), "{added:?}");

    // Ended in order, it ends Prometheus too.
    sidecar.stop();
    // Where nobody takes note of its end, an entry without a command line stays.
    assert!(fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_config_is_taken_up_and_one_that_prometheus_refuses_is_not() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    sidecar.start().await;
    let one = serve_target().await;
    sidecar.put(vec![target("node", &one, &[])], vec![]).await;
    until_scraped(&sidecar, 1).await;

    fs::write(sidecar.path("user.yml"), CONFIG.replace("regex: unwanted", "regex: wanted")).unwrap();
    assert_eq!(sidecar.reload().await, (StatusCode::OK, String::new()));
    until("the new rules are followed", || async { (!sidecar.query("unwanted").await.is_empty()).then_some(()) }).await;

    // Remote write is Prometheus' own business: what is wrong there only Prometheus says.
    let good = sidecar.report().await.config;
    let generated = fs::read_to_string(sidecar.path("store/prometheus.yml")).unwrap();
    fs::write(sidecar.path("user.yml"), format!("{CONFIG}remote_write: [{{url: http://store, nonsense: 1}}]\n"))
        .unwrap();
    let (status, text) = sidecar.reload().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("nonsense"), "{text}");
    assert_eq!(fs::read_to_string(sidecar.path("store/prometheus.yml")).unwrap(), generated);
    let report = sidecar.report().await;
    assert_eq!(report.config, good);
    assert!(report.config_error.unwrap().contains("nonsense"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_whose_port_is_taken_is_started_again_until_it_is_free() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    let busy = TcpListener::bind(("127.0.0.1", sidecar.prometheus)).unwrap();
    sidecar.start().await;
    let log = || fs::read_to_string(sidecar.path("sidecar.log")).unwrap_or_default();
    until("the reason is in the log", || async {
        (log().contains("address already in use") && log().contains("prometheus.log")).then_some(())
    })
    .await;
    assert!(!sidecar.report().await.prometheus.ready);
    drop(busy);
    until("Prometheus is ready", || async { sidecar.report().await.prometheus.ready.then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_share_a_directory_get_their_own_targets_and_no_others() {
    let Some(program) = prometheus() else { return };
    let jobs: Vec<String> = (0..40).map(|i| format!("job-{i}")).collect();
    let config: String = jobs.iter().map(|job| format!("- {{job_name: {job}, scrape_interval: 1s}}\n")).collect();
    let mut sidecar = Sidecar::new(&format!("scrape_configs:\n{config}"), &[&format!("--prometheus.exec={program}")]);
    sidecar.start().await;
    let address = serve_target().await;
    let (status, text) = sidecar.put(jobs.iter().map(|job| target(job, &address, &[])).collect(), vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until_scraped(&sidecar, 40).await;
    let mut found: Vec<_> =
        sidecar.query("up").await.iter().map(|(labels, _)| labels.get("job").unwrap().to_owned()).collect();
    let mut expected = jobs;
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let report = sidecar.report().await;
    assert!(report.targets.iter().all(|t| t.health == Health::Up), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_that_changed_while_the_sidecar_was_away_reaches_the_prometheus_that_went_on() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    sidecar.start().await;
    let one = serve_target().await;
    sidecar.put(vec![target("node", &one, &[])], vec![]).await;
    until_scraped(&sidecar, 1).await;
    let process = pid(&sidecar);
    sidecar.kill();
    fs::write(sidecar.path("user.yml"), CONFIG.replace("regex: unwanted", "regex: wanted")).unwrap();
    sidecar.start().await;
    until("the new rules are followed", || async { (!sidecar.query("unwanted").await.is_empty()).then_some(()) }).await;
    assert_eq!(pid(&sidecar), process);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_prometheus_is_started_again_and_goes_on_with_its_targets() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = with_prometheus(&program);
    sidecar.start().await;
    let one = serve_target().await;
    sidecar.put(vec![target("node", &one, &[])], vec![]).await;
    until_scraped(&sidecar, 1).await;
    let process = pid(&sidecar);
    let killed = rustix::process::Pid::from_raw(process.parse().unwrap()).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    until("another Prometheus scrapes", || async {
        let is_another = fs::read_to_string(sidecar.path("store/prometheus.pid")).is_ok_and(|pid| pid != process);
        (is_another && sidecar.query("count_over_time(up[5s])").await.iter().any(|(_, scrapes)| *scrapes >= 2.0))
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_file_that_somebody_else_changed_is_noticed_until_it_is_right_again() {
    let Some(program) = prometheus() else { return };
    let mut sidecar = Sidecar::new(CONFIG, &[&format!("--prometheus.exec={program}"), "--self-check.interval=1s"]);
    sidecar.start().await;
    let (one, two) = (serve_target().await, serve_target().await);
    let (status, text) = sidecar.put(vec![target("node", &one, &[]), target("node", &two, &[])], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until_scraped(&sidecar, 2).await;
    until("the self-check finds everything right", || async {
        sidecar.report().await.target_mismatch.is_none().then_some(())
    })
    .await;

    // The job has a directory of its own, and one file in it.
    let directories = fs::read_dir(sidecar.path("store/targets")).unwrap().map(|entry| entry.unwrap().path());
    let mut files = directories.flat_map(|directory| fs::read_dir(directory).unwrap()).map(|file| file.unwrap().path());
    let file = files.find(|file| fs::read_to_string(file).unwrap().contains(&one)).unwrap();
    let right = fs::read_to_string(&file).unwrap();
    let replace = |text: &str| {
        let beside = file.with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, &file).unwrap();
    };
    replace(&right.replace(&two, "127.0.0.1:1"));
    let mismatch = until("the self-check finds that one target is another", || async {
        sidecar.report().await.target_mismatch.filter(|mismatch| mismatch.unexpected == 1)
    })
    .await;
    assert_eq!(mismatch.missing, 1);
    assert_eq!(mismatch.examples, [format!("node {two} is missing"), "node 127.0.0.1:1 is not assigned".to_owned()]);
    let metrics = sidecar.get("/metrics").await.1;
    assert!(metrics.contains("narthex_sidecar_self_check_missing_targets 1\n"), "{metrics}");
    assert!(metrics.contains("narthex_sidecar_self_check_unexpected_targets 1\n"), "{metrics}");
    let log = || fs::read_to_string(sidecar.path("sidecar.log")).unwrap();
    assert!(log().contains("scrapes other targets than those assigned"), "{}", log());

    replace(&right);
    until("the self-check finds everything right again", || async {
        sidecar.report().await.target_mismatch.is_none().then_some(())
    })
    .await;
    assert!(log().contains("scrapes the targets assigned again"), "{}", log());
    assert!(sidecar.get("/metrics").await.1.contains("narthex_sidecar_self_check_missing_targets 0\n"));
}
