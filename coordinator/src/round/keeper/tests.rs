use std::{collections::BTreeMap, path::Path};

use imbl::OrdMap;
use narthex_common::{
    assignment::{AssignedTarget, AssignmentUpdate, Revision, TargetState},
    config::Config,
    labels::Labels,
    load::{Load, Series},
    report::{Cursor, Health, PrometheusReport, Report, TargetReport},
    semantics::PrometheusVersion,
    shard::{Ordinal, ShardId},
    target::Target,
};
use narthex_planner::world::{OwnBudget, Seen};
use proptest::prelude::*;

use super::*;
use crate::{
    apply::{ShardChange, Told},
    observe::{ObservedReplica, ObservedShard, ShardAssignment, ShardState, world_replicas},
    provider::ShardAddress,
    round::{tests::EmptyConfig, world},
};

const CONFIG: Fingerprint = Fingerprint(7);
const JOBS: [&str; 2] = ["node", "web"];
/// Targets a job has at most.
const TARGETS: u32 = 5;

fn target(job: usize, n: u32) -> Target {
    Target::new(JOBS[job].into(), Labels::default(), format!("http://host-{n}/"))
}

fn load(n: u64) -> Load {
    Load { exposed: Series(n), kept: Series(n) }
}

/// Every source of a world, to be changed one by one.
struct Edges {
    now: Timestamp,
    discovered: Discovered,
    probed: Probed,
    observed: Observed,
    under_way: UnderWay,
    /// When each target that is listed was listed first.
    since: BTreeMap<TargetId, Timestamp>,
}

/// What happens between two rounds.
#[derive(Clone, Debug)]
enum Event {
    /// A job lists these targets, by bits.
    List { job: usize, targets: u32 },
    /// A job goes from the config.
    DropJob { job: usize },
    /// A probe ends, or what it found is dropped.
    Probe { job: usize, n: u32, found: Option<u64> },
    /// A shard has these targets from now on.
    Assign { shard: usize, targets: u32, moving: u32 },
    /// A shard has scraped a target.
    Scrape { shard: usize, job: usize, n: u32, load: Option<u64> },
    /// How a shard is seen.
    See { shard: usize, as_what: u8 },
    /// How many shards there are.
    Shards { number: usize },
}

fn event() -> impl Strategy<Value = Event> {
    let (shard, job, n, bits) = (0..4_usize, 0..JOBS.len(), 0..TARGETS, 0..(1_u32 << (2 * TARGETS)));
    prop_oneof![
        3 => (job.clone(), bits.clone()).prop_map(|(job, targets)| Event::List { job, targets }),
        1 => job.clone().prop_map(|job| Event::DropJob { job }),
        2 => (job.clone(), n.clone(), prop::option::of(0..9_u64))
            .prop_map(|(job, n, found)| Event::Probe { job, n, found }),
        3 => (shard.clone(), bits.clone(), bits)
            .prop_map(|(shard, targets, moving)| Event::Assign { shard, targets, moving }),
        3 => (shard.clone(), job, n, prop::option::of(0..9_u64))
            .prop_map(|(shard, job, n, load)| Event::Scrape { shard, job, n, load }),
        1 => (shard.clone(), 0..3_u8).prop_map(|(shard, as_what)| Event::See { shard, as_what }),
        1 => shard.prop_map(|number| Event::Shards { number }),
    ]
}

fn empty_state() -> ShardState {
    let report = Report {
        cursor: Cursor("1".into()),
        complete: true,
        revision: Revision(0),
        config: CONFIG,
        config_from: narthex_common::report::ConfigFrom::File,
        config_error: None,
        idle_since: None,
        prometheus: PrometheusReport::default(),
        target_mismatch: None,
        targets: Vec::new(),
    };
    ShardState { report, targets: OrdMap::new(), assignment: Arc::default() }
}

fn assigned(target: Target, moving: bool) -> AssignedTarget {
    let state = if moving { TargetState::InTransfer } else { TargetState::Normal };
    AssignedTarget { target, state, since: Some(Timestamp(3)), load: Some(load(4)) }
}

fn shard(ordinal: u32, state: ShardState) -> ObservedShard {
    let address = ShardAddress {
        ordinal: Ordinal(ordinal),
        id: ShardId(format!("shard-{ordinal}")),
        url: format!("http://shard-{ordinal}/").parse().unwrap(),
        problem: None,
        budget: OwnBudget::default(),
    };
    ObservedShard { address, seen: Seen::Fresh(Arc::new(state)), found_at_start: None, error: None }
}

impl Edges {
    fn new() -> Self {
        let config = Config::load(Path::new("/prometheus.yml"), &EmptyConfig, PrometheusVersion::V3_5).unwrap();
        let replica = ObservedReplica {
            id: ReplicaId("replica-0".into()),
            scalable: true,
            wanted_shards: 2,
            shards: (0..2).map(|ordinal| shard(ordinal, empty_state())).collect(),
        };
        Self {
            now: Timestamp(0),
            discovered: Discovered { config: Arc::new(config), jobs: BTreeMap::new() },
            probed: Probed::new(),
            observed: Observed { replicas: vec![replica] },
            under_way: UnderWay::default(),
            since: BTreeMap::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        let shards = &mut self.observed.replicas[0].shards;
        match event {
            Event::List { job, targets } => {
                let listed = (0..TARGETS).filter(|n| targets & (1 << n) != 0).map(|n| Arc::new(target(job, n)));
                let active =
                    |target: Arc<Target>| (target.id, ActiveTarget { target, discovered_labels: Labels::default() });
                let discovered = targets & (1 << TARGETS) != 0;
                let found = JobTargets { discovered, active: listed.map(active).collect(), ..JobTargets::default() };
                self.discovered.jobs.insert(JOBS[job].into(), Arc::new(found));
            }
            Event::DropJob { job } => drop(self.discovered.jobs.remove(&JOBS[job].into())),
            Event::Probe { job, n, found } => match found {
                Some(found) => drop(self.probed.insert(target(job, n).id, KnownLoad::Measured(load(found)))),
                None => drop(self.probed.remove(&target(job, n).id)),
            },
            Event::Assign { shard, targets, moving } => change(shards, shard, |state| {
                let all = (0..JOBS.len()).flat_map(|job| (0..TARGETS).map(move |n| (job, n))).enumerate();
                let has = all.filter(|(bit, _)| targets & (1 << bit) != 0);
                let has = has.map(|(bit, (job, n))| assigned(target(job, n), moving & (1 << bit) != 0));
                let targets: OrdMap<_, _> = has.map(|assigned| (assigned.target.id, assigned)).collect();
                state.targets = state
                    .targets
                    .iter()
                    .filter(|(id, _)| targets.contains_key(*id))
                    .map(|(id, t)| (*id, t.clone()))
                    .collect();
                state.assignment = Arc::new(ShardAssignment {
                    revision: Revision(1),
                    config: CONFIG,
                    targets,
                    ..ShardAssignment::default()
                });
            }),
            Event::Scrape { shard, job, n, load: found } => change(shards, shard, |state| {
                let id = target(job, n).id;
                if state.assignment.targets.contains_key(&id) {
                    state.targets.insert(id, report(id, found.map(load)));
                }
            }),
            Event::See { shard, as_what } => {
                let Some(shard) = shards.get_mut(shard) else { return };
                let state = shard.seen.last().cloned().unwrap_or_else(|| Arc::new(empty_state()));
                shard.seen = match as_what {
                    0 => Seen::Never,
                    1 => Seen::Stale { at: self.now, last: state },
                    _ => Seen::Fresh(state),
                };
            }
            Event::Shards { number } => {
                shards.truncate(number);
                for ordinal in shards.len()..number {
                    shards.push(shard(u32::try_from(ordinal).unwrap(), empty_state()));
                }
            }
        }
    }

    fn world(&mut self, keeper: &mut WorldKeeper) -> World {
        self.now = Timestamp(self.now.0 + 1_000);
        let active = || self.discovered.jobs.values().flat_map(|job| job.active.keys());
        self.since.retain(|id, _| active().any(|listed| listed == id));
        for id in active() {
            self.since.entry(*id).or_insert(self.now);
        }
        keeper.world(&Sources {
            now: self.now,
            config: CONFIG,
            discovered: &self.discovered,
            probed: &self.probed,
            observed: &self.observed,
            under_way: &self.under_way,
            memories: &BTreeMap::new(),
        })
    }

    /// The world, without anything kept.
    fn built_anew(&self) -> World {
        let mut world = world(self.now, &self.discovered, &self.probed, world_replicas(&self.observed, CONFIG));
        world.seed = seed(CONFIG);
        for (id, since) in &self.since {
            world.targets[id].since = *since;
        }
        world
    }
}

fn change(shards: &mut [ObservedShard], shard: usize, change: impl FnOnce(&mut ShardState)) {
    if let Some(Seen::Fresh(state)) = shards.get_mut(shard).map(|shard| &mut shard.seen) {
        let mut changed = ShardState::clone(state);
        change(&mut changed);
        *state = Arc::new(changed);
    }
}

fn report(id: TargetId, load: Option<Load>) -> TargetReport {
    TargetReport {
        id,
        state: TargetState::Normal,
        health: Health::Up,
        last_error: String::new(),
        last_scrape: None,
        last_scrape_duration: std::time::Duration::ZERO,
        load,
        scrapes: 1,
        dropped: false,
    }
}

/// How many shards know the load of each target, counted anew.
fn measured(world: &World) -> TargetMap<u32> {
    let mut measured = TargetMap::new();
    for shard in world.replicas.iter().flat_map(|replica| replica.shards.values()) {
        let report = match &shard.report {
            Seen::Never => continue,
            Seen::Stale { last: report, .. } | Seen::Fresh(report) => report,
        };
        for (id, _) in report.targets.iter().filter(|(_, held)| held.load.is_some()) {
            *measured.entry(*id).or_insert(0) += 1;
        }
    }
    measured
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]
    #[test]
    fn a_kept_world_is_the_one_that_is_built_from_nothing(events in prop::collection::vec(event(), 1..40)) {
        let (mut edges, mut keeper) = (Edges::new(), WorldKeeper::default());
        for event in events {
            edges.happens(event);
            let kept = edges.world(&mut keeper);
            prop_assert_eq!(&kept, &edges.built_anew());
            prop_assert_eq!(keeper.measured().unwrap(), measured(&kept));
        }
    }
}

#[test]
fn what_does_not_change_is_the_very_same_in_the_next_world() {
    let (mut edges, mut keeper) = (Edges::new(), WorldKeeper::default());
    edges.happens(Event::List { job: 0, targets: 0b11111 });
    edges.happens(Event::Assign { shard: 0, targets: 0b11111, moving: 0 });
    let before = edges.world(&mut keeper);
    edges.happens(Event::Scrape { shard: 1, job: 0, n: 0, load: Some(1) });
    change(&mut edges.observed.replicas[0].shards, 0, |state| state.report.cursor = Cursor("2".into()));
    let after = edges.world(&mut keeper);
    assert!(before.targets.ptr_eq(&after.targets));
    let targets = |world: &World| match &world.replicas[0].shards[&Ordinal(0)].report {
        Seen::Fresh(report) => report.targets.clone(),
        Seen::Never | Seen::Stale { .. } => unreachable!(),
    };
    assert_eq!(targets(&before).len(), 5);
    assert!(targets(&before).ptr_eq(&targets(&after)));
}

#[test]
fn when_the_shards_cannot_be_listed_nothing_is_forgotten() {
    let (mut edges, mut keeper) = (Edges::new(), WorldKeeper::default());
    edges.happens(Event::Assign { shard: 0, targets: 1, moving: 0 });
    edges.happens(Event::Scrape { shard: 0, job: 0, n: 0, load: Some(1) });
    edges.world(&mut keeper);
    let observed = std::mem::take(&mut edges.observed);
    assert_eq!(edges.world(&mut keeper).replicas, []);
    assert_eq!(keeper.measured().unwrap().len(), 1);
    edges.observed = observed;
    assert_eq!(edges.world(&mut keeper), edges.built_anew());
}

#[test]
fn a_shard_that_has_not_answered_counts_as_silent_and_as_having_what_it_was_told() {
    let (mut edges, mut keeper) = (Edges::new(), WorldKeeper::default());
    edges.happens(Event::Assign { shard: 0, targets: 0b11, moving: 0 });
    edges.happens(Event::Scrape { shard: 0, job: 0, n: 0, load: Some(9) });
    let shard = edges.observed.replicas[0].shards[0].clone();
    let update = AssignmentUpdate {
        base: Some(Revision(1)),
        revision: Revision(2),
        config: CONFIG,
        put: vec![assigned(target(0, 0), true), assigned(target(0, 2), false)],
        remove: vec![target(0, 1).id],
        ..AssignmentUpdate::default()
    };
    let replica = ReplicaId("replica-0".into());
    let change = ShardChange { replica, address: shard.address, update };
    edges.under_way = UnderWay::of_one(Told::Assignment(Arc::new(change)));
    let world = edges.world(&mut keeper);
    let shards = &world.replicas[0].shards;
    let Seen::Stale { at, last } = &shards[&Ordinal(0)].report else { panic!("{shards:?}") };
    assert_eq!(*at, world.now);
    let has = last.targets.iter().map(|(id, held)| (*id, (held.state, held.load, held.scrapes))).collect();
    let expected = [
        (target(0, 0).id, (TargetState::InTransfer, Some(load(9)), 1)),
        (target(0, 2).id, (TargetState::Normal, None, 0)),
    ];
    assert_eq!(BTreeMap::from(expected), has);
    assert!(matches!(shards[&Ordinal(1)].report, Seen::Fresh(_)));

    edges.under_way = UnderWay::default();
    assert_eq!(edges.world(&mut keeper), edges.built_anew(), "nothing is believed before it is seen");
}
