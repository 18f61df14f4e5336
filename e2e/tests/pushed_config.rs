//! Sidecars without a config file of their own: the coordinator gives them its config; one whose Prometheus refuses a
//! new one goes on with the last good one and holds up nobody else.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir},
    shard_list::{Shard, list},
    show,
    targets::Targets,
};
use serde_json::Value;

/// A field that Prometheus 2.42 does not know.
const NEW_FIELD: &str = "  fallback_scrape_protocol: PrometheusText0.0.4\n";

fn config(jobs: &[(&str, &[String], &str)]) -> String {
    let jobs = jobs.iter().map(|(name, targets, more)| {
        format!("- job_name: {name}\n  static_configs: [{{targets: {targets:?}}}]\n{more}")
    });
    format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n{}", jobs.collect::<String>())
}

struct Rig {
    shards: Vec<Shard>,
    coordinator: Coordinator,
}

impl Rig {
    /// How many targets of each shard are up.
    async fn until_up(&self, what: &str, expected: [usize; 2]) -> anyhow::Result<()> {
        eventually(what, Duration::from_secs(60), || async {
            let mut up = Vec::new();
            for shard in &self.shards {
                up.push(shard.targets().await?.values().filter(|health| *health == "up").count());
            }
            ensure!(up == expected, "{up:?} targets are up");
            Ok(Some(()))
        })
        .await
        .with_context(|| self.coordinator.process.output())
    }

    async fn error_of(&self, shard: &str) -> anyhow::Result<Option<String>> {
        let shards = self.coordinator.shards().await?;
        let named = shards.iter().find(|view| view["id"] == shard);
        let named = named.with_context(|| format!("{shard} among {shards:?}"))?;
        Ok(named["error"].as_str().map(str::to_owned))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_without_a_file_run_the_coordinators_config_and_one_that_refuses_it_holds_up_nobody()
-> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let first = Targets::start(4, 50).await?;
    let second = Targets::start(2, 50).await?;
    let path = dir.write("prometheus.yml", &config(&[("first", &first.addresses(), "")]))?;
    let shards = vec![
        Shard::start(dir.path(), "old", Path::new(""), Release::V2_42)?,
        Shard::start(dir.path(), "new", Path::new(""), Release::V3_5)?,
    ];
    let listed = dir.write("shards.yaml", &list(&[shards.as_slice()]))?;
    let settings = Settings::new(dir.path(), &path, Release::V3_5, &[])?.with_shard_list(listed);
    let mut rig = Rig { shards, coordinator: Coordinator::start(settings).await? };
    rig.until_up("both shards run the first config", [2, 2]).await?;

    // Only the newer one can run this.
    let addresses = (first.addresses(), second.addresses());
    dir.write("prometheus.yml", &config(&[("first", &addresses.0, ""), ("second", &addresses.1, NEW_FIELD)]))?;
    rig.coordinator.reload().await?.map_err(anyhow::Error::msg)?;
    rig.until_up("the new targets are on the shard that runs the new config", [2, 4]).await?;
    let error = eventually("the coordinator says why the other does not", Duration::from_secs(30), || async {
        rig.error_of("old").await
    })
    .await?;
    ensure!(error.contains("fallback_scrape_protocol"), "{error}");
    show(format!("Prometheus 2.42 goes on with the config before; the coordinator says: {error}"));

    // It starts again with what it has, though the coordinator has only what it refuses.
    rig.shards[0].die().await?;
    rig.shards[0].start_again()?;
    rig.until_up("the old shard is back with its targets", [2, 4]).await?;

    dir.write("prometheus.yml", &config(&[("first", &addresses.0, ""), ("second", &addresses.1, "")]))?;
    rig.coordinator.reload().await?.map_err(anyhow::Error::msg)?;
    eventually("both shards run the third config", Duration::from_secs(60), || async {
        let shards = rig.coordinator.shards().await?;
        let is_fine = |view: &Value| view["error"].is_null();
        ensure!(shards.iter().all(is_fine), "{shards:?}");
        Ok(Some(()))
    })
    .await?;
    rig.until_up("nobody has lost a target", [2, 4]).await
}
