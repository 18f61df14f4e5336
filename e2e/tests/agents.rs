//! Shards that keep nothing and write what they scrape elsewhere: Prometheus in agent mode, and vmagent. What arrives
//! there is what an unsharded Prometheus has scraped.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    process::{Process, Release, Workdir, free_ports, narthex, vmagent},
    promql::{self, Labels, SampleValue},
    shard_list::{Shard, list},
    show,
    targets::Targets,
};
use serde_json::{Value, json};

/// What both sides write, and whose values say nothing of the moment: the series of the load generator are compared by
/// their labels.
const SAID_OF_SCRAPES: [&str; 3] = ["up", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling"];
const COMPARED: &str =
    r#"{__name__=~"up|scrape_samples_scraped|scrape_samples_post_metric_relabeling|loadgen_.*|kept_.*"}"#;

/// A field whose number does not fit into Go's int: Prometheus, whose limits have no sign, takes it.
const REFUSED_BY_VMAGENT: &str = "  sample_limit: 9999999999999999999\n";

/// Fields of `global` that vmagent does not take, and that Prometheus 2.42 does not know, either.
const FIELDS_OF_3_5: &str =
    "  keep_dropped_targets: 10\n  label_value_length_limit: 500\n  metric_name_escaping_scheme: underscores\n";

/// Jobs with what vmagent takes otherwise than Prometheus, or not at all; more of `global`, and more after the jobs.
fn config(global: &str, more: &str) -> String {
    format!(
        r#"
global:
  scrape_interval: 1s
  scrape_timeout: 1s
  evaluation_interval: 5s
{global}scrape_configs:
- job_name: listed
  body_size_limit: 10MB
  label_name_length_limit: 100
  enable_http2: false
  params: {{module: ["a b", "%{{HOME}}"]}}
  file_sd_configs: [{{files: [targets.yml], refresh_interval: 1s}}]
  relabel_configs:
  - {{source_labels: [__address__], regex: "(.*):(.*)", target_label: port, replacement: "$2%{{HOME}}"}}
  - {{source_labels: [kind], regex: odd, target_label: __metrics_path__, replacement: "/me trics?%20"}}
  metric_relabel_configs:
  - {{source_labels: [__name__], regex: "loadgen_metric_(1|2)_.*", action: drop}}
- job_name: nobody
  static_configs: [{{targets: ["127.0.0.1:1"]}}]
{more}"#
    )
}

fn discovered(addresses: &[String], kind: &str) -> String {
    addresses.iter().map(|address| format!("- {{targets: ['{address}'], labels: {{kind: {kind}}}}}\n")).collect()
}

/// The target that nobody listens at.
const NOBODY: &str = "127.0.0.1:1";

/// Some addresses, and the target that nobody listens at.
fn and_nobody(addresses: &[String]) -> Vec<&str> {
    addresses.iter().map(String::as_str).chain([NOBODY]).collect()
}

/// The unsharded Prometheus, and the one that shards write to.
struct Both {
    unsharded: Unsharded,
    receiver: Unsharded,
}

impl Both {
    async fn start(dir: &Path, config: &Path, release: Release) -> anyhow::Result<Self> {
        let unsharded = Unsharded::start(dir, config, release).await?;
        Ok(Self { unsharded, receiver: Unsharded::start_receiver(dir, release).await? })
    }

    /// Waits until both have the same series of these targets and of no others, and say the same of their scrapes.
    async fn until_equal(&self, what: &str, targets: &[&str]) -> anyhow::Result<usize> {
        eventually(what, Duration::from_secs(60), || async {
            let expected = compared(&self.unsharded.url).await?;
            let received = compared(&self.receiver.url).await?;
            let up = expected.keys().filter(|labels| labels["__name__"] == "up");
            let up: BTreeSet<_> = up.map(|labels| labels["instance"].as_str()).collect();
            ensure!(up == targets.iter().copied().collect(), "targets with an `up` are {up:?}");
            for (labels, value) in &expected {
                match received.get(labels) {
                    None => bail!("{labels:?} has not arrived"),
                    Some(other) if other != value => bail!("{labels:?} is {other}, and {value} without shards"),
                    Some(_) => {}
                }
            }
            let more = received.keys().find(|labels| !expected.contains_key(*labels));
            ensure!(more.is_none(), "{more:?} has arrived, and is not there without shards");
            Ok(Some(expected.len()))
        })
        .await
    }
}

async fn compared(url: &str) -> anyhow::Result<BTreeMap<Labels, SampleValue>> {
    let mut series = promql::instant(url, COMPARED).await?;
    for (labels, value) in &mut series {
        if !SAID_OF_SCRAPES.contains(&labels["__name__"].as_str()) {
            value.clear();
        }
    }
    Ok(series)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_write_is_what_an_unsharded_prometheus_has() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(6, 50).await?;
    let addresses = load.addresses();
    dir.write("targets.yml", &discovered(&addresses[..5], "plain"))?;
    let unsharded = dir.write("unsharded.yml", &config("", ""))?;
    let both = Both::start(dir.path(), &unsharded, Release::V3_5).await?;
    let write = format!(
        "remote_write: [{{url: '{}/api/v1/write', queue_config: {{batch_send_deadline: 500ms}}}}]\n",
        both.receiver.url
    );
    let path = dir.write("prometheus.yml", &config("", &write))?;
    let shards = [
        Shard::start_with(
            dir.path(),
            "old",
            &path,
            Release::V2_42,
            &["--prometheus.arg=--enable-feature=agent".into()],
        )?,
        Shard::start_with(dir.path(), "new", &path, Release::V3_5, &["--prometheus.arg=--agent".into()])?,
    ];
    let listed = dir.write("shards.yaml", &list(&[&shards]))?;
    let flags = ["--shard.max-series=200"];
    let settings = Settings::new(dir.path(), &path, Release::V2_42, &flags)?.with_shard_list(listed);
    let coordinator = Coordinator::start(settings).await?;
    let equal =
        both.until_equal("what the agents write is what is scraped without them", &and_nobody(&addresses[..5])).await;
    let series = equal.with_context(|| coordinator.process.output())?;

    dir.write("targets.yml", &discovered(&addresses[1..], "plain"))?;
    both.until_equal("one target is gone and one has come", &and_nobody(&addresses[1..])).await?;

    // Without a head of its own an agent tells how much it has all the same.
    eventually("both agents say how many series they have", Duration::from_secs(30), || async {
        let shards = coordinator.shards().await?;
        let heads: Vec<_> = shards.iter().filter_map(|shard| shard["headSeries"].as_u64()).collect();
        ensure!(heads.len() == 2 && heads.iter().all(|series| *series > 50), "{shards:?}");
        show(format!("{series} series of two agents equal the unsharded server's; the agents have {heads:?}"));
        Ok(Some(()))
    })
    .await
}

/// A vmagent with its sidecar, which does not run it.
struct VmagentShard {
    name: String,
    url: String,
    vmagent_url: String,
    generated: PathBuf,
    sidecar: Process,
    vmagent: Process,
}

impl VmagentShard {
    async fn start(dir: &Path, name: &str, config: &Path, write_url: &str) -> anyhow::Result<Self> {
        let port = free_ports(3)?;
        let store = dir.join(name);
        let (url, vmagent_url) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{}", port + 2));
        let mut sidecar = Command::new(narthex("narthex-sidecar")?);
        sidecar
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--store.path={}", store.display()))
            .arg(format!("--web.api-addr=127.0.0.1:{port}"))
            .arg(format!("--web.proxy-addr=127.0.0.1:{}", port + 1))
            .arg(format!("--prometheus.url={vmagent_url}"))
            .args(["--prometheus.kind=vmagent", "--self-check.interval=2s"]);
        let sidecar = Process::start(name, sidecar, &dir.join(format!("{name}.log")))?;
        let generated = store.join("prometheus.yml");
        eventually("the sidecar has written the config", Duration::from_secs(30), || async {
            Ok(generated.exists().then_some(()))
        })
        .await
        .with_context(|| sidecar.output())?;
        let mut command = Command::new(vmagent()?);
        command
            .arg(format!("-promscrape.config={}", generated.display()))
            .arg("-promscrape.fileSDCheckInterval=1s")
            .arg(format!("-httpListenAddr=127.0.0.1:{}", port + 2))
            .arg(format!("-remoteWrite.url={write_url}"))
            .arg("-remoteWrite.flushInterval=500ms")
            // What arrives must be in order: a Prometheus refuses what is older than what it has.
            .arg("-remoteWrite.queues=1")
            .arg(format!("-remoteWrite.tmpDataPath={}", dir.join(format!("{name}-data")).display()));
        let vmagent = Process::start("vmagent", command, &dir.join(format!("{name}-vmagent.log")))?;
        Ok(Self { name: name.to_owned(), url, vmagent_url, generated, sidecar, vmagent })
    }

    /// A metric of the sidecar, or of the vmagent.
    async fn metric(url: &str, name: &str) -> anyhow::Result<f64> {
        let text = promql::client()?.get(format!("{url}/metrics")).send().await?.text().await?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{url} has no metric {name}"))?.parse()?)
    }

    /// That its sidecar has nothing to complain of in the targets that it scrapes.
    async fn scrapes_what_is_assigned(&self) -> anyhow::Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs_f64();
        eventually("the self-check finds no difference", Duration::from_secs(30), || async {
            let last = Self::metric(&self.url, "narthex_sidecar_self_check_last_timestamp_seconds").await?;
            ensure!(last > now, "the last self-check is of {last}");
            for name in ["missing", "unexpected"] {
                let name = format!("narthex_sidecar_self_check_{name}_targets");
                ensure!(Self::metric(&self.url, &name).await? == 0.0, "{name} is not 0");
            }
            Ok(Some(()))
        })
        .await
        .with_context(|| self.sidecar.output())
    }
}

/// Waits until each shard's error is as it should be; those that there are.
async fn until_errors(coordinator: &Coordinator, what: &str, expected: bool) -> anyhow::Result<Vec<String>> {
    eventually(what, Duration::from_secs(60), || async {
        let shards = coordinator.shards().await?;
        let errors: Vec<_> = shards.iter().filter_map(|shard| shard["error"].as_str()).map(str::to_owned).collect();
        ensure!(errors.len() == if expected { shards.len() } else { 0 }, "{shards:?}");
        Ok(Some(errors))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vmagents_write_is_what_an_unsharded_prometheus_has_and_a_config_they_refuse_is_rolled_back()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(8, 50).await?;
    let addresses = load.addresses();
    // The first is the odd one, which stays.
    let listed = |plain: &[String]| discovered(plain, "plain") + &discovered(&addresses[..1], "odd");
    let all = |plain: &[String]| -> Vec<String> { plain.iter().chain(&addresses[..1]).cloned().collect() };
    dir.write("targets.yml", &listed(&addresses[1..6]))?;
    let path = dir.write("prometheus.yml", &config(FIELDS_OF_3_5, ""))?;
    let unsharded = dir.write("unsharded.yml", &config(FIELDS_OF_3_5, ""))?;
    let both = Both::start(dir.path(), &unsharded, Release::V3_5).await?;
    let write_url = format!("{}/api/v1/write", both.receiver.url);
    let shards = [
        VmagentShard::start(dir.path(), "shard-0", &path, &write_url).await?,
        VmagentShard::start(dir.path(), "shard-1", &path, &write_url).await?,
    ];
    let of_list: Vec<Value> = shards.iter().map(|shard| json!({"id": shard.name, "url": shard.url})).collect();
    let list = dir.write("shards.yaml", &json!({"replicas": [{"shards": of_list}]}).to_string())?;
    let settings = Settings::new(dir.path(), &path, Release::V3_5, &["--shard.max-series=250"])?.with_shard_list(list);
    let coordinator = Coordinator::start(settings).await?;
    let equal = both
        .until_equal("what the vmagents write is what is scraped without them", &and_nobody(&all(&addresses[1..6])))
        .await;
    let series = equal.with_context(|| {
        let said = shards.iter().map(|shard| format!("{}\n{}", shard.sidecar.output(), shard.vmagent.output()));
        format!("{}\n{}", coordinator.process.output(), said.collect::<Vec<_>>().join("\n"))
    })?;
    let spread: BTreeSet<_> = coordinator.placement().await?.into_values().flatten().collect();
    ensure!(spread.len() == 2, "all targets are on {spread:?}");

    dir.write("targets.yml", &listed(&addresses[2..7]))?;
    let changed = all(&addresses[2..7]);
    both.until_equal("one target is gone and one has come", &and_nobody(&changed)).await?;
    for shard in &shards {
        let reloads = VmagentShard::metric(&shard.vmagent_url, "vm_promscrape_config_reloads_total").await?;
        ensure!(reloads == 0.0, "{} was reloaded {reloads} times for its targets", shard.name);
        shard.scrapes_what_is_assigned().await?;
    }

    // A new job, in a config that both refuse.
    let more = |limit: &str| {
        config(
            FIELDS_OF_3_5,
            &format!("- job_name: more\n  static_configs: [{{targets: ['{}']}}]\n{limit}", addresses[7]),
        )
    };
    let before = std::fs::read_to_string(&shards[0].generated)?;
    dir.write("prometheus.yml", &more(REFUSED_BY_VMAGENT))?;
    coordinator.reload().await?.map_err(anyhow::Error::msg)?;
    let errors = until_errors(&coordinator, "both shards say that they do not run the new config", true).await?;
    ensure!(errors.iter().all(|error| error.contains("refused") && error.contains("its log says why")), "{errors:?}");
    ensure!(std::fs::read_to_string(&shards[0].generated)? == before, "the config before is not back in place");
    let good = VmagentShard::metric(&shards[0].vmagent_url, "vm_promscrape_config_last_reload_successful").await?;
    ensure!(good == 1.0, "vmagent was not told to read the config before again");
    both.until_equal("all goes on as before", &and_nobody(&changed)).await?;

    dir.write("prometheus.yml", &more(""))?;
    dir.write("unsharded.yml", &more(""))?;
    both.unsharded.process.signal(rustix::process::Signal::HUP)?;
    coordinator.reload().await?.map_err(anyhow::Error::msg)?;
    until_errors(&coordinator, "both shards run the next config", false).await?;
    both.until_equal("the new job is scraped", &and_nobody(&all(&addresses[2..]))).await?;
    for shard in &shards {
        shard.scrapes_what_is_assigned().await?;
        let said = shard.sidecar.output();
        for complaint in ["version unknown", "fileSDCheckInterval"] {
            ensure!(!said.contains(complaint), "{complaint:?} in {said}");
        }
    }
    show(format!("{series} series of two vmagents equal the unsharded server's; the shards said: {errors:?}"));
    Ok(())
}
