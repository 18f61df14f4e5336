//! `dns_sd_configs` against a real name server: what targets its records make, and that nothing is lost while it is away.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Process, Release, Workdir, free_ports, narthex},
    promql,
    targets::Targets,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// A dnsmasq that answers for everything below `example`, and asks nobody else. Of bare names it says that they do not
/// exist; else it would refuse to say anything.
struct Dnsmasq {
    process: Process,
    resolv_conf: PathBuf,
}

impl Dnsmasq {
    /// One that answers.
    async fn start(dir: &Path, port: u16, records: &str) -> anyhow::Result<Self> {
        let conf = dir.join("dnsmasq.conf");
        let user = if rustix::process::geteuid().is_root() { "user=root\ngroup=root\n" } else { "" };
        std::fs::write(
            &conf,
            format!(
                "port={port}\nlisten-address=127.0.0.1\nbind-interfaces\nno-resolv\nno-hosts\nkeep-in-foreground\n\
                 log-facility=-\npid-file=\nlocal=/example/\nlocal=/such/\nlocal=/_tcp/\n{user}{records}"
            ),
        )?;
        let mut command = Command::new(std::env::var_os("DNSMASQ").context("$DNSMASQ is not set: run e2e/run.sh")?);
        command.arg(format!("--conf-file={}", conf.display()));
        let process = Process::start("dnsmasq", command, &dir.join("dnsmasq.log"))?;
        let resolv_conf = dir.join("resolv.conf");
        std::fs::write(&resolv_conf, format!("search nowhere.example svc.example\nnameserver [127.0.0.1]:{port}\n"))?;
        let server = Self { process, resolv_conf };
        // It answers datagrams as soon as it takes connections.
        eventually("the name server listens", Duration::from_secs(20), || async {
            Ok(TcpStream::connect(("127.0.0.1", port)).await.ok())
        })
        .await
        .with_context(|| server.process.output())?;
        Ok(server)
    }
}

/// What `check targets` says of a config: the discovered labels that DNS made, and what is wrong.
fn check(config: &Path, resolv_conf: &Path) -> anyhow::Result<(BTreeSet<String>, Vec<Value>)> {
    let output = Command::new(narthex("narthex-coordinator")?)
        .args(["check", "targets", "--output", "json", "--timeout", "30s"])
        .arg(format!("--sd.dns.resolv-conf={}", resolv_conf.display()))
        .arg(config)
        .output()?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    })?;
    let of_dns = |target: &Value| {
        let labels = target["discoveredLabels"].as_object().context("labels")?.clone().into_iter();
        let told: serde_json::Map<_, _> =
            labels.filter(|(name, _)| name == "__address__" || name.starts_with("__meta_")).collect();
        anyhow::Ok(Value::Object(told).to_string())
    };
    let targets =
        report["activeTargets"].as_array().context("targets")?.iter().map(of_dns).collect::<Result<_, _>>()?;
    Ok((targets, report["errors"].as_array().context("errors")?.clone()))
}

/// As Prometheus 3.5 was seen to list them, given the same name server.
fn expected() -> BTreeSet<String> {
    let srv = |port: u16, host: &str| {
        json!({"__address__": format!("{host}:{port}"), "__meta_dns_name": "_http._tcp.web",
               "__meta_dns_srv_record_port": port.to_string(), "__meta_dns_srv_record_target": format!("{host}.")})
    };
    let big = (0..400).map(|i: u32| {
        json!({"__address__": format!("10.1.{}.{}:80", i / 200, i % 200 + 1), "__meta_dns_name": "big.example"})
    });
    let others = [
        srv(8080, "h1.example"),
        srv(8081, "h2.example"),
        json!({"__address__": "10.0.0.1:9100", "__meta_dns_name": "h1.example"}),
        json!({"__address__": "10.0.0.1:9101", "__meta_dns_name": "alias.example."}),
        json!({"__address__": "[2001:db8::1]:9100", "__meta_dns_name": "h1.example"}),
        json!({"__address__": "mail.example:25", "__meta_dns_name": "example", "__meta_dns_mx_record_target": "mail.example."}),
        json!({"__address__": "ns1.example:53", "__meta_dns_name": "example", "__meta_dns_ns_record_target": "ns1.example."}),
    ];
    others.into_iter().chain(big).map(|labels| labels.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_record_makes_the_targets_that_prometheus_makes_of_it() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let mut records = "srv-host=_http._tcp.web.svc.example,h1.example,8080\n\
                       srv-host=_http._tcp.web.svc.example,h2.example,8081\n\
                       host-record=h1.example,10.0.0.1,2001:db8::1\n\
                       cname=alias.example,h1.example\n\
                       mx-host=example,mail.example,10\n\
                       dns-rr=example,2,036e7331076578616d706c6500\n"
        .to_owned();
    // Too many for a datagram of 4096 bytes.
    records.extend((0..400).map(|i| format!("host-record=big.example,10.1.{}.{}\n", i / 200, i % 200 + 1)));
    let mut server = Dnsmasq::start(dir.path(), free_ports(1)?, &records).await?;
    let config = dir.write(
        "prometheus.yml",
        "scrape_configs:\n\
         - job_name: dns\n  dns_sd_configs:\n  \
         - {names: [_http._tcp.web, no.such]}\n  \
         - {names: [h1.example], type: a, port: 9100}\n  \
         - {names: [alias.example.], type: A, port: 9101}\n  \
         - {names: [h1.example], type: AAAA, port: 9100}\n  \
         - {names: [example], type: MX, port: 25}\n  \
         - {names: [example], type: NS, port: 53}\n  \
         - {names: [big.example], type: A, port: 80}\n",
    )?;
    let (targets, errors) = check(&config, &server.resolv_conf)?;
    assert_eq!((targets, errors), (expected(), Vec::new()));

    server.process.kill()?;
    let (targets, errors) = check(&config, &server.resolv_conf)?;
    assert_eq!(targets, BTreeSet::new());
    let error = errors[0]["error"].as_str().context("an error")?;
    assert!(error.contains("all servers responded with errors to at least one search domain"), "{error}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_stay_while_the_name_server_is_away_and_go_when_it_says_so() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(1, 50).await?;
    let address = load.addresses().remove(0);
    let (_, port) = address.rsplit_once(':').context("a port")?;
    let here = format!("srv-host=_m._tcp.svc.example,here.example,{port}\nhost-record=here.example,127.0.0.1\n");
    let dns_port = free_ports(1)?;
    let mut server = Dnsmasq::start(dir.path(), dns_port, &here).await?;
    let config = dir.write(
        "prometheus.yml",
        "global: {scrape_interval: 1s}\nscrape_configs:\n- job_name: dns\n  \
         dns_sd_configs: [{names: [_m._tcp], refresh_interval: 500ms}]\n  relabel_configs:\n  \
         - {source_labels: [__meta_dns_srv_record_port], regex: (.*), target_label: __address__, replacement: '127.0.0.1:$1'}\n",
    )?;
    let resolv_conf = format!("--sd.dns.resolv-conf={}", server.resolv_conf.display());
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V3_5, &[&resolv_conf])?).await?;
    coordinator.settled(1, 1).await?;

    server.process.kill()?;
    let failures = || metric(&coordinator.url, "prometheus_sd_dns_lookup_failures_total");
    let before = failures().await?;
    eventually("several lookups have failed", Duration::from_secs(30), || async {
        Ok((failures().await? >= before + 5.0).then_some(()))
    })
    .await?;
    coordinator.settled(1, 1).await?;

    server = Dnsmasq::start(dir.path(), dns_port, "host-record=other.example,127.0.0.1\n").await?;
    eventually("the target is gone", Duration::from_secs(30), || async {
        Ok(coordinator.active_targets().await?.is_empty().then_some(()))
    })
    .await
    .with_context(|| server.process.output())?;
    let log = coordinator.process.output();
    // A question that was on its way fails in another way than the next ones.
    assert!((1..=2).contains(&log.matches("dns_sd: cannot look up").count()), "not said at every refresh: {log}");
    assert_eq!(log.matches("can be looked up again").count(), 1, "{log}");
    Ok(())
}

async fn metric(url: &str, name: &str) -> anyhow::Result<f64> {
    let text = promql::client()?.get(format!("{url}/metrics")).send().await?.text().await?;
    let line = text.lines().find(|line| line.starts_with(name)).with_context(|| format!("{name} is not in {text}"))?;
    Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
}
