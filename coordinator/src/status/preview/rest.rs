//! Until rest: each plan is carried out on a copy of the world, and the next is made of what comes of it.

use std::time::{Duration, Instant};

use narthex_common::time::Timestamp;
use narthex_planner::{
    Plan, Planner, Policy, World,
    world::{HeldTarget, ReplicaView, Seen, ShardReport},
};

use super::{super::plan::Totals, Rest, shards::set_shards};

/// Scrapes after which a target has settled.
const SETTLED: u32 = 3;

/// How many rounds are run.
pub(super) struct Rounds {
    /// At most so many.
    pub(super) at_most: u32,
    /// At most until then.
    pub(super) until: Instant,
}

impl Rounds {
    /// Carries out the first plan and plans on. Between rounds, every shard that answers does as it was told, every
    /// target is scraped three times with the load it is planned with, and no time passes; only when nothing is left to
    /// do, as much as idle shards and targets of unknown load wait for. A shard that is silent stays as silent as it is.
    pub(super) fn run(&self, planner: &mut Planner, mut world: World, policy: &Policy, first: Plan) -> Rest {
        let mut totals = Totals::default();
        let mut plan = first;
        let (mut rounds, mut waited) = (0, false);
        let at_rest = loop {
            let quiet = is_quiet(&world, &plan);
            if quiet && waited {
                break true;
            }
            if !quiet {
                if rounds == self.at_most || Instant::now() > self.until {
                    break false;
                }
                rounds += 1;
                Totals::of(&world, &plan).changes.iter().for_each(|(kind, n)| totals.count(kind, *n));
            }
            carry_out(&mut world, &plan);
            if quiet {
                let_pass(&mut world, policy.max_idle_time.unwrap_or_default().max(policy.max_probe_wait));
            }
            waited = quiet;
            plan = planner.plan(&world, policy);
        };
        let now = Totals::of(&world, &plan);
        Rest {
            rounds,
            at_rest,
            totals: Totals {
                places: totals.places,
                moves: totals.moves,
                removed: totals.removed,
                changes: totals.changes,
                ..now
            },
        }
    }
}

fn is_quiet(world: &World, plan: &Plan) -> bool {
    world.replicas.iter().all(|replica| {
        plan.replicas.get(&replica.id).is_none_or(|plan| {
            plan.changes.is_empty()
                && plan.shards.values().all(narthex_planner::ShardPlan::is_empty)
                && plan.wanted_shards == replica.wanted_shards
        })
    })
}

/// What the world is like once every shard and the provider have done as they were told.
fn carry_out(world: &mut World, plan: &Plan) {
    let now = world.now;
    for replica in &mut world.replicas {
        let Some(plan) = plan.replicas.get(&replica.id) else { continue };
        for (ordinal, changes) in &plan.shards {
            let Some(shard) = replica.shards.get_mut(ordinal) else { continue };
            let Seen::Fresh(report) = &mut shard.report else { continue };
            for id in &changes.remove {
                report.targets.remove(id);
            }
            for (id, planned) in &changes.put {
                let listed = world.targets.get(id);
                let before = report.targets.get(id);
                let job = before.map(|held| &held.job).or(listed.map(|target| &target.job));
                let interval = before.map(|held| held.interval).or(listed.map(|target| target.interval));
                let held = HeldTarget {
                    job: job.cloned().unwrap_or_else(|| "".into()),
                    interval: interval.unwrap_or_default(),
                    state: planned.state,
                    since: Some(now),
                    planned: Some(planned.load),
                    load: before.and_then(|held| held.load).or(Some(planned.load)),
                    scrapes: SETTLED,
                };
                report.targets.insert(*id, held);
            }
        }
        replica.shards.values_mut().for_each(|shard| {
            if let Seen::Fresh(report) = &mut shard.report {
                note_idleness(report, now);
            }
        });
        replica.memory = plan.memory.clone();
        if replica.scalable && plan.wanted_shards != replica.wanted_shards {
            set_shards(replica, plan.wanted_shards, &mut world.targets, now);
        }
    }
}

fn note_idleness(report: &mut ShardReport, now: Timestamp) {
    report.idle_since = if report.targets.is_empty() { report.idle_since.or(Some(now)) } else { None };
}

/// Lets time pass for everyone but those who are silent.
fn let_pass(world: &mut World, time: Duration) {
    world.now = world.now.after(time);
    for ReplicaView { shards, memory, .. } in &mut world.replicas {
        for shard in shards.values_mut() {
            if let Seen::Stale { at, .. } = &mut shard.report {
                *at = at.after(time);
            }
            shard.found_at_start = shard.found_at_start.map(|found| found.after(time));
        }
        memory.lost.values_mut().for_each(|since| *since = since.after(time));
    }
}
