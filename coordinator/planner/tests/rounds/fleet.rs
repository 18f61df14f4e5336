//! A made-up fleet: targets, and shards that do what they are told, or do not answer, or lose what they were told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use narthex_common::{
    assignment::TargetState,
    load::{Load, Series},
    shard::{Ordinal, ReplicaId, ShardId},
    target::TargetId,
    time::Timestamp,
};
use narthex_planner::{
    Plan, Policy, ReplicaPlan, ShardPlan, World,
    memory::{Memory, Moved},
    world::{HeldTarget, JobView, KnownLoad, OwnBudget, ReplicaView, Seen, ShardReport, ShardView},
};

use crate::made_up::{NOW, held, listed};

/// For so long a move that was given up is not tried again.
const HALF_AN_HOUR: Duration = Duration::from_secs(30 * 60);

/// Everything there is, as it really is.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) now: Timestamp,
    pub(crate) scalable: bool,
    pub(crate) targets: BTreeMap<TargetId, Truth>,
    pub(crate) shards: Vec<Shard>,
    pub(crate) wanted_shards: u32,
    /// Targets that kill the shard that scrapes them.
    pub(crate) killers: BTreeSet<TargetId>,
    /// The shards that were killed, in the order in which they died.
    pub(crate) killed: Vec<usize>,
    /// What the coordinator remembers of its last plan.
    memory: Memory,
}

/// A target as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Truth {
    pub(crate) load: Load,
    pub(crate) up: bool,
}

/// A shard as it is, and what the coordinator remembers of it.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    /// Rounds until it answers for the first time.
    pub(crate) starts_in: u32,
    /// It does not answer, and goes on scraping.
    pub(crate) silent: bool,
    /// It neither answers nor scrapes.
    pub(crate) dead: bool,
    /// It answers, and does not scrape.
    pub(crate) stuck: bool,
    pub(crate) config_matches: bool,
    pub(crate) targets: BTreeMap<TargetId, HeldTarget>,
    idle_since: Option<Timestamp>,
    found_at_start: Option<Timestamp>,
    last: Option<(Timestamp, ShardReport)>,
}

impl Shard {
    pub(crate) fn starting(now: Timestamp, rounds: u32) -> Self {
        Self {
            starts_in: rounds,
            silent: false,
            dead: false,
            stuck: false,
            config_matches: true,
            targets: BTreeMap::new(),
            idle_since: Some(now),
            found_at_start: None,
            last: None,
        }
    }

    pub(crate) fn answers(&self) -> bool {
        self.starts_in == 0 && !self.silent && !self.dead
    }

    pub(crate) fn scrapes(&self) -> bool {
        self.starts_in == 0 && !self.dead && !self.stuck
    }

    fn report(&self) -> ShardReport {
        ShardReport {
            config_matches: self.config_matches,
            ready: true,
            head_series: Some(self.targets.values().filter_map(|held| held.load).map(|load| load.kept).sum()),
            idle_since: self.idle_since,
            targets: self.targets.iter().map(|(id, held)| (*id, held.clone())).collect(),
        }
    }

    fn put(&mut self, plan: &ShardPlan, now: Timestamp) {
        self.targets.retain(|id, _| !plan.remove.contains(id));
        for (&id, planned) in &plan.put {
            let new = HeldTarget { planned: Some(planned.load), ..held(planned.state, 0) };
            let target = self.targets.entry(id).or_insert(new);
            (target.state, target.since) = (planned.state, Some(now));
        }
        self.idle_since = if self.targets.is_empty() { self.idle_since.or(Some(now)) } else { None };
    }
}

impl Fleet {
    pub(crate) fn new(shards: u32, scalable: bool) -> Self {
        let wanted = shards as usize;
        let shards = (0..wanted).map(|_| Shard::starting(NOW, 0)).collect();
        let wanted_shards = u32::try_from(wanted).unwrap();
        Self {
            now: NOW,
            scalable,
            targets: BTreeMap::new(),
            shards,
            wanted_shards,
            killers: BTreeSet::new(),
            killed: Vec::new(),
            memory: Memory::default(),
        }
    }

    pub(crate) fn add(&mut self, id: TargetId, load: Load, up: bool) {
        self.targets.insert(id, Truth { load, up });
    }

    /// What a coordinator sees, which remembers what it saw before.
    pub(crate) fn look(&mut self) -> World {
        let now = self.now;
        for shard in self.shards.iter_mut().filter(|shard| shard.answers()) {
            shard.last = Some((now, shard.report()));
        }
        let view = |(ordinal, shard): (u32, &Shard)| {
            let report = match &shard.last {
                Some((at, last)) if *at == now => Seen::Fresh(last.clone()),
                Some((at, last)) => Seen::Stale { at: *at, last: last.clone() },
                None => Seen::Never,
            };
            let id = ShardId(format!("shard-{ordinal}"));
            let budget = OwnBudget::default();
            (Ordinal(ordinal), ShardView { id, report, found_at_start: shard.found_at_start, budget })
        };
        let probed = |truth: &Truth| {
            if truth.up { KnownLoad::Measured(truth.load) } else { KnownLoad::ProbeFailed { since: NOW } }
        };
        World {
            now,
            seed: now.0.unsigned_abs(),
            jobs: BTreeMap::from([("job".into(), JobView { discovered: true })]),
            targets: self.targets.iter().map(|(id, truth)| (*id, listed(probed(truth)))).collect(),
            replicas: vec![ReplicaView {
                id: ReplicaId("replica".into()),
                scalable: self.scalable,
                wanted_shards: self.wanted_shards,
                shards: (0..).zip(&self.shards).map(view).collect(),
                memory: self.memory.clone(),
            }],
        }
    }

    /// Does what a plan says, for as many shards as are told before the coordinator is killed.
    pub(crate) fn apply(&mut self, plan: &Plan, shards_told: usize) {
        let plan = only_replica(plan);
        for (ordinal, wanted) in plan.shards.iter().take(shards_told) {
            let shard = &mut self.shards[ordinal.0 as usize];
            assert!(shard.answers() && shard.config_matches, "shard {ordinal} is out of reach");
            shard.put(wanted, self.now);
            // Whoever falls silent now is known to have taken this.
            if let Some((_, last)) = &mut shard.last {
                last.targets = shard.targets.iter().map(|(id, held)| (*id, held.clone())).collect();
            }
        }
        if shards_told >= plan.shards.len() {
            self.wanted_shards = plan.wanted_shards;
            self.memory = plan.memory.clone();
        }
    }

    /// Lets ten seconds pass: shards start and go, and scrape.
    pub(crate) fn pass_time(&mut self) {
        self.now.0 += 10_000;
        let wanted = self.wanted_shards as usize;
        self.shards.truncate(wanted);
        while self.shards.len() < wanted {
            // Not all start at once.
            let rounds = 1 + u32::try_from(self.shards.len() % 3).unwrap();
            self.shards.push(Shard::starting(self.now, rounds));
        }
        for (ordinal, shard) in self.shards.iter_mut().enumerate() {
            if shard.scrapes() && shard.targets.keys().any(|id| self.killers.contains(id)) {
                shard.dead = true;
                self.killed.push(ordinal);
            }
            if !shard.scrapes() {
                shard.starts_in = shard.starts_in.saturating_sub(1);
                continue;
            }
            for (id, held) in &mut shard.targets {
                held.scrapes = (held.scrapes + 1).min(3);
                if let Some(truth) = self.targets.get(id).filter(|truth| truth.up) {
                    held.load = Some(truth.load);
                }
            }
        }
    }

    /// One undisturbed round.
    pub(crate) fn round(&mut self, policy: &Policy) -> ReplicaPlan {
        let plan = narthex_planner::plan(&self.look(), policy);
        self.apply(&plan, usize::MAX);
        self.pass_time();
        only_replica(&plan).clone()
    }

    /// Rounds until nothing changes any more, for longer than anything waits for.
    pub(crate) fn settle(&mut self, policy: &Policy) -> ReplicaPlan {
        let mut quiet = 0;
        for _ in 0..400 {
            let plan = self.round(policy);
            quiet = if plan.changes.is_empty() { quiet + 1 } else { 0 };
            if quiet == 20 {
                if !self.waits_to_try_a_move_again() {
                    return plan;
                }
                self.now = self.now.after(HALF_AN_HOUR);
                quiet = 0;
            }
        }
        panic!("it never comes to rest: {:#?}", self.round(policy).changes);
    }

    fn waits_to_try_a_move_again(&self) -> bool {
        let waits = |moved: &Moved| moved.given_up && self.now.since(moved.at) < HALF_AN_HOUR;
        self.memory.moved.values().any(waits)
    }

    /// A new coordinator, that remembers nothing.
    pub(crate) fn restart_coordinator(&mut self) {
        self.memory = Memory::default();
        for shard in &mut self.shards {
            shard.last = None;
            shard.found_at_start = Some(self.now);
        }
    }

    /// What the coordinator remembers of its last plan.
    pub(crate) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// How many targets each shard owns.
    pub(crate) fn owned(&self) -> Vec<usize> {
        let is_owned = |held: &&HeldTarget| held.state == TargetState::Normal;
        self.shards.iter().map(|shard| shard.targets.values().filter(is_owned).count()).collect()
    }

    /// Adds a shard, as a static list grows.
    pub(crate) fn add_shard(&mut self) {
        self.shards.push(Shard::starting(self.now, 0));
        self.wanted_shards += 1;
    }

    /// The targets that no living shard scrapes.
    pub(crate) fn unscraped(&self) -> Vec<TargetId> {
        let is_scraped = |id: &TargetId| self.shards.iter().any(|s| s.scrapes() && s.targets.contains_key(id));
        self.targets.keys().filter(|id| !is_scraped(id)).copied().collect()
    }

    /// The kept series that each shard has measured.
    pub(crate) fn kept(&self) -> Vec<Series> {
        let measured = |shard: &Shard| shard.targets.values().filter_map(|held| held.load).map(|load| load.kept).sum();
        self.shards.iter().map(measured).collect()
    }
}

fn only_replica(plan: &Plan) -> &ReplicaPlan {
    plan.replicas.values().next().expect("the fleet has one replica")
}
