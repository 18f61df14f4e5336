//! One sidecar in the place of another, whether or not a Prometheus is there.

use std::fs::File;

use reqwest::StatusCode;

use crate::process::{Sidecar, target};

const CONFIG: &str = "scrape_configs:\n- {job_name: node, static_configs: [{targets: ['a:1', 'b:1']}]}\n";

async fn with_one_target() -> Sidecar {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let (status, text) = sidecar.put(vec![target("node", "a:1", &[])], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    sidecar
}

#[tokio::test]
async fn a_successor_has_what_its_predecessor_had_and_goes_on_with_it() {
    let mut sidecar = with_one_target().await;
    let before = sidecar.assignment().await;
    sidecar.replace();
    assert_eq!(sidecar.assignment().await, before);
    let (status, text) = sidecar.put(vec![target("node", "b:1", &[])], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    // A successor has successors.
    sidecar.replace();
    assert_eq!(sidecar.assignment().await.targets.len(), 2);
}

#[tokio::test]
async fn one_that_does_not_start_leaves_its_predecessor_where_it_was() {
    let mut sidecar = with_one_target().await;
    let output = sidecar.command().args(["--replace", "--config.output-file=user.yml"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("that is the user's own"), "{said}");
    let (status, text) = sidecar.put(vec![target("node", "b:1", &[])], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    assert_eq!(sidecar.assignment().await.targets.len(), 2);
    sidecar.replace();
    assert_eq!(sidecar.assignment().await.targets.len(), 2);
}

#[tokio::test]
async fn where_none_runs_there_is_nobody_to_replace() {
    let mut sidecar = Sidecar::new(CONFIG, &["--replace"]);
    sidecar.start().await;
    assert_eq!(sidecar.put(vec![target("node", "a:1", &[])], vec![]).await.0, StatusCode::OK);
    sidecar.kill();
    // What a killed one leaves behind is in nobody's way.
    sidecar.start().await;
    assert_eq!(sidecar.assignment().await.targets.len(), 1);
}

#[tokio::test]
async fn one_that_cannot_be_asked_is_not_replaced() {
    let sidecar = Sidecar::new(CONFIG, &["--replace"]);
    std::fs::create_dir(sidecar.path("store")).unwrap();
    let lock = File::create(sidecar.path("store/lock")).unwrap();
    lock.lock().unwrap();
    let output = sidecar.command().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("cannot be asked to make room"), "{said}");
}
