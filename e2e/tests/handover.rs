//! The hand-over: all targets of a shard move to another one in batches, and back, between two releases of Prometheus.
//! Nobody can tell from the data: no scrape is missing, nothing goes stale, and every query finds every series.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, ensure};
use narthex_e2e::{
    cluster::{Coordinator, Settings, Unsharded, eventually},
    process::{Release, Workdir},
    promql,
    shard_list::{self, Shard},
    show,
    stored::{self, Flaw, Stored},
    targets::Targets,
};

const TARGETS: usize = 200;
const SERIES: u64 = 10;
const INTERVAL: Duration = Duration::from_secs(2);
/// Eight batches in each direction, one a second: some have settled when others begin.
const MOVES_A_ROUND: usize = 25;
/// Room for everything.
const ALL: Option<u64> = Some(1_000_000);
/// Room for nothing.
const NOTHING: Option<u64> = Some(1);

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_targets_move_to_another_prometheus_and_back_without_a_trace() -> anyhow::Result<()> {
    let dir = Workdir::new()?;
    let mut fleet = Fleet::start(&dir).await?;
    let from = now()?;
    tokio::time::sleep(INTERVAL * 2).await;
    let there = fleet.move_all(0, 1).await.with_context(|| fleet.coordinator.process.output())?;
    let back = fleet.move_all(1, 0).await.with_context(|| fleet.coordinator.process.output())?;
    // A loop that ends writes its markers two intervals later.
    tokio::time::sleep(INTERVAL * 4).await;
    let until = now()?;

    let steps = every_step_has_every_series(&dir, &fleet, (from, until)).await;
    let (shards, unsharded) = fleet.stop(until)?;
    let merged = stored::merged(&[&shards[0], &shards[1]]);
    let longest = |stored: &Stored, span: (i64, i64)| stored::longest_distance(stored, span);
    for (direction, moved) in [("2.42 to 3.5", &there), ("3.5 to 2.42", &back)] {
        show(format!(
            "{direction}: {} targets in {} batches and {:?}; longest time between two samples of a series {:?} \
             (unsharded: {:?})",
            moved.targets,
            moved.batches,
            Duration::from_millis(u64::try_from(moved.span.1 - moved.span.0)?),
            longest(&merged, moved.span),
            longest(&unsharded, moved.span),
        ));
    }
    let steps = steps?;
    show(format!("{} steps of {} series each in merged queries", steps.steps, steps.series));

    let names = |stored: &Stored| stored.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&merged), names(&unsharded), "the same series on both sides");
    let mut verdict = Verdict::new(&unsharded, until);
    verdict.hear("scrapes missing", &stored::holes(&merged, INTERVAL, until));
    for (release, shard) in ["2.42", "3.5"].into_iter().zip(&shards) {
        verdict.hear(&format!("scrapes failed on {release}"), &stored::failed_scrapes(shard, INTERVAL));
        verdict.hear(&format!("staleness markers on {release}"), &stored::stale_markers(shard, INTERVAL));
    }
    verdict.pass()?;
    assert_eq!(steps.missing, Vec::<String>::new(), "series that a merged query does not find at each step");
    Ok(())
}

/// Two shards with different releases, a coordinator, and an unsharded server beside them.
struct Fleet {
    // In the order in which they are to go.
    coordinator: Coordinator,
    shards: [Shard; 2],
    unsharded: Unsharded,
    list: PathBuf,
    _targets: Targets,
}

/// How all targets moved from one shard to the other.
struct Moved {
    targets: usize,
    batches: usize,
    /// From when to when, in milliseconds since the epoch.
    span: (i64, i64),
}

impl Fleet {
    /// Starts it and waits until everything is scraped by the first shard, and by the unsharded server.
    async fn start(dir: &Workdir) -> anyhow::Result<Self> {
        let targets = Targets::start(TARGETS, SERIES).await?;
        let addresses = targets.addresses();
        let (some, others) = addresses.split_at(TARGETS / 2);
        let config = dir.write(
            "prometheus.yml",
            &format!(
                "global: {{scrape_interval: 2s, scrape_timeout: 2s}}\nscrape_configs:\n\
                 - {{job_name: some, static_configs: [{{targets: {some:?}}}]}}\n\
                 - {{job_name: others, static_configs: [{{targets: {others:?}}}]}}\n"
            ),
        )?;
        let mut shards = [
            Shard::start(dir.path(), "shard-0", &config, Release::V2_42)?,
            Shard::start(dir.path(), "shard-1", &config, Release::V3_5)?,
        ];
        for (shard, max_series) in shards.iter_mut().zip([ALL, NOTHING]) {
            shard.until_ready().await?;
            shard.max_series = max_series;
        }
        let list = dir.write("shards.yaml", &shard_list::list(&[&shards]))?;
        let unsharded = Unsharded::start(dir.path(), &config, Release::V3_5).await?;
        let moves = format!("--shard.max-moves={MOVES_A_ROUND}");
        let flags = ["--shard.min-shard=2", "--shard.min-stay=0s", &moves];
        let settings = Settings::new(dir.path(), &config, Release::V3_5, &flags)?.with_shard_list(list.clone());
        let coordinator = Coordinator::start(settings).await?;
        let fleet = Self { coordinator, shards, unsharded, list, _targets: targets };
        for url in [&fleet.shards[0].prometheus_url, &fleet.unsharded.url] {
            eventually(&format!("{url} scrapes every target"), Duration::from_secs(60), || async {
                Ok((promql::number(url, "sum(up)").await? == Some(TARGETS as f64)).then_some(()))
            })
            .await
            .with_context(|| fleet.coordinator.process.output())?;
        }
        Ok(fleet)
    }

    /// Leaves one shard no room, so that the other takes all, and waits until none is left where it was.
    async fn move_all(&mut self, from: usize, to: usize) -> anyhow::Result<Moved> {
        let began = now()?;
        self.shards[from].max_series = NOTHING;
        self.shards[to].max_series = ALL;
        std::fs::write(&self.list, shard_list::list(&[&self.shards]))?;
        let destination = &self.shards[to].name;
        let what = format!("{destination} has every target, and alone");
        eventually(&what, Duration::from_secs(90), || async {
            let placement = self.coordinator.placement().await?;
            let moved = placement.values().filter(|on| **on == [destination.as_str()]).count();
            let left = self.shards[from].targets().await?.len();
            ensure!(moved == TARGETS && left == 0, "{moved} are there, {left} on {} yet", self.shards[from].name);
            Ok(Some(()))
        })
        .await?;
        let span = (began, now()?);
        let mut batches = BTreeMap::<String, usize>::new();
        for moved in self.moves_to(destination, began).await? {
            *batches.entry(moved).or_default() += 1;
        }
        Ok(Moved { targets: batches.values().sum(), batches: batches.len(), span })
    }

    /// When the coordinator began to move targets to a shard.
    async fn moves_to(&self, shard: &str, since: i64) -> anyhow::Result<Vec<String>> {
        let mut moves = Vec::new();
        for target in self.coordinator.active_targets().await? {
            let path = format!("api/v1/targets/{}/history", target["id"].as_str().context("an id")?);
            let told = promql::ask(&self.coordinator.url, &path, &[]).await?;
            let newest = told["history"].as_array().context("a history")?.iter().take(2).collect::<Vec<_>>();
            let changes = newest.iter().map(|change| change["change"].as_str()).collect::<Vec<_>>();
            ensure!(changes == [Some("settle"), Some("move")], "a target took a way of its own: {told}");
            ensure!(newest[1]["to_shard"] == shard, "it moved elsewhere since {since}: {told}");
            moves.push(newest[1]["at"].as_str().context("a time")?.to_owned());
        }
        Ok(moves)
    }

    /// Ends everything. What was written until some moment by the two shards, and by the unsharded server.
    fn stop(self, until: i64) -> anyhow::Result<([Stored; 2], Stored)> {
        let Self { coordinator, mut shards, unsharded, .. } = self;
        drop(coordinator);
        let [one, other] = &mut shards;
        let read = |shard: &mut Shard| stored::read(&shard.stop()?, until);
        Ok(([read(one)?, read(other)?], stored::read(&unsharded.stop()?, until)?))
    }
}

/// What merged queries found.
struct Steps {
    steps: usize,
    series: usize,
    /// What is not there at every step.
    missing: Vec<String>,
}

/// Asks a stock Prometheus that reads from both shards for every series, at every second of a span.
async fn every_step_has_every_series(dir: &Workdir, fleet: &Fleet, span: (i64, i64)) -> anyhow::Result<Steps> {
    let read = |shard: &Shard| format!("- {{url: '{}/api/v1/read', read_recent: true}}\n", shard.prometheus_url);
    let config = format!("remote_read:\n{}{}", read(&fleet.shards[0]), read(&fleet.shards[1]));
    let config = dir.write("global.yml", &config)?;
    let global_dir = dir.path().join("global");
    std::fs::create_dir(&global_dir)?;
    let global = Unsharded::start(&global_dir, &config, Release::V3_5).await?;
    let (start, end) = (span.0.div_euclid(1000) + 1, span.1.div_euclid(1000));
    let steps = usize::try_from(end - start + 1)?;
    let (start, end) = (start.to_string(), end.to_string());
    let names = promql::ask(&fleet.unsharded.url, "api/v1/label/__name__/values", &[]).await?;
    let mut found = Steps { steps, series: 0, missing: Vec::new() };
    for name in names.as_array().context("a list of names")?.iter().filter_map(|name| name.as_str()) {
        let query = [("query", name), ("start", start.as_str()), ("end", end.as_str()), ("step", "1")];
        let mut series_of = BTreeMap::new();
        for url in [&global.url, &fleet.unsharded.url] {
            let answer = promql::ask(url, "api/v1/query_range", &query).await?;
            let series = answer["result"].as_array().context("a matrix")?;
            let with_steps =
                series.iter().map(|one| (one["metric"].to_string(), one["values"].as_array().map(Vec::len)));
            series_of.insert(url, with_steps.collect::<BTreeMap<_, _>>());
        }
        let of = |url| series_of.get(url).cloned().unwrap_or_default();
        let (merged, expected) = (of(&global.url), of(&fleet.unsharded.url));
        let all: BTreeSet<&String> = merged.keys().chain(expected.keys()).collect();
        found.series += all.len();
        let at = |side: &BTreeMap<String, Option<usize>>, series| side.get(series).copied().flatten().unwrap_or(0);
        for series in all {
            if at(&merged, series) != steps {
                found.missing.push(format!(
                    "{series}: {} of {steps} steps (unsharded: {})",
                    at(&merged, series),
                    at(&expected, series)
                ));
            }
        }
    }
    Ok(found)
}

/// What is wrong with the shards' data, but for the moments when the machine was too slow even for the unsharded server:
/// what is wrong then says nothing.
struct Verdict<'a> {
    hiccups: Vec<Flaw<'a>>,
    samples: usize,
    against: Vec<String>,
}

impl<'a> Verdict<'a> {
    fn new(unsharded: &'a Stored, until: i64) -> Self {
        let mut hiccups = stored::delays(unsharded, INTERVAL, until);
        hiccups.extend(stored::failed_scrapes(unsharded, INTERVAL));
        let samples = unsharded.values().map(|moments| moments.samples.len()).sum();
        show(format!(
            "unsharded: {samples} samples of {} series; {} of them late or failed",
            unsharded.len(),
            hiccups.len()
        ));
        Self { hiccups, samples, against: Vec::new() }
    }

    fn hear(&mut self, what: &str, flaws: &[Flaw<'_>]) {
        let excused = |flaw: &&Flaw<'_>| self.hiccups.iter().any(|hiccup| hiccup.overlaps(flaw));
        let (excused, ours): (Vec<&Flaw<'_>>, Vec<_>) = flaws.iter().partition(excused);
        show(format!("{what}: {} (and {} when the machine was too slow)", ours.len(), excused.len()));
        if let Some(first) = ours.first() {
            self.against.push(format!("{what}: {}, the first: {first:?}", ours.len()));
        }
    }

    fn pass(self) -> anyhow::Result<()> {
        assert!(self.against.is_empty(), "{}", self.against.join("\n"));
        ensure!(self.hiccups.len() * 10 <= self.samples, "the machine is too slow for this test");
        Ok(())
    }
}

/// Milliseconds since the epoch.
fn now() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
