//! Targets that leave for another shard, as Prometheus' own data shows it. With `$PROMETHEUS`, or `prometheus` on PATH,
//! and with `$PROMETHEUS_2_42` and `$PROMETHEUS_3_5` where they are set.

use std::{collections::BTreeMap, process::Command, time::Duration};

use axum::{Router, routing::get};
use narthex_common::assignment::{AssignedTarget, TargetState};
use reqwest::StatusCode;
use tokio::task::JoinSet;

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

/// What was put is in force.
#[track_caller]
fn taken((status, text): (StatusCode, String)) {
    assert_eq!(status, StatusCode::OK, "{text}");
}

async fn metric(sidecar: &Sidecar, name: &str) -> f64 {
    let text = sidecar.get("/metrics").await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("0");
    line.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_handed_over_leaves_no_trace_and_one_that_is_no_more_leaves_stale_markers() {
    let mut each: JoinSet<()> = programs().into_iter().map(leaves_no_trace).collect();
    while let Some(outcome) = each.join_next().await {
        outcome.unwrap();
    }
}

async fn leaves_no_trace(program: String) {
    let mut sidecar = Sidecar::new(CONFIG, &[&format!("--prometheus.exec={program}")]);
    sidecar.start().await;
    let mut addresses = Vec::new();
    for takes in [0, 0, 0, 0, 0, 0, 900] {
        addresses.push(serve_target(Duration::from_millis(takes)).await);
    }
    let interval = [("__scrape_interval__", "2s"), ("__scrape_timeout__", "2s")];
    let [moves, given_up, given_back, regained, stays, ends, slow] =
        [0, 1, 2, 3, 4, 5, 6].map(|n| target(if n == 6 { "other" } else { "node" }, &addresses[n], &interval));
    let all = [&moves, &given_up, &given_back, &regained, &stays, &ends, &slow];
    taken(sidecar.put(all.map(Clone::clone).into(), vec![]).await);
    until("all are scraped", || async { (sidecar.query("up == 1").await.len() == 7).then_some(()) }).await;

    // Moves begin, one of which comes to nothing.
    taken(sidecar.put([&moves, &slow, &given_up].map(in_transfer).into(), vec![]).await);
    until("Prometheus has the leaving pools", || async {
        let pools = sidecar.get("/api/v1/scrape_pools").await.1;
        (pools.contains("node~leaving-1") && pools.contains("other~leaving-1")).then_some(())
    })
    .await;
    taken(sidecar.put(vec![given_up.clone()], vec![]).await);
    // Others have them now, two of which were no move of this shard's; one is no more.
    let handed_over = [&moves, &slow, &given_back, &regained];
    taken(sidecar.hand_over(handed_over.map(|target| target.target.id).into()).await);
    taken(sidecar.put(vec![], vec![ends.target.id]).await);
    until("all that were handed over are in the leaving pools, and nowhere else", || async {
        let (_, text) = sidecar.get("/api/v1/targets?state=active").await;
        let in_pools = text.matches("~leaving-1\",\"scrapeUrl").count();
        (in_pools == 4 && text.matches("\"scrapeUrl").count() == 6).then_some(())
    })
    .await;
    taken(sidecar.put(vec![regained.clone()], vec![]).await);
    assert_eq!(sidecar.report().await.targets.len(), 3);
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
    assert_eq!(answered.len(), 6, "those that left are answered for from what there is: {answered:?}");
    let generated = std::fs::read_to_string(sidecar.path("store/prometheus.yml")).unwrap();
    assert!(!generated.contains("leaving"), "{generated}");
    assert!(!sidecar.path("store/targets/leaving-1").exists());
    sidecar.stop();

    let samples = dump(&sidecar, &program);
    for (n, what) in ["moved", "given up", "given back", "regained", "stayed"].into_iter().enumerate() {
        let address = &addresses[n];
        assert_eq!(markers(&samples, address, "x"), 0, "{program}: {what}");
        assert_eq!(markers(&samples, address, "up"), 0, "{program}: {what}");
        // One scrape may be missed between two pools: the other shard has it.
        let pause = longest_pause(&samples, address);
        assert!(pause < 4900, "{program}: {what}: {pause} ms");
    }
    // The scrape under way when its pool was to be removed had been let to its end.
    for name in ["x", "up"] {
        let (_, is_marker) = *samples[&(addresses[6].clone(), name.to_owned())].last().unwrap();
        assert!(!is_marker, "{program}: {name} of the slow one ends with a marker");
    }
    assert_eq!(markers(&samples, &addresses[5], "x"), 2, "{program}: the one that is no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_that_is_killed_while_a_target_leaves_lets_it_go_without_a_trace_when_it_is_back() {
    let Some(program) = programs().into_iter().next() else { return };
    let mut sidecar = Sidecar::new(CONFIG, &[&format!("--prometheus.exec={program}")]);
    sidecar.start().await;
    let address = serve_target(Duration::ZERO).await;
    let leaves = target("node", &address, &[("__scrape_interval__", "2s"), ("__scrape_timeout__", "2s")]);
    taken(sidecar.put(vec![leaves.clone()], vec![]).await);
    until("it is scraped", || async { (sidecar.query("up == 1").await.len() == 1).then_some(()) }).await;
    taken(sidecar.hand_over(vec![leaves.target.id]).await);
    until("it is in the leaving pool, and nowhere else", || async {
        let (_, text) = sidecar.get("/api/v1/targets?state=active").await;
        let in_pool = text.matches("~leaving-1\",\"scrapeUrl").count();
        (in_pool == 1 && text.matches("\"scrapeUrl").count() == 1).then_some(())
    })
    .await;
    sidecar.kill();
    sidecar.start().await;
    until("it has left", || async {
        let left = metric(&sidecar, "narthex_sidecar_handed_over_targets_total{way=\"leaving_pool\"}").await;
        (left >= 1.0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    sidecar.stop();
    let samples = dump(&sidecar, &program);
    for name in ["x", "up"] {
        let (_, is_marker) = *samples[&(address.clone(), name.to_owned())].last().unwrap();
        assert!(!is_marker, "{program}: {name} ends with a marker");
    }
}
