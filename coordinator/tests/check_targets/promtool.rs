//! `promtool check service-discovery` of a real promtool 2.42.

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use narthex_common::labels::Labels;
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    golden::Golden,
    oracle::{Job, job_names, named},
};

/// How long promtool waits for discovery: all of it, whatever has come.
const PATIENCE: &str = "--timeout=3s";

/// A promtool.
pub(crate) struct Promtool(PathBuf);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said {
    discovered_labels: Labels,
    labels: Labels,
    /// Go's error, which has no JSON of its own.
    error: Option<serde_json::Value>,
}

impl Promtool {
    /// The one beside `$PROMETHEUS_2_42`, or on PATH when it is a 2.42.
    pub(crate) fn at_hand() -> Option<Self> {
        let named = named("PROMETHEUS_2_42").map(|path| path.with_file_name("promtool"));
        let program = named.unwrap_or_else(|| "promtool".into());
        let version = std::process::Command::new(&program).arg("--version").output().ok();
        let is_2_42 = version.is_some_and(|said| {
            let said = [said.stdout, said.stderr].concat();
            String::from_utf8_lossy(&said).contains("version 2.42")
        });
        if !is_2_42 {
            println!("note: no promtool 2.42 at hand; what it says is not asked for again");
        }
        is_2_42.then_some(Self(program))
    }

    /// What it says of every job of a config, or why it refuses the config.
    pub(crate) async fn says(&self, config: &Path) -> Result<BTreeMap<String, Job>, String> {
        // It waits for each job, so they are asked at once.
        let asked: Vec<_> = job_names(config)
            .map_err(|refusal| refusal.to_string())?
            .into_iter()
            .map(|name| {
                let mut command = Command::new(&self.0);
                command.args(["check", "service-discovery", PATIENCE]).arg(config).arg(&name);
                (name, tokio::spawn(async move { command.output().await.unwrap() }))
            })
            .collect();
        let mut jobs = BTreeMap::new();
        for (name, output) in asked {
            let output = output.await.unwrap();
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            }
            let said: Vec<Said> = serde_json::from_slice(&output.stdout).unwrap();
            jobs.insert(name, job(said));
        }
        Ok(jobs)
    }
}

fn job(said: Vec<Said>) -> Job {
    let has_errors = said.iter().any(|one| one.error.is_some());
    let label_sets = said.into_iter().filter(|one| one.error.is_none());
    let label_sets = label_sets.map(|one| Golden {
        discovered_labels: one.discovered_labels,
        // `__param_match[]`, which a 2.42 takes from `params` and from nowhere else: it stays there.
        labels: one.labels.iter().filter(|(name, _)| !name.ends_with("[]")).collect(),
    });
    Job::new(label_sets.collect(), has_errors)
}
