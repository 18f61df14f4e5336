//! What a sidecar promises whether or not a Prometheus is there.

use std::{fs, net::TcpListener};

use narthex_common::{
    api::{Answer, ErrorType},
    assignment::{AssignmentUpdate, Revision},
    fingerprint::Fingerprint,
};
use reqwest::StatusCode;

use crate::process::{Sidecar, target};

const CONFIG: &str = "scrape_configs:\n- {job_name: node, static_configs: [{targets: ['a:1']}]}\n";

fn error_of(text: &str) -> (ErrorType, String) {
    match serde_json::from_str::<Answer<serde_json::Value>>(text).unwrap() {
        Answer::Error { error_type, error } => (error_type, error),
        Answer::Success { data } => panic!("succeeded: {data}"),
    }
}

fn said_at_its_end(sidecar: &Sidecar) -> String {
    let output = sidecar.command().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn killed_and_started_again_it_goes_on_with_its_assignment() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let (status, text) = sidecar.put(vec![target("node", "a:1", &[])], vec![]).await;
    assert_eq!((status, text.as_str()), (StatusCode::OK, r#"{"status":"success","data":{"revision":1}}"#));
    let before = sidecar.assignment().await;
    sidecar.kill();
    sidecar.start().await;
    assert_eq!(sidecar.assignment().await, before);
    assert_eq!(sidecar.report().await.targets.len(), 1);
}

#[tokio::test]
async fn a_refused_assignment_says_why() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let config = sidecar.report().await.config;
    let update = |base, config| AssignmentUpdate {
        base: Some(Revision(base)),
        revision: Revision(base + 1),
        config,
        put: vec![],
        remove: vec![],
        ..AssignmentUpdate::default()
    };
    let (status, text) = sidecar.put_update(&update(3, config)).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(error_of(&text), (ErrorType::Conflict, "the update starts from revision 3, the shard has 0".to_owned()));

    let (status, text) = sidecar.put_update(&update(0, Fingerprint(1))).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(error_of(&text).1.contains("planned for config 0000000000000001"), "{text}");

    let (status, text) = sidecar.put(vec![target("nobody", "a:1", &[])], vec![]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(error_of(&text), (ErrorType::BadData, "the config has no job \"nobody\"".to_owned()));

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client.put(sidecar.url("/api/v1/shard/assignment")).body("{\"base\":").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert!(error_of(&answer.text().await.unwrap()).1.starts_with("read the assignment update: "));
}

#[tokio::test]
async fn a_broken_config_is_named_with_file_line_and_job_and_what_ran_before_goes_on() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let before = sidecar.report().await.config;
    let broken = "scrape_configs:\n- job_name: node\n  scrape_interval: soon\n";
    fs::write(sidecar.path("user.yml"), broken).unwrap();
    let (status, text) = sidecar.reload().await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(text.contains("user.yml:3") && text.contains("\"node\"") && text.contains("soon"), "{text}");
    let report = sidecar.report().await;
    assert_eq!(report.config, before);
    assert!(report.config_error.unwrap().contains("user.yml:3"));
    assert!(sidecar.get("/metrics").await.1.contains("narthex_sidecar_config_last_reload_successful 0"));

    // A restart over the broken file goes on, too.
    sidecar.kill();
    sidecar.start().await;
    assert_eq!(sidecar.report().await.config, before);

    fs::write(sidecar.path("user.yml"), CONFIG).unwrap();
    assert_eq!(sidecar.reload().await.0, StatusCode::OK);
    assert_eq!(sidecar.report().await.config_error, None);
}

#[test]
fn a_broken_config_at_the_first_start_ends_it_with_file_line_and_job() {
    let sidecar = Sidecar::new("scrape_configs:\n- job_name: node\n  scrape_interval: soon\n", &[]);
    let said = said_at_its_end(&sidecar);
    assert!(said.contains("user.yml:3") && said.contains("\"node\"") && said.contains("soon"), "{said}");
}

#[test]
fn a_busy_port_ends_it_with_the_flag_to_change() {
    let sidecar = Sidecar::new(CONFIG, &[]);
    let _busy = TcpListener::bind(("127.0.0.1", sidecar.proxy)).unwrap();
    let said = said_at_its_end(&sidecar);
    let expected = format!("listen on 127.0.0.1:{}: address already in use (flag --web.proxy-addr)", sidecar.proxy);
    assert!(said.contains(&expected), "{said}");
}

#[tokio::test]
async fn what_it_does_not_know_goes_to_prometheus_and_fails_clearly_when_that_is_gone() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    let (status, text) = sidecar.get("/api/v1/query?query=up").await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(text.contains(&format!("127.0.0.1:{} does not answer", sidecar.prometheus)), "{text}");
    assert_eq!(sidecar.get("/-/healthy").await.0, StatusCode::OK);
}

#[tokio::test]
async fn rendering_writes_what_a_shard_would_run_with() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    sidecar.put(vec![target("node", "a:1", &[])], vec![]).await;
    let assignment = serde_json::to_vec(&sidecar.assignment().await).unwrap();
    fs::write(sidecar.path("assignment.json"), assignment).unwrap();
    let rendered = std::process::Command::new(env!("CARGO_BIN_EXE_narthex-sidecar"))
        .current_dir(sidecar.root.path())
        .args(["render", "--config.file=user.yml", "--assignment=assignment.json", "--out=out"])
        .status()
        .unwrap();
    assert!(rendered.success());
    // The same as what it runs with, but for the directory, the token and the proxy's port.
    let of = |directory: &str| {
        let config = fs::read_to_string(sidecar.path(&format!("{directory}/prometheus.yml"))).unwrap();
        config
            .lines()
            .filter(|line| !line.contains("proxy_url") && !line.contains("/targets/"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(of("out"), of("store"));
    let targets = |directory: &str| {
        let job = fs::read_dir(sidecar.path(&format!("{directory}/targets"))).unwrap().next().unwrap().unwrap();
        let file = fs::read_dir(job.path()).unwrap().next().unwrap().unwrap();
        fs::read_to_string(file.path()).unwrap()
    };
    assert_eq!(targets("out"), targets("store"));
}

#[test]
fn the_users_own_config_is_never_written() {
    let sidecar = Sidecar::new(CONFIG, &["--config.output-file=./user.yml"]);
    let said = said_at_its_end(&sidecar);
    assert!(said.contains("user.yml: that is the user's own (flag --config.output-file)"), "{said}");
    assert_eq!(fs::read_to_string(sidecar.path("user.yml")).unwrap(), CONFIG);
}

#[tokio::test]
async fn a_report_since_the_last_one_has_only_what_changed() {
    let mut sidecar = Sidecar::new(CONFIG, &[]);
    sidecar.start().await;
    sidecar.put(vec![target("node", "a:1", &[])], vec![]).await;
    let first = sidecar.report().await;
    assert_eq!((first.complete, first.targets.len()), (true, 1));
    let since = sidecar.report_since(&first.cursor).await;
    assert_eq!((since.complete, since.targets.len()), (false, 0));
    sidecar.put(vec![target("node", "b:1", &[])], vec![]).await;
    assert_eq!(sidecar.report_since(&first.cursor).await.targets.len(), 1);
    // After a restart nobody knows what was told before.
    sidecar.kill();
    sidecar.start().await;
    let again = sidecar.report_since(&first.cursor).await;
    assert_eq!((again.complete, again.targets.len()), (true, 2));
}
