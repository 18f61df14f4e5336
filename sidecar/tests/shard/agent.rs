//! A shard whose Prometheus is an agent: it has no data of its own, and writes what it scrapes to another. Skipped, with
//! a note, where there is no Prometheus; `$PROMETHEUS_3_5` is tried too when it is set.

use std::{
    fs,
    process::{Child, Command, Stdio},
    time::Duration,
};

use narthex_common::{load::Series, report::Health};
use reqwest::StatusCode;

use crate::{
    process::{Sidecar, free_port, target, until},
    with_prometheus::{loaded_at, pid, prometheus, serve_target},
};

/// A Prometheus that takes what agents write.
struct Receiver {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

impl Receiver {
    fn start(program: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let config = data.path().join("prometheus.yml");
        fs::write(&config, "").unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, _data: data }
    }

    fn write_url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v1/write", self.port)
    }

    /// How many series an instant query finds.
    async fn count(&self, query: &str) -> usize {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{}/api/v1/query", self.port);
        let Ok(answer) = client.get(url).query(&[("query", query)]).send().await else { return 0 };
        let Ok(answer) = answer.json::<serde_json::Value>().await else { return 0 };
        answer["data"]["result"].as_array().map_or(0, Vec::len)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn config(receiver: &Receiver, unwanted: &str) -> String {
    format!(
        "
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
rule_files: [nowhere.yml]
remote_read: [{{url: 'http://127.0.0.1:9/read'}}]
remote_write: [{{url: '{}', queue_config: {{batch_send_deadline: 500ms}}}}]
scrape_configs:
- job_name: node
  static_configs: [{{targets: ['not looked at:1']}}]
  metric_relabel_configs: [{{source_labels: [__name__], regex: {unwanted}, action: drop}}]
",
        receiver.write_url()
    )
}

async fn an_agent_scrapes_and_survives(program: &str, flag: &str, store: &str) {
    let receiver = Receiver::start(store);
    let args = [&format!("--prometheus.exec={program}"), &format!("--prometheus.arg={flag}")];
    let mut sidecar = Sidecar::new(&config(&receiver, "unwanted"), &args.map(String::as_str));
    sidecar.start().await;
    let (one, two) = (serve_target().await, serve_target().await);
    let second = target("node", &two, &[]);
    let leaving = second.target.id;
    let (status, text) = sidecar.put(vec![target("node", &one, &[("zone", "1.10")]), second], vec![]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until("what the targets expose arrives where the agent writes to", || async {
        let (all, labelled) = (receiver.count("wanted").await, receiver.count("wanted{zone='1.10',job='node'}").await);
        ((all, labelled) == (4, 2)).then_some(())
    })
    .await;
    assert_eq!(receiver.count("unwanted").await, 0);

    // Two targets, each with two series of its own and five that Prometheus adds to every scrape.
    let report = until("both targets are up, and the load is the agent's", || async {
        let report = sidecar.report().await;
        let is_whole = report.targets.iter().all(|t| t.health == Health::Up)
            && report.prometheus.ready
            && report.prometheus.head_series.is_some_and(|series| series >= Series(14));
        is_whole.then_some(report)
    })
    .await;
    assert!(report.prometheus.version.is_some());
    // There is nothing to query here, and what the API says of the agent itself is passed through.
    let (status, text) = sidecar.get("/api/v1/query?query=up").await;
    assert!(!status.is_success() && text.contains("unavailable with Prometheus Agent"), "{status} {text}");
    assert_eq!(sidecar.get("/api/v1/targets").await.0, StatusCode::OK);

    // Killed and started again, the sidecar takes the agent over.
    let before = (pid(&sidecar), loaded_at(&sidecar).await);
    sidecar.kill();
    sidecar.start().await;
    until("the targets are scraped again", || async {
        let report = sidecar.report().await;
        report.targets.iter().all(|t| t.health == Health::Up && t.scrapes >= 2).then_some(())
    })
    .await;
    assert_eq!((pid(&sidecar), loaded_at(&sidecar).await), before);

    // Targets leave an agent as they leave a server: taken over by another shard, without staleness markers.
    let (status, text) = sidecar.hand_over(vec![leaving]).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    until("the agent has let go", || async {
        let (_, text) = sidecar.get("/api/v1/targets").await;
        (!text.contains(&two) && text.contains(&one)).then_some(())
    })
    .await;

    fs::write(sidecar.path("user.yml"), config(&receiver, "wanted")).unwrap();
    assert_eq!(sidecar.reload().await, (StatusCode::OK, String::new()));
    until("the new rules are followed", || async { (receiver.count("unwanted").await == 1).then_some(()) }).await;
    // Staleness markers come two intervals after a target's end, and are written half a second later.
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(receiver.count(&format!("up{{instance='{two}'}}")).await, 1, "it was marked stale");
    let log = fs::read_to_string(sidecar.path("sidecar.log")).unwrap();
    assert!(log.contains("remote_read"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_prometheus_2_writes_what_its_shard_scrapes() {
    let Some(program) = prometheus() else { return };
    an_agent_scrapes_and_survives(&program, "--enable-feature=agent", &program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_prometheus_3_writes_what_its_shard_scrapes() {
    let Ok(program) = std::env::var("PROMETHEUS_3_5") else {
        eprintln!("note: PROMETHEUS_3_5 is not set; agents of Prometheus 3 are not tried");
        return;
    };
    an_agent_scrapes_and_survives(&program, "--agent", &program).await;
}

#[test]
fn rules_cannot_be_kept_for_an_agent() {
    let sidecar =
        Sidecar::new("", &["--rules=keep", "--prometheus.exec=nowhere", "--prometheus.arg=--enable-feature=agent"]);
    let output = sidecar.command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("--rules=keep"), "{said}");
}
