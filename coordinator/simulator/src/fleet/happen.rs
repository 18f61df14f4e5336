//! Happen: the events of a scenario, done to the fleet.

use narthex_common::config::PromDuration;

use super::{Fleet, Life, Shard, ShardKey, time::Rolling};
use crate::scenario::Happening;

impl Fleet {
    /// Does what an event says. What happens to the coordinator is not the fleet's.
    pub(crate) fn happen(&mut self, happening: &Happening) {
        let (now, round) = (self.now, self.round);
        match happening {
            Happening::ShardDies { replica, shard, lasts } => {
                let until = lasts.map(|lasts| now.after(lasts.to_std()));
                self.end_shard(*replica, *shard, until, now);
            }
            Happening::ShardReturns { replica, shard } => {
                let restart = self.settings.restart_time;
                if let Some(shard) = self.shard_mut(*replica, *shard)
                    && !shard.is_running()
                {
                    shard.life = Life::Away { until: Some(now.after(restart.to_std())) };
                }
            }
            Happening::ShardIsSlow { replica, shard, rounds } => {
                if let Some(shard) = self.shard_mut(*replica, *shard) {
                    shard.slow_until = round.saturating_add(*rounds).saturating_sub(1);
                }
            }
            Happening::ShardLosesItsDisk { replica, shard } => self.lose_disk(*replica, *shard),
            Happening::ShardRunsAnotherConfig { replica, shard, rounds } => {
                if let Some(shard) = self.shard_mut(*replica, *shard) {
                    shard.other_config_until = round.saturating_add(*rounds).saturating_sub(1);
                }
            }
            Happening::ShardsJoin { replica, count } => {
                let wanted = self.replicas.get(*replica as usize).map_or(0, |replica| replica.wanted);
                self.scale(*replica, wanted.saturating_add(*count));
            }
            Happening::RollingUpdate { replica, down, pause } => self.roll(*replica, *down, *pause),
            Happening::Load { job, target, times, over } => self.change_load(job, *target, *times, *over),
            Happening::JobComes(group) => self.add_job(group.clone()),
            Happening::JobGoes { job } => {
                if let Some(place) = self.group_named(job) {
                    self.remove_job(place);
                }
            }
            Happening::JobIsDown { job, share } => {
                if let Some(place) = self.group_named(job) {
                    self.change_health(place, *share);
                }
            }
            Happening::TargetsCome { job, count } => {
                if let Some(place) = self.group_named(job) {
                    self.add_targets(place, *count);
                }
            }
            Happening::TargetsGo { job, count } => {
                if let Some(place) = self.group_named(job) {
                    self.remove_targets(place, *count);
                }
            }
            Happening::CoordinatorRestarts { .. } | Happening::CoordinatorIsKilled { .. } => {}
        }
    }

    fn roll(&mut self, replica: u32, down: PromDuration, pause: PromDuration) {
        let now = self.now;
        if let Some(replica) = self.replicas.get_mut(replica as usize) {
            let next = u32::try_from(replica.shards.len()).unwrap_or(u32::MAX);
            replica.rolling = next.checked_sub(1).map(|next| Rolling { next, at: now, down, pause });
        }
    }

    fn lose_disk(&mut self, replica: u32, ordinal: u32) {
        let (now, settings) = (self.now, self.settings.clone());
        self.end_shard(replica, ordinal, None, now);
        let key = ShardKey { replica, ordinal };
        let Some(shard) = self.shard_mut(replica, ordinal) else { return };
        let held: Vec<_> = shard.held.keys().copied().collect();
        let life = Life::Away { until: Some(now.after(settings.restart_time.to_std())) };
        *shard = Shard::new(key, settings.budget_of(ordinal), life, now);
        for id in held {
            if let Some(target) = self.targets.get_mut(&id) {
                target.holders.retain(|holder| *holder != key);
            }
        }
    }
}
