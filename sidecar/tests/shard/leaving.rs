//! Targets that leave for another shard, as Prometheus' own data shows it. With `$PROMETHEUS`, or `prometheus` on PATH,
//! and with `$PROMETHEUS_2_42` and `$PROMETHEUS_3_5` where they are set.

use std::{collections::BTreeMap, process::Command, time::Duration};

use axum::{Router, routing::get};
use narthex_common::assignment::{AssignedTarget, TargetState};
use reqwest::StatusCode;

use crate::process::{Sidecar, target, until};

const CONFIG: &str = "
global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs:
- job_name: node
- job_name: other
  honor_labels: true
";

fn programs() -> Vec<String> {
    let named = ["PROMETHEUS", "PROMETHEUS_2_42", "PROMETHEUS_3_5"].map(|name| std::env::var(name).ok());
    let mut programs: Vec<String> = named.into_iter().flatten().collect();
    if programs.is_empty() {
        programs.push("prometheus".to_owned());
    }
    programs.sort();
    programs.dedup();
    programs.retain(|program| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success()));
    if programs.is_empty() {
        eprintln!("note: no Prometheus to be run here; whether a target leaves it without a trace is not known");
    }
    programs
}

/// A target that answers after so long.
async fn serve_target(takes: Duration) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let answer = move || async move {
        tokio::time::sleep(takes).await;
        "x{n=\"1\"} 1\nx{n=\"2\"} 2\n"
    };
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/metrics", get(answer))).await });
    address
}

fn in_transfer(target: &AssignedTarget) -> AssignedTarget {
    AssignedTarget { state: TargetState::InTransfer, ..target.clone() }
}

/// Times of samples, and whether they are stale markers, by instance and name.
type Samples = BTreeMap<(String, String), Vec<(i64, bool)>>;

/// All samples that Prometheus holds, and whether they are stale markers, by instance and name.
fn dump(sidecar: &Sidecar, program: &str) -> Samples {
    let promtool = program.strip_suffix("prometheus").map(|path| format!("{path}promtool"));
    let promtool = promtool.filter(|path| Command::new(path).arg("--version").output().is_ok());
    let mut command = Command::new(promtool.unwrap_or_else(|| "promtool".to_owned()));
    let output = command.args(["tsdb", "dump"]).arg(sidecar.path("store/data")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut samples = Samples::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (labels, rest) = line.split_once("} ").unwrap();
        let of = |name: &str| {
            let start = labels.find(&format!("{name}=\"")).unwrap() + name.len() + 2;
            labels[start..].split('"').next().unwrap().to_owned()
        };
        let (value, time) = rest.split_once(' ').unwrap();
        let is_marker = value == "NaN";
        samples.entry((of("instance"), of("__name__"))).or_default().push((time.parse().unwrap(), is_marker));
    }
    samples
}

fn markers(samples: &Samples, address: &str, name: &str) -> usize {
    samples[&(address.to_owned(), name.to_owned())].iter().filter(|(_, is_marker)| *is_marker).count()
}

/// The longest time between two samples of `up`.
fn longest_pause(samples: &Samples, address: &str) -> i64 {
    let times: Vec<i64> = samples[&(address.to_owned(), "up".to_owned())].iter().map(|(time, _)| *time).collect();
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
}

async fn metric(sidecar: &Sidecar, name: &str) -> f64 {
    let text = sidecar.get("/metrics").await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("0");
    line.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_handed_over_leaves_no_trace_and_one_that_is_no_more_leaves_stale_markers() {
    for program in programs() {
        leaves_no_trace(&program).await;
    }
}

async fn leaves_no_trace(program: &str) {
    let mut sidecar = Sidecar::new(CONFIG, &[&format!("--prometheus.exec={program}")]);
    sidecar.start().await;
    let (moved, slow, given_back) = (
        serve_target(Duration::ZERO).await,
        serve_target(Duration::from_millis(900)).await,
        serve_target(Duration::ZERO).await,
    );
    let (stays, gone, returns) =
        (serve_target(Duration::ZERO).await, serve_target(Duration::ZERO).await, serve_target(Duration::ZERO).await);
    let slower = [("__scrape_interval__", "2s"), ("__scrape_timeout__", "2s")];
    let node = |address: &String| target("node", address, &slower);
    let (moving, slow_one, back) = (node(&moved), target("other", &slow, &slower), node(&given_back));
    let (ends, comes_back) = (node(&gone), node(&returns));
    let all = vec![moving.clone(), slow_one.clone(), back.clone(), node(&stays), ends.clone(), comes_back.clone()];
    let (status, text) = sidecar.put(all, vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until("all are scraped", || async { (sidecar.query("up == 1").await.len() == 6).then_some(()) }).await;

    // A move begins, and another that will come to nothing.
    sidecar.put([&moving, &slow_one, &comes_back].map(in_transfer).into(), vec![]).await;
    until("they are in the leaving pool", || async {
        let text = sidecar.get("/api/v1/targets?state=active").await.1;
        (text.matches("~leaving-1\",\"scrapeUrl").count() == 3).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    sidecar.put(vec![comes_back], vec![]).await;
    // The destination has them; one that this shard had taken over is given back, one has left discovery.
    sidecar.hand_over(vec![moving.target.id, slow_one.target.id, back.target.id]).await;
    sidecar.put(vec![], vec![ends.target.id]).await;
    assert_eq!(sidecar.report().await.targets.len(), 2);
    until("they have left", || async {
        let left = metric(&sidecar, "narthex_sidecar_handed_over_targets_total{way=\"leaving_pool\"}").await;
        (left >= 3.0 && metric(&sidecar, "narthex_sidecar_leaving_generations").await == 0.0).then_some(())
    })
    .await;
    assert_eq!(metric(&sidecar, "narthex_sidecar_handed_over_targets_total{way=\"plain\"}").await, 0.0);
    // What would be written would be written now.
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(sidecar.query("up == 0").await.is_empty());
    let answered = sidecar.query("up").await;
    assert_eq!(answered.len(), 5, "those that left are answered for from what there is: {answered:?}");
    let generated = std::fs::read_to_string(sidecar.path("store/prometheus.yml")).unwrap();
    assert!(!generated.contains("leaving"), "{generated}");
    assert!(!sidecar.path("store/targets/leaving-1").exists());
    sidecar.stop();

    let samples = dump(&sidecar, program);
    let unharmed = [(&moved, "moved"), (&given_back, "given back"), (&returns, "returned"), (&stays, "stayed")];
    for (address, what) in unharmed {
        assert_eq!(markers(&samples, address, "x"), 0, "{program}: {what}");
        assert_eq!(markers(&samples, address, "up"), 0, "{program}: {what}");
        assert!(longest_pause(&samples, address) < 2900, "{program}: {what}: {}", longest_pause(&samples, address));
    }
    // The scrape under way when its pool was removed had been let to its end.
    for name in ["x", "up"] {
        let (_, is_marker) = *samples[&(slow.clone(), name.to_owned())].last().unwrap();
        assert!(!is_marker, "{program}: {name} of the slow one ends with a marker");
    }
    assert_eq!(markers(&samples, &gone, "x"), 2, "{program}: the one that is no more");
}
