//! Tell: what a plan does to the shards.

use narthex_common::{config::PromDuration, job::JobName, shard::Ordinal, target::TargetId};
use narthex_planner::{ReplicaPlan, ShardPlan};

use super::{Fleet, Life, Shard, ShardKey, coverage::End};

impl Fleet {
    /// Tells as many shards of a replica as `told` has left what is planned for them. Whether all were told.
    pub(crate) fn tell(&mut self, replica: u32, plan: &ReplicaPlan, told: &mut usize) -> bool {
        for (&ordinal, change) in &plan.shards {
            let Some(left) = told.checked_sub(1) else { return false };
            *told = left;
            self.tell_shard(ShardKey { replica, ordinal: ordinal.0 }, change);
        }
        true
    }

    fn tell_shard(&mut self, key: ShardKey, plan: &ShardPlan) {
        let (now, round) = (self.now, self.round);
        let Some(replica) = self.replicas.get_mut(key.replica as usize) else { return };
        let within_reach = |shard: &&mut Shard| shard.answers(round) && round > shard.other_config_until;
        let Some(shard) = replica.shards.get_mut(key.ordinal as usize).filter(within_reach) else {
            self.refused += 1;
            return;
        };
        for &id in &plan.remove {
            let Some(held) = shard.remove(id, now) else { continue };
            if held.scrapes > 0 {
                let last = shard.scrape_before(id, held.interval, now);
                let listed = self.targets.contains_key(&id);
                replica.coverage.end(id, last, held.interval, listed, End::LetGo);
            }
            if let Some(target) = self.targets.get_mut(&id) {
                target.holders.retain(|holder| *holder != key);
            }
        }
        for (&id, planned) in &plan.put {
            let Some((job, interval)) = self.known(id, key) else {
                self.refused += 1;
                continue;
            };
            let Some(shard) = self.shard_mut(key.replica, key.ordinal) else { continue };
            if shard.put(id, *planned, (&job, interval), now)
                && let Some(target) = self.targets.get_mut(&id)
            {
                target.holders.push(key);
            }
        }
    }

    /// What the coordinator knows of a target that it puts somewhere: from discovery, or from a shard that has it.
    fn known(&self, id: TargetId, key: ShardKey) -> Option<(JobName, PromDuration)> {
        if let Some(target) = self.targets.get(&id) {
            let group = self.groups.get(target.group as usize)?;
            return Some((group.job().clone(), group.settings.scrape_interval));
        }
        let replica = self.replicas.get(key.replica as usize)?;
        let held = replica.shards.iter().find_map(|shard| shard.held.get(&id))?;
        Some((held.job.clone(), held.interval))
    }

    /// Has so many shards in a replica: new ones start empty, those that go take their disk with them.
    pub(crate) fn scale(&mut self, number: u32, wanted: u32) {
        let now = self.now;
        let start_time = self.settings.start_time.to_std();
        loop {
            let Some(replica) = self.replicas.get_mut(number as usize) else { return };
            replica.wanted = wanted;
            if replica.shards.len() <= wanted as usize {
                break;
            }
            let Some(shard) = replica.shards.pop() else { break };
            self.take_away(&shard);
        }
        let Some(replica) = self.replicas.get_mut(number as usize) else { return };
        for ordinal in replica.shards.len() as u32..wanted {
            let key = ShardKey { replica: number, ordinal };
            let life = Life::Away { until: Some(now.after(start_time)) };
            replica.shards.push(Shard::new(key, self.settings.budget_of(ordinal), life, now));
        }
    }

    fn take_away(&mut self, shard: &Shard) {
        for (&id, held) in shard.held.iter() {
            if let Some(target) = self.targets.get_mut(&id) {
                target.holders.retain(|holder| *holder != shard.key);
            }
            if shard.is_running() && held.scrapes > 0 {
                let last = shard.scrape_before(id, held.interval, self.now);
                let listed = self.targets.contains_key(&id);
                if let Some(replica) = self.replicas.get_mut(shard.key.replica as usize) {
                    replica.coverage.end(id, last, held.interval, listed, End::LetGo);
                }
            }
        }
    }

    /// The name of a shard.
    pub(crate) fn name(&self, replica: u32, Ordinal(ordinal): Ordinal) -> String {
        if self.replicas.len() == 1 { format!("shard-{ordinal}") } else { format!("shard-{replica}-{ordinal}") }
    }
}
