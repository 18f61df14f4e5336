//! What a running coordinator decided can be decided again: its saved rounds replay in the simulator.

use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use narthex_e2e::{
    cluster::{Coordinator, Settings, eventually},
    process::{Release, Workdir, narthex},
    promql, show,
    targets::Targets,
};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn the_saved_rounds_of_a_running_fleet_replay_to_the_same_plans() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let load = Targets::start(6, 1000).await?;
    let addresses = load.addresses();
    let config = dir.write(
        "prometheus.yml",
        &format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: load\n    static_configs:\n      - targets: {addresses:?}\n"
        ),
    )?;
    let flags = ["--shard.max-series=3000", "--shard.max-idle-time=1h"];
    let coordinator = Coordinator::start(Settings::new(dir.path(), &config, Release::V2_42, &flags)?).await?;

    let rounds = rounds_until_all_are_placed(&coordinator).await?;
    let kinds = kinds_of_changes(&rounds);
    show(format!("{} rounds saved, with these changes: {kinds:?}", rounds.len()));
    assert!(kinds.get("place") >= Some(&6) && kinds.contains_key("scale"), "{kinds:?}");
    for (number, round) in rounds.iter().enumerate() {
        let file = dir.write(&format!("round-{number}.json"), &round.to_string())?;
        let simulated =
            Command::new(narthex("narthex-coordinator")?).args(["simulate", "--round"]).arg(&file).output()?;
        let said = String::from_utf8_lossy(&simulated.stdout);
        let complained = String::from_utf8_lossy(&simulated.stderr);
        assert!(simulated.status.success(), "round {number}: {said}{complained}");
        assert_eq!(said, "the plan is the same\n");
    }

    let mut forged = rounds.last().context("there are rounds")?.clone();
    forged["plan"]["replicas"] = Value::Object(serde_json::Map::new());
    let file = dir.write("forged.json", &forged.to_string())?;
    let simulated = Command::new(narthex("narthex-coordinator")?).args(["simulate", "--round"]).arg(&file).output()?;
    assert_eq!(simulated.status.code(), Some(1), "another plan is told from the same one");
    Ok(())
}

/// Saves every round that differs from the one before, until six targets have been scraped three times.
async fn rounds_until_all_are_placed(coordinator: &Coordinator) -> anyhow::Result<Vec<Value>> {
    let rounds = Mutex::new(Vec::<Value>::new());
    let url = format!("{}/debug/round", coordinator.url);
    eventually("six targets are placed on shards of 3000 series", Duration::from_secs(90), || async {
        // Before the first round there is none.
        let answer = promql::client()?.get(&url).send().await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        let round: Value = answer.json().await?;
        let settled = scraped_three_times(&round) == 6;
        let mut rounds = rounds.lock().unwrap_or_else(PoisonError::into_inner);
        if rounds.last().is_none_or(|last| last["world"]["now"] != round["world"]["now"]) {
            rounds.push(round);
        }
        Ok(settled.then_some(()))
    })
    .await
    .with_context(|| coordinator.process.output())?;
    Ok(rounds.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn scraped_three_times(round: &Value) -> usize {
    let shards = round["world"]["replicas"][0]["shards"].as_object().into_iter().flat_map(serde_json::Map::values);
    let targets = shards.filter_map(|shard| shard["report"]["fresh"]["targets"].as_object());
    targets.flat_map(serde_json::Map::values).filter(|target| target["scrapes"] == 3).count()
}

fn kinds_of_changes(rounds: &[Value]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    let replicas = rounds.iter().filter_map(|round| round["plan"]["replicas"].as_object());
    for change in replicas.flat_map(|r| r.values()).filter_map(|r| r["changes"].as_array()).flatten() {
        *kinds.entry(change["change"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    kinds
}
