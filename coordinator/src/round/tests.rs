use std::{collections::BTreeMap, io, path::Path, time::Duration};

use narthex_common::{
    config::{Config, Files},
    labels::Labels,
    load::{Load, Series},
    semantics::PrometheusVersion,
    target::Target,
};
use narthex_planner::{Policy, policy::Settings, world::TargetMap};

use super::*;
use crate::{
    discover::{ActiveTarget, JobTargets},
    observe::fake::{Fleet, Link},
};

pub(super) struct EmptyConfig;

impl Files for EmptyConfig {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok("global: {}".into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<std::path::PathBuf>> {
        Ok(vec![])
    }
}

/// Rounds over a fleet of two shards that run the coordinator's config.
fn two_shards() -> (Arc<Fleet>, Rounds, Arc<Discovered>) {
    let config = Config::load(Path::new("/prometheus.yml"), &EmptyConfig, PrometheusVersion::V3_5).unwrap();
    let fleet = Fleet::new(2, config.fingerprint());
    let observer = Observer::new(Arc::clone(&fleet) as _, Duration::from_secs(5));
    let policy = Policy::new(Settings::default()).unwrap();
    let teller = Teller::new(Arc::clone(&fleet) as _, Duration::from_secs(5));
    let rounds = Rounds::new(Arc::clone(&fleet) as _, observer, teller, Rules::new(policy, None));
    (fleet, rounds, Arc::new(Discovered { config: Arc::new(config), jobs: Default::default() }))
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_does_not_answer_is_an_error_of_every_round_until_it_does() {
    let (fleet, mut rounds, discovered) = two_shards();
    let mut errors = async |at| rounds.run(Arc::clone(&discovered), Arc::default(), Timestamp(at)).await.errors;
    fleet.with_shard(1, |shard| shard.link = Link::Refused);
    let never = "no report of shard-1 of replica-0 at http://shard-1.replica-0:8080/: ask for its report: connection \
                 refused; it has not answered yet and gets no targets until it does";
    assert_eq!(errors(0).await, [never]);
    assert_eq!(errors(10_000).await, [never]);
    fleet.with_shard(1, |shard| shard.link = Link::Up);
    assert_eq!(errors(20_000).await, [""; 0]);
    fleet.with_shard(1, |shard| shard.link = Link::Hangs);
    let stale = errors(30_000).await.remove(0);
    assert!(
        stale.ends_with(
            "no answer within 5s; it gets no new targets, and keeps those it has unless it stays silent for too long"
        ),
        "{stale}"
    );
}

/// One job with so many targets, of which nothing is known.
fn targets(discovered: &Discovered, number: u32) -> Arc<Discovered> {
    let target = |n| Arc::new(Target::new("job".into(), Labels::default(), format!("http://127.0.0.1:{n}/metrics")));
    let active = |target: Arc<Target>| (target.id, ActiveTarget { target, discovered_labels: Labels::default() });
    let active = (1..=number).map(target).map(active).collect();
    let job = JobTargets { discovered: true, active, ..JobTargets::default() };
    Arc::new(Discovered { jobs: BTreeMap::from([("job".into(), Arc::new(job))]), ..discovered.clone() })
}

/// All of these targets weigh the same.
fn measured(discovered: &Discovered, series: u64) -> Arc<Probed> {
    let load = Load { exposed: Series(series), kept: Series(series) };
    let ids = discovered.jobs.values().flat_map(|job| job.active.keys());
    Arc::new(ids.map(|id| (*id, KnownLoad::Measured(load))).collect())
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_slow_to_take_its_targets_holds_nobody_up_and_is_told_once() {
    let (fleet, mut rounds, discovered) = two_shards();
    let mut round = async |number, at| {
        let began = tokio::time::Instant::now();
        let listed = targets(&discovered, number);
        let probed = measured(&listed, 100);
        let errors = rounds.run(listed, probed, Timestamp(at)).await.errors;
        let has = [0, 1].map(|n| fleet.with_shard(n, |shard| shard.assignment.targets.len()));
        (errors, has, fleet.asked().puts, began.elapsed().as_secs())
    };
    fleet.with_shard(1, |shard| shard.link = Link::Busy);
    let waiting =
        "assign targets to shard-1 of replica-0: no answer within 5s; still waiting, the others go on without it";
    assert_eq!(round(2, 0).await, (vec![waiting.to_owned()], [1, 0], 2, 5));
    let found = round(4, 10_000).await;
    assert_eq!(found, (vec![waiting.to_owned()], [3, 0], 1, 0), "what it was told nobody else gets");
    fleet.with_shard(1, |shard| shard.link = Link::Up);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(round(4, 20_000).await, (vec![], [3, 1], 0, 0));
}

#[tokio::test]
async fn a_shard_whose_prometheus_is_down_is_taken_over_like_one_that_is_silent_itself() {
    let (fleet, mut rounds, discovered) = two_shards();
    let discovered = targets(&discovered, 4);
    let probed = measured(&discovered, 100);
    let mut round = async |at| {
        let snapshot = rounds.run(Arc::clone(&discovered), Arc::clone(&probed), Timestamp(at)).await;
        (snapshot.errors, [0, 1].map(|n| fleet.with_shard(n, |shard| shard.assignment.targets.len())))
    };
    assert_eq!(round(0).await, (vec![], [2, 2]));
    fleet.with_shard(1, |shard| (shard.ready, shard.prometheus_is_down) = (false, true));
    let down = "the Prometheus of shard-1 of replica-0, whose sidecar is at http://shard-1.replica-0:8080/, does not \
                answer; nobody scrapes its targets until it does or others take them over";
    assert_eq!(round(10_000).await, (vec![down.to_owned()], [2, 2]), "it may be back soon");
    let (errors, held) = round(10_000 + 300_000).await;
    assert_eq!(held, [4, 2], "after --shard.failover-after: {errors:?}");
    assert!(errors.contains(&down.to_owned()), "{errors:?}");
}

#[tokio::test]
async fn targets_that_find_no_room_for_lack_of_shards_are_an_error() {
    let (fleet, mut rounds, discovered) = two_shards();
    fleet.set_scalable(false);
    let discovered = targets(&discovered, 4);
    let probed = measured(&discovered, 600_000);
    let seen = rounds.run(discovered, probed, Timestamp(0)).await;
    let expected = "no shard of replica-0 scrapes 2 targets: there is no room for them, and shards of this kind cannot \
                    be added";
    assert_eq!(seen.errors, [expected]);
}

#[tokio::test]
async fn looking_changes_nothing_and_is_remembered() {
    let (fleet, mut rounds, discovered) = two_shards();
    assert_eq!(rounds.look(Timestamp(0)).await, Some(TargetMap::new()));
    let asked = fleet.asked();
    assert_eq!((asked.whole_reports, asked.puts, asked.reloads, asked.scales), (2, 0, 0, 0));
    rounds.run(discovered, Arc::default(), Timestamp(10)).await;
    let asked = fleet.asked();
    assert_eq!((asked.whole_reports, asked.changes, asked.assignments), (0, 2, 0), "the round asks only for changes");
}
