//! Loads: targets come and go, grow, and stray.

use narthex_common::{config::PromDuration, job::JobName, target::TargetId, time::Timestamp};
use narthex_planner::cost::Cost;
use rand::Rng as _;

use super::{Fleet, Group, Ramp, ShardKey, Target};
use crate::{chance, scenario::TargetGroup};

impl Fleet {
    /// A job comes, with its targets.
    pub(super) fn add_job(&mut self, settings: TargetGroup) {
        let count = settings.count;
        self.groups.push(Group::new(settings, self.seed));
        self.add_targets(self.groups.len() - 1, count);
    }

    pub(super) fn remove_job(&mut self, group: usize) {
        let members = std::mem::take(&mut self.groups[group].members);
        for id in members {
            self.remove_target(id);
        }
        self.groups[group].gone = true;
    }

    /// Discovery finds new targets of a job.
    pub(super) fn add_targets(&mut self, place: usize, count: u32) {
        let now = self.now;
        let factor = self.groups[place].factor.at(now);
        for _ in 0..count {
            let group = &mut self.groups[place];
            let id = chance::target_id(&group.settings.job, group.next);
            let base = chance::series(&mut group.chance, &group.settings.load, group.next);
            let up = group.settings.down <= 0.0 || !group.chance.random_bool(group.settings.down);
            let load = group.load_of(base * factor);
            group.next += 1;
            group.members.push(id);
            self.total = self.total.plus(Cost::of(load, group.settings.scrape_interval.to_std()));
            let target = Target { group: place as u32, base, load, up, born: now, holders: Vec::new() };
            self.targets.insert(id, target);
            self.found.push(id);
            for replica in &mut self.replicas {
                replica.coverage.list(id);
            }
        }
    }

    /// Discovery loses targets of a job, whichever.
    pub(super) fn remove_targets(&mut self, place: usize, count: u32) {
        for _ in 0..count {
            let group = &mut self.groups[place];
            if group.members.is_empty() {
                return;
            }
            let unlucky = group.chance.random_range(0..group.members.len());
            let id = group.members.swap_remove(unlucky);
            self.remove_target(id);
        }
    }

    fn remove_target(&mut self, id: TargetId) {
        let Some(target) = self.targets.remove(&id) else { return };
        let interval = self.interval_of(&target).to_std();
        self.total = self.total.minus(Cost::of(target.load, interval));
        self.lost.push(id);
        for replica in &mut self.replicas {
            replica.coverage.unlist(id);
        }
    }

    /// Loads of a job, or of one target of it, become so many times what they are.
    pub(super) fn change_load(&mut self, job: &JobName, target: Option<u32>, times: f64, over: PromDuration) {
        let now = self.now;
        let Some(place) = self.group_named(job) else { return };
        let Some(number) = target else {
            self.groups[place].factor = self.groups[place].factor.times(times, now, over);
            self.weigh_group(place);
            return;
        };
        let id = chance::target_id(job, number);
        if let Some(target) = self.targets.get(&id) {
            // Two ramps of one target would both set its load.
            self.ramps.retain(|(other, ..)| *other != id);
            self.ramps.push((id, target.base, Ramp::ONE.times(times, now, over)));
        }
    }

    /// A share of a job's targets is down, the rest is up.
    pub(super) fn change_health(&mut self, place: usize, share: f64) {
        for id in self.groups[place].members.clone() {
            let up = !self.groups[place].chance.random_bool(share.clamp(0.0, 1.0));
            let changed = self.targets.get_mut(&id).filter(|target| target.up != up);
            if let Some(target) = changed {
                target.up = up;
                self.notice(id);
            }
        }
    }

    /// What changes by itself from one round to the next.
    pub(crate) fn let_loads_change(&mut self) {
        let now = self.now;
        for place in 0..self.groups.len() {
            let group = &mut self.groups[place];
            if group.gone {
                continue;
            }
            let churn = group.settings.churn_per_round;
            if churn > 0.0 && self.round > 1 {
                let replaced = chance::count(&mut group.chance, churn);
                self.remove_targets(place, replaced);
                self.add_targets(place, replaced);
            }
            let group = &self.groups[place];
            if group.is_restless() || !group.factor.is_over(Timestamp(now.0 - 1)) && group.factor.at(now) != 1.0 {
                self.weigh_group(place);
            }
        }
        for (id, base, ramp) in self.ramps.clone() {
            if let Some(target) = self.targets.get_mut(&id) {
                target.base = base * ramp.at(now);
            }
            self.weigh(id, 1.0);
        }
        self.ramps.retain(|(_, _, ramp)| !ramp.is_over(now));
    }

    fn weigh_group(&mut self, place: usize) {
        let members = std::mem::take(&mut self.groups[place].members);
        let jitter = self.groups[place].settings.jitter_percent / 100.0;
        let together = 1.0 + jitter * chance::stray(&mut self.groups[place].chance);
        for &id in &members {
            let each = if self.groups[place].settings.jitter_together || jitter == 0.0 {
                together
            } else {
                1.0 + jitter * chance::stray(&mut self.groups[place].chance)
            };
            self.weigh(id, each);
        }
        self.groups[place].members = members;
    }

    /// Finds out what a target weighs now, `stray` times what it should.
    fn weigh(&mut self, id: TargetId, stray: f64) {
        let now = self.now;
        let Some(target) = self.targets.get_mut(&id) else { return };
        let group = &self.groups[target.group as usize];
        let load = group.load_of(target.base * group.factor.at(now) * group.growth(target.born, now) * stray);
        if load == target.load {
            return;
        }
        let interval = group.settings.scrape_interval.to_std();
        self.total = self.total.minus(Cost::of(target.load, interval)).plus(Cost::of(load, interval));
        target.load = load;
        self.notice(id);
    }

    /// Lets whoever scrapes a target see at its next scrape that it changed.
    fn notice(&mut self, id: TargetId) {
        let now = self.now;
        let Some(target) = self.targets.get(&id) else { return };
        let interval = self.groups[target.group as usize].settings.scrape_interval;
        for &ShardKey { replica, ordinal } in &target.holders {
            let shard = self.replicas.get_mut(replica as usize).and_then(|r| r.shards.get_mut(ordinal as usize));
            if let Some(shard) = shard.filter(|shard| shard.is_running()) {
                let due = shard.scrape_after(id, interval, now);
                shard.changed.entry(id).or_insert(due);
            }
        }
    }
}
