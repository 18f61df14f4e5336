use std::{collections::BTreeMap, io, path::Path, time::Duration};

use narthex_common::{
    config::{Config, Files},
    labels::Labels,
    load::{Load, Series},
    semantics::PrometheusVersion,
    target::Target,
};
use narthex_planner::{policy::Settings, world::Seen};

use super::*;
use crate::{
    discover::{ActiveTarget, JobTargets},
    observe::fake::{Fleet, Link},
};

struct EmptyConfig;

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
    let rounds = Rounds::new(Arc::clone(&fleet) as _, Arc::clone(&fleet) as _, observer, policy);
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

#[tokio::test]
async fn targets_that_find_no_room_for_lack_of_shards_are_an_error() {
    let (fleet, mut rounds, discovered) = two_shards();
    fleet.set_scalable(false);
    let target =
        |n: u32| Arc::new(Target::new("job".into(), Labels::default(), format!("http://127.0.0.1:{n}/metrics")));
    let targets: Vec<Arc<Target>> = (1..=4).map(target).collect();
    let active = |target: &Arc<Target>| {
        (target.id, ActiveTarget { target: Arc::clone(target), discovered_labels: Labels::default() })
    };
    let job = JobTargets { discovered: true, active: targets.iter().map(active).collect(), ..JobTargets::default() };
    let jobs = BTreeMap::from([("job".into(), Arc::new(job))]);
    let discovered = Arc::new(Discovered { jobs, ..(*discovered).clone() });
    let load = Load { exposed: Series(600_000), kept: Series(600_000) };
    let probed: Probed = targets.iter().map(|target| (target.id, KnownLoad::Measured(load))).collect();
    let seen = rounds.run(discovered, Arc::new(probed), Timestamp(0)).await;
    let expected = "no shard of replica-0 scrapes 2 targets: there is no room for them, and shards of this kind cannot \
                    be added";
    assert_eq!(seen.errors, [expected]);
}

#[tokio::test]
async fn looking_changes_nothing_and_is_remembered() {
    let (fleet, mut rounds, discovered) = two_shards();
    let seen = rounds.look(Timestamp(0)).await;
    assert!(seen.replicas[0].shards.iter().all(|shard| matches!(shard.seen, Seen::Fresh(_))));
    let asked = fleet.asked();
    assert_eq!((asked.whole_reports, asked.puts, asked.reloads, asked.scales), (2, 0, 0, 0));
    rounds.run(discovered, Arc::default(), Timestamp(10)).await;
    let asked = fleet.asked();
    assert_eq!((asked.whole_reports, asked.changes, asked.assignments), (0, 2, 0), "the round asks only for changes");
}
