//! All faulty targets at once, and the `prometheus.yml` that scrapes them.

use std::path::Path;

use narthex_e2e::{
    loadgen::{
        Config, Loadgen, TargetSettings, Tls,
        certificates::{Authority, Validity},
    },
    process::{Release, free_ports},
    scripted::{Scripted, Step, Unreachable, say},
};
use serde_json::{Value, json};

use crate::{
    expected::{Place, Words, up},
    faulty::{self, ok, redirect},
};

/// How long a scrape may take, in seconds.
pub(crate) const TIMEOUT_SECONDS: f64 = 3.0;
/// How often each target is scraped, in seconds.
pub(crate) const INTERVAL_SECONDS: f64 = 4.0;

/// What listens, and what is said of each.
pub(crate) struct Targets {
    all: Vec<Target>,
    ca: String,
    closed: String,
    scripted: Vec<Scripted>,
    unreachable: Unreachable,
    loadgen: Loadgen,
}

struct Target {
    job: &'static str,
    name: &'static str,
    address: String,
    words: Words,
}

/// What is to be said of a target.
pub(crate) struct Expected {
    pub(crate) name: &'static str,
    pub(crate) address: String,
    pub(crate) directly: String,
    pub(crate) by_shard: String,
    pub(crate) reported: String,
}

impl Targets {
    /// Starts all of them.
    pub(crate) async fn start(dir: &Path) -> anyhow::Result<Self> {
        let ca = Authority::new("narthex-e2e authority")?;
        let secured = secured(dir, &ca)?;
        let settings = secured.iter().map(|(_, settings, _)| settings.clone()).collect();
        let loadgen = Loadgen::start(Config::on_free_ports(settings)).await?;
        let unreachable = Unreachable::start().await?;
        let mut targets = Self {
            all: Vec::new(),
            ca: dir.join("ca.pem").display().to_string(),
            closed: format!("127.0.0.1:{}", free_ports(1)?),
            scripted: Vec::new(),
            unreachable,
            loadgen,
        };
        for fault in faulty::all() {
            targets.add("faulty", fault.name, Scripted::start(fault.steps).await?, fault.words);
        }
        for fault in faulty::endless() {
            targets.add("limited", fault.name, Scripted::start(fault.steps).await?, fault.words);
        }
        targets.add_redirected().await?;
        targets.add_unreached();
        for ((name, _, words), address) in secured.into_iter().zip(targets.loadgen.addresses().to_vec()) {
            let host = if name == "tls-wrong-name" { "localhost" } else { "127.0.0.1" };
            let job = if name == "tls-unasked" { "faulty" } else { "secured" };
            targets.all.push(Target { job, name, address: format!("{host}:{}", address.port()), words });
        }
        let hangs = Scripted::start(vec![Step::Hang]).await?;
        // What the shard's Prometheus asks for is http, the sidecar makes https of it.
        let words = Words::same("{get}: context deadline exceeded")
            .but_shard("Get \"http://{address}/metrics\": context deadline exceeded");
        targets.add("secured", "tls-hangs", hangs, words);
        Ok(targets)
    }

    fn add(&mut self, job: &'static str, name: &'static str, target: Scripted, words: Words) {
        self.all.push(Target { job, name, address: target.address().to_string(), words });
        self.scripted.push(target);
    }

    async fn add_redirected(&mut self) -> anyhow::Result<()> {
        let there = Scripted::start(vec![say(ok("", b"there 1\n"))]).await?;
        let to_there = redirect(&format!("http://{}/metrics", there.address()));
        let to_nobody = redirect(&format!("http://{}/metrics", self.closed));
        self.scripted.push(there);
        self.add("faulty", "redirect-elsewhere", Scripted::start(vec![say(to_there)]).await?, up());
        let refused =
            Words::unanswered("Get \"http://{closed}/metrics\": dial tcp {closed}: connect: connection refused");
        self.add("faulty", "redirect-to-nobody", Scripted::start(vec![say(to_nobody)]).await?, refused);
        self.add("faulty", "redirect-9", steps_away(9).await?, up());
        let too_many = || Words::unanswered("Get \"/10\": stopped after 10 redirects");
        self.add("faulty", "redirect-10", steps_away(10).await?, too_many());
        self.add("faulty", "redirect-100", steps_away(100).await?, too_many());
        Ok(())
    }

    fn add_unreached(&mut self) {
        let refused = Words::unanswered("{get}: dial tcp {address}: connect: connection refused");
        // The sidecar does not know which name server the system has asked.
        let unknown = Words::same("{get}: dial tcp: lookup nobody.invalid on {resolver}: no such host")
            .but_shard("server returned HTTP status 502 dial tcp: lookup nobody.invalid: no such host")
            .but_reported("{get}: dial tcp: lookup nobody.invalid: no such host");
        // Nobody is asked for a name that cannot be.
        let impossible = Words::unanswered(
            "{get}: dial tcp: lookup xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.invalid: no such host",
        );
        let slow = Words::same("{get}: context deadline exceeded");
        let host = format!("{}.invalid:9100", "x".repeat(64));
        for (name, address, words) in [
            ("refuses", self.closed.clone(), refused),
            ("slow-to-connect", self.unreachable.address().to_string(), slow),
            ("unknown-host", "nobody.invalid:9100".to_owned(), unknown),
            ("impossible-host", host, impossible),
        ] {
            self.all.push(Target { job: "faulty", name, address, words });
        }
    }

    /// The `prometheus.yml`.
    pub(crate) fn config(&self) -> String {
        let job = |name: &str, more: Value| {
            let of_job = self.all.iter().filter(|target| target.job == name);
            let group = |target: &Target| json!({"targets": [target.address], "labels": {"fault": target.name}});
            let mut job = json!({"job_name": name, "static_configs": of_job.map(group).collect::<Vec<_>>()});
            for (field, value) in more.as_object().into_iter().flatten() {
                job[field] = value.clone();
            }
            job
        };
        let times =
            json!({"scrape_interval": format!("{INTERVAL_SECONDS}s"), "scrape_timeout": format!("{TIMEOUT_SECONDS}s")});
        let jobs = [
            job("faulty", json!({})),
            job("limited", json!({"body_size_limit": "1MB"})),
            job("secured", json!({"scheme": "https", "tls_config": {"ca_file": self.ca}})),
        ];
        // What is JSON is YAML, too.
        json!({"global": times, "scrape_configs": jobs}).to_string()
    }

    /// What is to be said of each.
    pub(crate) fn expected(&self, release: Release) -> Vec<Expected> {
        let expected = |target: &Target| {
            let scheme = if target.job == "secured" { "https" } else { "http" };
            let place = Place {
                url: format!("{scheme}://{}/metrics", target.address),
                address: target.address.clone(),
                closed: self.closed.clone(),
            };
            Expected {
                name: target.name,
                address: target.address.clone(),
                directly: target.words.directly(release, &place),
                by_shard: target.words.by_shard(release, &place),
                reported: target.words.reported(release, &place),
            }
        };
        self.all.iter().map(expected).collect()
    }
}

/// A target that is found after so many redirects.
async fn steps_away(redirects: u32) -> anyhow::Result<Scripted> {
    Scripted::by_path(move |path| {
        let gone: u32 = path.trim_start_matches('/').parse().unwrap_or(0);
        if gone == redirects { vec![say(ok("", b"there 1\n"))] } else { vec![say(redirect(&format!("/{}", gone + 1)))] }
    })
    .await
}

/// Targets of a job with `scheme: https`, with their certificates.
fn secured(dir: &Path, ca: &Authority) -> anyhow::Result<Vec<(&'static str, TargetSettings, Words)>> {
    let other = Authority::new("another authority")?;
    std::fs::write(dir.join("ca.pem"), ca.pem())?;
    let (right, wrong) = (["127.0.0.1", "localhost"], ["elsewhere.example", "other.example"]);
    let mut all = Vec::new();
    for (name, (cert, key), words) in [
        ("tls-good", ca.issue(&right, Validity::Now)?, up()),
        (
            "tls-wrong-address",
            ca.issue(&["10.0.0.1", "elsewhere.example"], Validity::Now)?,
            Words::unanswered("{get}: {verify}x509: certificate is valid for 10.0.0.1, not 127.0.0.1"),
        ),
        (
            "tls-no-address",
            ca.issue(&wrong, Validity::Now)?,
            Words::unanswered(
                "{get}: {verify}x509: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs",
            ),
        ),
        (
            "tls-wrong-name",
            ca.issue(&wrong, Validity::Now)?,
            Words::unanswered(
                "{get}: {verify}x509: certificate is valid for elsewhere.example, other.example, not localhost",
            ),
        ),
        (
            "tls-expired",
            ca.issue(&right, Validity::Over)?,
            Words::unanswered(
                "{get}: {verify}x509: certificate has expired or is not yet valid: current time {now} is after \
                 2021-01-01T00:00:00Z",
            ),
        ),
        (
            "tls-not-yet",
            ca.issue(&right, Validity::NotYet)?,
            Words::unanswered(
                "{get}: {verify}x509: certificate has expired or is not yet valid: current time {now} is before \
                 3000-01-01T00:00:00Z",
            ),
        ),
        (
            "tls-unknown-authority",
            other.issue(&right, Validity::Now)?,
            Words::unanswered("{get}: {verify}x509: certificate signed by unknown authority"),
        ),
        (
            "tls-wants-certificate",
            ca.issue(&right, Validity::Now)?,
            Words::unanswered("{get}: remote error: tls: certificate required"),
        ),
        (
            "tls-unasked",
            ca.issue(&right, Validity::Now)?,
            Words::malformed(
                "{get}: net/http: HTTP/1.x transport connection broken: malformed HTTP response \
                 \"\\x15\\x03\\x03\\x00\\x02\\x022\"",
            ),
        ),
    ] {
        let file = |kind: &str| dir.join(format!("{name}.{kind}"));
        std::fs::write(file("pem"), cert)?;
        std::fs::write(file("key"), key)?;
        let client_ca = (name == "tls-wants-certificate").then(|| dir.join("ca.pem"));
        let tls = Some(Tls { cert: file("pem"), key: file("key"), client_ca });
        let body = Some("secured 1\n".to_owned());
        all.push((name, TargetSettings { body, tls, ..TargetSettings::default() }, words));
    }
    let plain = TargetSettings { body: Some("plain 1\n".to_owned()), ..TargetSettings::default() };
    all.push(("tls-not-spoken", plain, Words::unanswered("{get}: http: server gave HTTP response to HTTPS client")));
    Ok(all)
}
