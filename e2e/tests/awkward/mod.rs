//! Awkward targets and the `prometheus.yml` that scrapes them: whatever a middleman could get wrong.

use std::path::Path;

use anyhow::bail;
use narthex_e2e::{
    loadgen::{BasicAuth, Config, Failure, Loadgen, TargetSettings, Tls, certificates},
    process::{Release, free_ports},
    promql,
};
use serde_json::json;

/// The targets, and the config that scrapes them.
pub(crate) struct Awkward {
    _loadgen: Loadgen,
    config: String,
    release: Release,
}

/// A body with a label that collides with target labels, a histogram, an escaped value and a timestamp-free gauge.
const COLLIDING: &str = "\
# HELP collisions Labels that a target has, too.
# TYPE collisions gauge
collisions{job=\"exposed\",instance=\"exposed:1\",zone=\"exposed\",exported_job=\"twice\"} 1
collisions{job=\"other\",path=\"C:\\\\dir\",quote=\"\\\"q\\\"\",newline=\"a\\nb\"} 2.5e-3
collisions{empty=\"\",zone=\"\"} NaN
# TYPE latency_seconds histogram
latency_seconds_bucket{le=\"0.1\"} 1
latency_seconds_bucket{le=\"+Inf\"} 3
latency_seconds_sum 4.25
latency_seconds_count 3
# TYPE go_gc summary
go_gc{quantile=\"0.5\"} 0.1
go_gc_sum 17
go_gc_count 93
";

/// The same, as OpenMetrics has it.
const OPEN_METRICS: &str = "\
# TYPE requests counter
# HELP requests Requests with an exemplar.
requests_total{code=\"200\"} 17 # {trace_id=\"abc\"} 0.5
requests_total{code=\"500\"} 3
# TYPE state stateset
state{state=\"on\"} 1
state{state=\"off\"} 0
# TYPE build info
build_info{version=\"1.0\"} 1
# EOF
";

const UTF8: &str = "\
# TYPE \"http.requests\" gauge
{\"http.requests\",\"http.method\"=\"GET\",plain=\"yes\"} 7
plain_metric{\"другое.имя\"=\"значение\"} 1
";

/// Where each target is in the list of the load generator.
#[derive(Clone, Copy)]
enum At {
    Plain0,
    Plain1,
    Colliding,
    OpenMetrics,
    BasicAuth,
    Bearer,
    Tls,
    MutualTls,
    Status500,
    BreakOff,
    Garbage,
    Slow,
    Params,
    Many,
    Utf8,
}

const TARGETS: usize = At::Utf8 as usize + 1;

impl Awkward {
    /// Starts the targets.
    pub(crate) async fn start(dir: &Path, release: Release) -> anyhow::Result<Self> {
        let tls = dir.join("tls");
        certificates::write_unless_there(&tls)?;
        let loadgen = Loadgen::start(Config::on_free_ports(targets(&tls))).await?;
        let addresses = loadgen.addresses().iter().map(ToString::to_string).collect::<Vec<_>>();
        let nobody = format!("127.0.0.1:{}", free_ports(1)?);
        std::fs::write(dir.join("password"), "from a file\n")?;
        std::fs::write(
            dir.join("files.json"),
            json!([
                {"targets": [addresses[At::Plain0 as usize]], "labels": {"from": "file", "__meta_zone": "a"}},
                {"targets": [addresses[At::Plain1 as usize]], "labels": {"from": "file", "__metrics_path__": "/other"}},
            ])
            .to_string(),
        )?;
        let config = config(&addresses, &nobody, release);
        Ok(Self { _loadgen: loadgen, config, release })
    }

    /// The `prometheus.yml`.
    pub(crate) fn config(&self) -> &str {
        &self.config
    }

    /// That the unsharded server saw what makes these targets awkward: otherwise equality would show little.
    pub(crate) async fn check_is_awkward(&self, unsharded: &str) -> anyhow::Result<()> {
        let mut expected = vec![
            ("count(up == 0)", 8.0),
            (r#"count(up{job=""})"#, 1.0),
            (r#"up{instance="my own name"}"#, 1.0),
            (r#"count({__name__="collisions",exported_exported_job="exposed"})"#, 1.0),
            (r#"count({__name__="collisions",job="exposed"})"#, 1.0),
            (r#"up{job="federate"}"#, 1.0),
            (r#"up{job="basic"}"#, 1.0),
            (r#"up{job="bearer"}"#, 1.0),
            (r#"up{job="tls"}"#, 1.0),
            (r#"up{job="mutual_tls"}"#, 1.0),
            (r#"up{job="down"}"#, 0.0),
            (r#"up{job="status_500"}"#, 0.0),
            (r#"up{job="break_off"}"#, 0.0),
            (r#"scrape_samples_post_metric_relabeling{job="relabeled_metrics"}"#, 4.0),
            (r#"count(loadgen_request_info{job="params"})"#, 2.0),
            (r#"up{job="too_many_samples"}"#, 0.0),
        ];
        if self.release == Release::V3_5 {
            expected.push((r#"{"http.requests", "http.method"="GET", "my.label"="of the target"}"#, 7.0));
        }
        for (query, value) in expected {
            let seen = promql::number(unsharded, query).await?;
            if seen != Some(value) {
                let up = promql::instant(unsharded, "up").await?;
                bail!("{query} is {seen:?} on the unsharded server, expected {value}; up: {up:#?}");
            }
        }
        Ok(())
    }
}

fn targets(certificates: &Path) -> Vec<TargetSettings> {
    let body = |body: &str| TargetSettings { body: Some(body.to_owned()), ..TargetSettings::default() };
    let plain = |name: &str| body(&format!("# TYPE plain gauge\nplain{{of=\"{name}\"}} 42\nplain_two 0x1p-2\n"));
    let tls = |client: bool| {
        let file = |name: &str| certificates.join(name);
        let client_ca = client.then(|| file("ca.pem"));
        Some(Tls { cert: file("server.pem"), key: file("server.key"), client_ca })
    };
    let mut all = vec![TargetSettings::default(); TARGETS];
    let mut set = |at: At, settings: TargetSettings| all[at as usize] = settings;
    set(At::Plain0, body("plain{of=\"zero\"} 42\n"));
    set(At::Plain1, body("plain{of=\"one\"} 43\n"));
    set(At::Colliding, body(COLLIDING));
    set(
        At::OpenMetrics,
        TargetSettings {
            content_type: Some("application/openmetrics-text; version=1.0.0; charset=utf-8".to_owned()),
            ..body(OPEN_METRICS)
        },
    );
    let user = BasicAuth { username: "user".to_owned(), password: "from a file".to_owned() };
    set(At::BasicAuth, TargetSettings { basic_auth: Some(user), ..body("guarded 1\n") });
    set(At::Bearer, TargetSettings { bearer: Some("to:ken=".to_owned()), ..body("guarded 2\n") });
    set(At::Tls, TargetSettings { tls: tls(false), ..body("encrypted 1\n") });
    set(At::MutualTls, TargetSettings { tls: tls(true), ..body("encrypted 2\n") });
    set(
        At::Status500,
        TargetSettings { failure: Failure::Status(http::StatusCode::INTERNAL_SERVER_ERROR), ..plain("500") },
    );
    set(At::BreakOff, TargetSettings { failure: Failure::BreakOff, ..body(&"half 1\n".repeat(2000)) });
    set(At::Garbage, TargetSettings { failure: Failure::Garbage, ..plain("garbage") });
    set(At::Slow, TargetSettings { delay_ms: 1500, ..body("slow 1\n") });
    set(At::Params, TargetSettings { reflect: true, series: 1, metrics: 1, ..TargetSettings::default() });
    let many: String = (0..50).map(|i| format!("many{{i=\"{i}\"}} {i}\n")).collect();
    set(At::Many, body(&many));
    set(
        At::Utf8,
        TargetSettings {
            content_type: Some("text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8".to_owned()),
            ..body(UTF8)
        },
    );
    all
}

fn config(addresses: &[String], nobody: &str, release: Release) -> String {
    let names = [
        ("plain0", At::Plain0),
        ("plain1", At::Plain1),
        ("colliding", At::Colliding),
        ("open_metrics", At::OpenMetrics),
        ("params", At::Params),
        ("basic", At::BasicAuth),
        ("bearer", At::Bearer),
        ("tls", At::Tls),
        ("mutual_tls", At::MutualTls),
        ("status_500", At::Status500),
        ("break_off", At::BreakOff),
        ("garbage", At::Garbage),
        ("slow", At::Slow),
        ("many", At::Many),
        ("utf8", At::Utf8),
    ];
    let mut config = include_str!("prometheus.yml").to_owned();
    if release == Release::V3_5 {
        config += include_str!("prometheus-3.yml");
    }
    for (name, at) in names {
        config = config.replace(&format!("@{name}@"), &addresses[at as usize]);
    }
    config.replace("@nobody@", nobody)
}
