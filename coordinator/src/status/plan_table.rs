//! `narthex-coordinator plan`: the last plan of a running coordinator, or one that is not carried out, as a table.

use anyhow::Context as _;
use comfy_table::{Table, presets};
use serde_json::{Map, Value, json};

use super::{
    PlanView, PreviewView,
    ask::{self, Coordinator},
    plan::{ReplicaPlanView, TargetName, Totals},
    preview::Rest,
    words::grouped,
};
use crate::args::{Output, PlanArgs, PlanCommand, PreviewArgs, ShowPlanArgs};

/// Asks a running coordinator for a plan and prints it.
///
/// # Errors
/// When it does not answer, has no plan yet, or refuses the preview.
pub async fn print(args: &PlanArgs) -> anyhow::Result<()> {
    let text = match &args.command {
        None => {
            let coordinator = Coordinator::of(&args.show.coordinator)?;
            let plan: PlanView = coordinator.get("api/v1/plan", &query(&args.show)).await?;
            match args.show.coordinator.output {
                Output::Json => serde_json::to_string_pretty(&plan)?,
                Output::Table => plan_table(&plan),
            }
        }
        Some(PlanCommand::Preview(preview)) => {
            let coordinator = Coordinator::of(&preview.show.coordinator)?;
            let body = request(preview)?;
            let plan: PreviewView = coordinator.post("api/v1/plan/preview", &query(&preview.show), &body).await?;
            match preview.show.coordinator.output {
                Output::Json => serde_json::to_string_pretty(&plan)?,
                Output::Table => preview_table(&plan),
            }
        }
    };
    ask::print(&text);
    Ok(())
}

fn query(args: &ShowPlanArgs) -> Vec<(&'static str, String)> {
    let ShowPlanArgs { coordinator: _, limit, job, shard, change } = args;
    let all = |name: &'static str, values: &[String]| -> Vec<(&'static str, String)> {
        values.iter().map(|value| (name, value.clone())).collect()
    };
    let mut query = vec![("limit", limit.to_string())];
    query.extend([all("job", job), all("shard", shard), all("change", change)].into_iter().flatten());
    query
}

/// The body of a request for a preview.
fn request(args: &PreviewArgs) -> anyhow::Result<Value> {
    let mut policy: Map<String, Value> = args.policy.iter().cloned().collect();
    if let Some(max_series) = args.max_series {
        policy.insert("max_series".to_owned(), max_series.into());
    }
    let all = args.shards.iter().find(|(replica, _)| replica.is_none());
    let each = args.shards.iter().filter_map(|(replica, number)| Some((replica.clone()?, Value::from(*number))));
    let shards = match all {
        Some((_, number)) if args.shards.len() == 1 => json!(number),
        Some(_) => anyhow::bail!("--shards is either one number or REPLICA=N for each of several replicas"),
        None if args.shards.is_empty() => Value::Null,
        None => Value::Object(each.collect()),
    };
    let config = args.config_file.as_ref().map(|path| {
        std::fs::read_to_string(path).with_context(|| format!("read {} (flag --config.file)", path.display()))
    });
    Ok(json!({"policy": policy, "shards": shards, "config": config.transpose()?, "rounds": args.rounds}))
}

pub(super) fn plan_table(plan: &PlanView) -> String {
    let mut text = format!(
        "The round of {} took {:.3} s, planning {:.3} s.\n",
        plan.at, plan.round_seconds, plan.planning_seconds
    );
    push_replicas(&mut text, plan);
    for error in &plan.errors {
        text.push_str(&format!("{error}\n"));
    }
    text
}

pub(super) fn preview_table(preview: &PreviewView) -> String {
    let mut text =
        format!("The next round would be this one. Planning it took {:.3} s.\n", preview.plan.planning_seconds);
    push_replicas(&mut text, &preview.plan);
    for job in &preview.not_discovered {
        text.push_str(&format!(
            "Nothing is planned for job {job}: what discovers it does not run yet, or has not answered.\n"
        ));
    }
    if let Some(Rest { rounds, at_rest, totals }) = &preview.rest {
        let end = if *at_rest { "until rest" } else { "without coming to rest" };
        text.push_str(&format!("\n{} rounds {end}: {}\n", rounds, summary(totals)));
    }
    text
}

fn push_replicas(text: &mut String, plan: &PlanView) {
    for replica in &plan.replicas {
        text.push_str(&format!("\n{}: {}\n", replica.id, summary(&replica.totals)));
        let rows = rows(replica);
        if !rows.is_empty() {
            let mut table = Table::new();
            table.load_preset(presets::NOTHING);
            table.set_header(["CHANGE", "JOB", "INSTANCE", "WHAT AND WHY"]);
            table.add_rows(rows);
            text.push_str(&table.trim_fmt());
            text.push('\n');
        }
        let matching = replica.matching;
        let listed = [replica.changes.len(), replica.unplaced.len(), replica.oversized.len(), replica.suspects.len()];
        let all = matching.changes + matching.unplaced + matching.oversized + matching.suspects;
        let hidden = all.saturating_sub(listed.iter().sum::<usize>() as u64);
        if hidden > 0 {
            text.push_str(&format!("… and {} more (flag --limit)\n", grouped(hidden)));
        }
    }
}

/// What there is and how much changes, in one line.
fn summary(totals: &Totals) -> String {
    let mut text = format!("{} shards", totals.shards);
    if totals.wanted_shards != totals.shards {
        text.push_str(&format!(" ({} wanted)", totals.wanted_shards));
    }
    text.push_str(&format!(", {} targets", grouped(totals.targets)));
    let changes = totals.changes.iter().map(|(kind, n)| format!(", {kind} {}", grouped(*n)));
    let unplaced = totals.unplaced.iter().map(|(why, n)| format!(", unplaced {} ({why})", grouped(*n)));
    text.extend(changes.chain(unplaced));
    for (n, what) in [(totals.oversized, "oversized"), (totals.suspects, "suspects"), (totals.taken_over, "taken over")]
    {
        if n > 0 {
            text.push_str(&format!(", {what} {}", grouped(n)));
        }
    }
    text
}

fn rows(replica: &ReplicaPlanView) -> Vec<[String; 4]> {
    let row = |kind: &str, TargetName { job, instance, url }: &TargetName, text: &str| {
        let job = job.as_ref().map(ToString::to_string).unwrap_or_default();
        let instance = instance.clone().or_else(|| url.clone()).unwrap_or_default();
        [kind.to_owned(), job, instance, text.to_owned()]
    };
    let changes = replica.changes.iter().map(|view| row(view.change.kind(), &view.name, &view.text));
    let unplaced = replica.unplaced.iter().map(|view| row("unplaced", &view.name, &view.text));
    let oversized = replica.oversized.iter().map(|view| row("oversized", &view.name, &view.text));
    let suspects = replica.suspects.iter().map(|view| row("suspect", &view.name, &view.text));
    changes.chain(unplaced).chain(oversized).chain(suspects).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn requested(flags: &[&str]) -> anyhow::Result<Value> {
        let cli = Cli::try_parse_from(["narthex-coordinator", "plan", "preview"].iter().chain(flags)).unwrap();
        let Some(Command::Plan(args)) = cli.command else { panic!("{flags:?} is no plan") };
        let Some(PlanCommand::Preview(args)) = args.command else { panic!("{flags:?} is no preview") };
        request(&args)
    }

    #[test]
    fn flags_of_a_preview_say_what_differs() {
        let nothing = json!({"policy": {}, "shards": null, "config": null, "rounds": 1});
        assert_eq!(requested(&[]).unwrap(), nothing);
        let flags =
            ["--max-series=600000", "--policy=max_idle_time=null", "--policy=placement=mirrored", "--rounds=20"];
        assert_eq!(
            requested(&flags).unwrap(),
            json!({
                "policy": {"max_series": 600_000, "max_idle_time": null, "placement": "mirrored"},
                "shards": null, "config": null, "rounds": 20,
            })
        );
        assert_eq!(requested(&["--shards=12"]).unwrap()["shards"], 12);
        let each = requested(&["--shards=replica-0=12", "--shards=replica-1=3"]).unwrap();
        assert_eq!(each["shards"], json!({"replica-0": 12, "replica-1": 3}));
        requested(&["--shards=12", "--shards=replica-1=3"]).unwrap_err();
        let error = requested(&["--config.file=/nowhere.yml"]).unwrap_err().to_string();
        assert_eq!(error, "read /nowhere.yml (flag --config.file)");
    }
}
