use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use narthex_common::{
    assignment::{Revision, TargetState},
    config::{Config, Files},
    fingerprint::Fingerprint,
    job::JobName,
    load::{Load, Series},
    report::ConfigFrom,
    semantics::PrometheusVersion,
    shard::Ordinal,
    target::{Target, TargetId},
    target_limit::TargetLimitExceeded,
    time::Timestamp,
};
use narthex_planner::{ReplicaPlan, ShardPlan, plan::PlannedTarget, world::Seen};

use super::*;
use crate::{
    discover::{ActiveTarget, Discovered, JobTargets},
    observe::{
        Observer, ShardClient,
        fake::{Asked, FakeShard, Fleet, Link},
    },
    probe::Probed,
    round,
};

const CONFIG: Fingerprint = Fingerprint(7);
const NOW: Timestamp = Timestamp(1_000);
const LIGHT: Load = Load { exposed: Series(120), kept: Series(100) };
const HEAVY: Load = Load { exposed: Series(9_000), kept: Series(8_000) };

/// A coordinator whose plans are written by hand.
struct Coordinator {
    fleet: Arc<Fleet>,
    observer: Observer,
    teller: Teller,
    discovered: Discovered,
    reloads: Reloads,
}

struct OnlyFile(&'static str);

impl Files for OnlyFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![])
    }
}

fn target(instance: &str) -> Target {
    let labels = [("instance", instance)].into_iter().collect();
    Target::new("node".into(), labels, format!("http://{instance}/metrics"))
}

fn id(instance: &str) -> TargetId {
    target(instance).id
}

fn listed(instances: &[&str]) -> Discovered {
    let active = instances.iter().map(|instance| {
        let target = Arc::new(target(instance));
        (target.id, ActiveTarget { target, discovered_labels: [("__address__", *instance)].into_iter().collect() })
    });
    let job = JobTargets { discovered: true, active: active.collect(), ..JobTargets::default() };
    let config = config("scrape_configs: [{job_name: node, target_limit: 7}]");
    Discovered { config, jobs: BTreeMap::from([(JobName::from("node"), Arc::new(job))]) }
}

fn config(text: &'static str) -> Arc<Config> {
    Arc::new(Config::load(Path::new("prometheus.yml"), &OnlyFile(text), PrometheusVersion::V2_42).unwrap())
}

/// What every shard is to hold: targets with their states.
type Wanted<'a> = [&'a [(&'a str, TargetState)]];

/// The loads that plans are made with.
fn planned_load(instance: &str) -> Load {
    if instance == "a" { HEAVY } else { LIGHT }
}

/// The plan that leads from what was observed to what is wanted.
fn plan(observed: &Observed, wanted: &Wanted<'_>) -> Plan {
    let mut plan = ReplicaPlan { wanted_shards: u32::try_from(wanted.len()).unwrap(), ..ReplicaPlan::default() };
    for (ordinal, wanted) in (0..).map(Ordinal).zip(wanted) {
        let shard = observed.replicas[0].shards.get(ordinal.0 as usize);
        let Some(Seen::Fresh(state)) = shard.map(|shard| &shard.seen) else { continue };
        let wanted: BTreeMap<_, _> =
            wanted.iter().map(|&(instance, state)| (id(instance), (instance, state))).collect();
        let has = |id: &TargetId| state.assignment.targets.get(id).map(|assigned| assigned.state);
        let put = wanted.iter().filter(|(id, (_, to))| has(id) != Some(*to));
        let shard_plan = ShardPlan {
            put: put.map(|(&id, &(name, state))| (id, PlannedTarget { state, load: planned_load(name) })).collect(),
            remove: state.assignment.targets.keys().filter(|id| !wanted.contains_key(id)).copied().collect(),
        };
        if !shard_plan.is_empty() {
            plan.shards.insert(ordinal, shard_plan);
        }
    }
    Plan { replicas: BTreeMap::from([(Fleet::replica_id(), plan)]) }
}

impl Coordinator {
    fn new(fleet: &Arc<Fleet>, instances: &[&str]) -> Self {
        let observer = Observer::new(Arc::clone(fleet) as Arc<dyn ShardClient>, Duration::from_secs(5));
        let teller = Teller::new(Arc::clone(fleet) as Arc<dyn ShardClient>, Duration::from_secs(5));
        Self { fleet: Arc::clone(fleet), observer, teller, discovered: listed(instances), reloads: Reloads::default() }
    }

    async fn look(&mut self) -> Observed {
        let replicas = self.fleet.replicas().await.unwrap();
        self.observer.observe(replicas, NOW).await
    }

    /// One whole round; what the fleet was asked while applying.
    async fn round(&mut self, wanted: &Wanted<'_>) -> (Applied, Asked) {
        let observed = self.look().await;
        self.apply(&observed, wanted).await
    }

    async fn apply(&mut self, observed: &Observed, wanted: &Wanted<'_>) -> (Applied, Asked) {
        self.fleet.asked();
        let plan = plan(observed, wanted);
        let changes = self.changes(observed, &plan, CONFIG);
        let reloads = self.reloads.due(observed, CONFIG, NOW);
        let sources = &self.discovered.config.sources;
        let applied = apply(&mut self.teller, &*self.fleet, observed, &plan, &reloads, sources, changes).await;
        self.observer.expect(&applied);
        (applied, self.fleet.asked())
    }

    /// From now on job `node` has so many targets, if that is too many.
    fn exceed(&mut self, targets: Option<u64>, discovered: bool) {
        let job = JobName::from("node");
        let mut found = JobTargets::clone(&self.discovered.jobs[&job]);
        found.exceeded_target_limit = targets.map(|targets| TargetLimitExceeded { targets, limit: 7 });
        found.discovered = discovered;
        self.discovered.jobs.insert(job, Arc::new(found));
    }

    fn changes(&self, observed: &Observed, plan: &Plan, config: Fingerprint) -> Vec<ShardChange> {
        let world = round::world(NOW, &self.discovered, &Probed::new(), Vec::new());
        changes(observed, &world, plan, config, &self.discovered)
    }
}

use TargetState::{InTransfer, Normal};

#[tokio::test]
async fn what_is_applied_and_observed_is_not_applied_again() {
    let fleet = Fleet::new(2, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a", "b", "c"]);
    let wanted: &Wanted<'_> = &[&[("a", Normal), ("b", Normal)], &[("c", Normal)]];
    let (applied, asked) = coordinator.round(wanted).await;
    assert_eq!((applied.errors.as_slice(), asked.puts), ([].as_slice(), 2));
    let assigned = |s: &mut FakeShard| {
        s.assignment.targets.values().map(|t| (t.target.id, (t.load, t.since))).collect::<BTreeMap<_, _>>()
    };
    let expected = [("a", HEAVY), ("b", LIGHT)].map(|(name, load)| (id(name), (Some(load), Some(NOW))));
    assert_eq!(fleet.with_shard(0, assigned), BTreeMap::from(expected), "with the load it was planned with, since now");

    fleet.scrape_all(|_| LIGHT);
    let observed = coordinator.look().await;
    assert_eq!(fleet.asked().assignments, 0, "what a shard has taken is known when it says so");
    let nothing = plan(&observed, wanted);
    assert_eq!(coordinator.changes(&observed, &nothing, CONFIG), [], "a load that changes alone is no change");
}

#[tokio::test]
async fn a_round_that_changes_three_targets_of_many_tells_three() {
    let fleet = Fleet::new(3, CONFIG);
    let names: Vec<String> = (0..300).map(|n| format!("host-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut coordinator = Coordinator::new(&fleet, &[&names[..], &["a"]].concat());
    let mut wanted: Vec<Vec<_>> =
        names.chunks(100).map(|names| names.iter().map(|name| (*name, Normal)).collect()).collect();
    coordinator.round(&wanted.iter().map(Vec::as_slice).collect::<Vec<_>>()).await;
    wanted[0][7].1 = InTransfer;
    let moved = wanted[0][7].0;
    wanted[1].push((moved, Normal));
    wanted[1].push(("a", Normal));
    let observed = coordinator.look().await;
    let plan = plan(&observed, &wanted.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let told = coordinator.changes(&observed, &plan, CONFIG);
    let told: Vec<_> = told.iter().map(|c| (c.address.ordinal.0, c.update.put.len(), c.update.remove.len())).collect();
    assert_eq!(told, [(0, 1, 0), (1, 2, 0)]);
}

#[tokio::test]
async fn a_move_tells_source_and_destination_in_one_round() {
    let fleet = Fleet::new(2, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a"]);
    coordinator.round(&[&[("a", Normal)], &[]]).await;
    coordinator.round(&[&[("a", InTransfer)], &[("a", Normal)]]).await;
    assert_eq!(fleet.with_shard(0, |s| s.target_states()), BTreeMap::from([(id("a"), InTransfer)]));
    assert_eq!(fleet.with_shard(1, |s| s.target_states()), BTreeMap::from([(id("a"), Normal)]));

    let (_, asked) = coordinator.round(&[&[], &[("a", Normal)]]).await;
    assert_eq!(asked.puts, 1);
    assert_eq!(fleet.with_shard(0, |s| (s.assignment.revision, s.assignment.targets.len())), (Revision(3), 0));
}

#[tokio::test]
async fn a_target_that_settled_elsewhere_is_handed_over_and_one_that_discovery_dropped_is_not() {
    let fleet = Fleet::new(2, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a", "b"]);
    coordinator.round(&[&[("a", InTransfer), ("b", Normal)], &[("a", Normal), ("b", Normal)]]).await;
    coordinator.discovered = listed(&["a"]);
    let observed = coordinator.look().await;
    let leaving = |wanted: &Wanted<'_>| {
        let told = coordinator.changes(&observed, &plan(&observed, wanted), CONFIG);
        told.into_iter().map(|change| (change.update.remove, change.update.handed_over)).collect::<Vec<_>>()
    };
    let mut both = vec![id("a"), id("b")];
    both.sort();
    assert_eq!(leaving(&[&[], &[("a", Normal), ("b", Normal)]]), [(both.clone(), vec![id("a")])]);
    assert_eq!(leaving(&[&[], &[]]), [(both.clone(), vec![]), (both, vec![])], "what leaves every shard goes nowhere");
}

#[tokio::test]
async fn a_target_of_a_job_that_is_not_discovered_yet_keeps_its_body() {
    let fleet = Fleet::new(2, CONFIG);
    Coordinator::new(&fleet, &["a", "b"]).round(&[&[("a", Normal), ("b", Normal)], &[]]).await;
    let mut restarted = Coordinator::new(&fleet, &[]);
    restarted.round(&[&[("a", Normal)], &[("b", Normal)]]).await;
    assert_eq!(fleet.with_shard(1, |s| s.assignment.targets[&id("b")].target.clone()), target("b"));
}

/// The limits that a shard was told are exceeded, as numbers of targets.
fn exceeded(fleet: &Fleet, shard: u32) -> Vec<u64> {
    fleet.with_shard(shard, |s| s.assignment.exceeded_target_limits.values().map(|exceeded| exceeded.targets).collect())
}

#[tokio::test]
async fn shards_with_targets_are_told_which_jobs_have_too_many_even_when_nothing_else_changes() {
    let fleet = Fleet::new(2, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a"]);
    let wanted: &Wanted<'_> = &[&[("a", Normal)], &[]];
    coordinator.round(wanted).await;
    for (told, puts) in [(Some(8), 1), (Some(8), 0), (Some(9), 1), (None, 1), (None, 0)] {
        coordinator.exceed(told, true);
        let (_, asked) = coordinator.round(wanted).await;
        assert_eq!((asked.puts, exceeded(&fleet, 0), exceeded(&fleet, 1)), (puts, told.into_iter().collect(), vec![]));
    }
}

#[tokio::test]
async fn what_was_too_many_is_so_until_the_job_is_discovered_or_allows_more() {
    let fleet = Fleet::new(1, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a"]);
    coordinator.exceed(Some(8), true);
    let wanted: &Wanted<'_> = &[&[("a", Normal)]];
    coordinator.round(wanted).await;

    let mut restarted = Coordinator::new(&fleet, &["a"]);
    restarted.exceed(None, false);
    assert_eq!((restarted.round(wanted).await.1.puts, exceeded(&fleet, 0)), (0, vec![8]));
    restarted.discovered.config = config("scrape_configs: [{job_name: node, target_limit: 8}]");
    assert_eq!((restarted.round(wanted).await.1.puts, exceeded(&fleet, 0)), (1, vec![]));
}

#[tokio::test]
async fn a_shard_that_changed_meanwhile_refuses_and_the_next_round_sees_why() {
    let fleet = Fleet::new(1, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &["a", "b"]);
    let observed = coordinator.look().await;
    Coordinator::new(&fleet, &["b"]).round(&[&[("b", Normal)]]).await;
    let (applied, _) = coordinator.apply(&observed, &[&[("a", Normal)]]).await;
    assert_eq!(
        applied.errors,
        ["assign targets to shard-0 of replica-0, which has changed since it was asked: the update starts from \
          revision 0, the shard has 1; looking again next round"]
    );
    assert!(applied.taken.is_empty());
    coordinator.round(&[&[("a", Normal)]]).await;
    assert_eq!(fleet.with_shard(0, |s| s.target_states()), BTreeMap::from([(id("a"), Normal)]));
}

#[tokio::test]
async fn a_shard_with_another_config_is_told_nothing_but_to_reload() {
    let fleet = Fleet::new(2, CONFIG);
    fleet.with_shard(1, |shard| shard.config = Fingerprint(8));
    let mut coordinator = Coordinator::new(&fleet, &["a", "b"]);
    let wanted: &Wanted<'_> = &[&[("a", Normal)], &[("b", Normal)]];
    let (_, asked) = coordinator.round(wanted).await;
    assert_eq!((asked.puts, asked.reloads), (1, 1));
    let (_, asked) = coordinator.round(wanted).await;
    assert_eq!((asked.puts, asked.reloads), (1, 0), "it has reloaded, and is told now");
}

#[tokio::test]
async fn a_shard_without_a_file_of_its_own_is_given_the_config() {
    let fleet = Fleet::new(1, CONFIG);
    fleet.with_shard(0, |shard| (shard.config, shard.config_from) = (Fingerprint(8), ConfigFrom::Coordinator));
    let mut coordinator = Coordinator::new(&fleet, &["a"]);
    let wanted: &Wanted<'_> = &[&[("a", Normal)]];
    let (_, asked) = coordinator.round(wanted).await;
    assert_eq!((asked.puts, asked.reloads, asked.configs), (0, 0, 1));
    let (_, asked) = coordinator.round(wanted).await;
    assert_eq!((asked.puts, asked.reloads, asked.configs), (1, 0, 0), "it runs it, and is told now");
}

#[tokio::test]
async fn a_shard_that_stays_with_another_config_is_told_again_with_growing_pauses() {
    let fleet = Fleet::new(1, CONFIG);
    fleet.with_shard(0, |shard| shard.config = Fingerprint(8));
    let observed = Coordinator::new(&fleet, &[]).look().await;
    let mut reloads = Reloads::default();
    let mut told_at = |config: Fingerprint| -> Vec<i64> {
        let seconds = 0..=60;
        seconds.filter(|s| !reloads.due(&observed, config, Timestamp(s * 1000)).is_empty()).collect()
    };
    assert_eq!(told_at(CONFIG), [0, 5, 15, 35]);
    assert_eq!(told_at(Fingerprint(9)), [0, 5, 15, 35], "a new config is told at once");
    assert!(told_at(Fingerprint(8)).is_empty(), "it runs that one");
}

#[tokio::test]
async fn a_new_config_reaches_shards_that_scrape_and_leaves_empty_ones_alone() {
    let old = Fingerprint(6);
    let fleet = Fleet::new(2, old);
    let mut coordinator = Coordinator::new(&fleet, &["a"]);
    let wanted: &Wanted<'_> = &[&[("a", Normal)], &[]];
    let observed = coordinator.look().await;
    let first = plan(&observed, wanted);
    let changes = coordinator.changes(&observed, &first, old);
    apply(
        &mut coordinator.teller,
        &*fleet,
        &observed,
        &first,
        &BTreeSet::new(),
        &coordinator.discovered.config.sources,
        changes,
    )
    .await;

    fleet.set_config(CONFIG);
    coordinator.round(wanted).await;
    let (_, asked) = coordinator.round(wanted).await;
    assert_eq!(asked.puts, 1);
    assert_eq!(fleet.with_shard(0, |s| (s.assignment.config, s.assignment.targets.len())), (CONFIG, 1));
}

#[tokio::test]
async fn a_silent_shard_is_told_nothing_and_the_others_are() {
    let fleet = Fleet::new(2, CONFIG);
    fleet.with_shard(0, |shard| shard.link = Link::Refused);
    let mut coordinator = Coordinator::new(&fleet, &["a", "b"]);
    let (applied, asked) = coordinator.round(&[&[("a", Normal)], &[("b", Normal)]]).await;
    assert_eq!((asked.puts, applied.taken.len(), applied.errors.len()), (1, 1, 0));
}

#[tokio::test]
async fn the_number_of_shards_is_asked_for_once_and_only_where_it_can_change() {
    let fleet = Fleet::new(1, CONFIG);
    let mut coordinator = Coordinator::new(&fleet, &[]);
    assert_eq!(coordinator.round(&[&[], &[], &[]]).await.1.scales, 1);
    assert_eq!(coordinator.round(&[&[], &[], &[]]).await.1.scales, 0);
    fleet.set_scalable(false);
    assert_eq!(coordinator.round(&[&[]]).await.1.scales, 0);
}
