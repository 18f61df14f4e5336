//! Twins: the shards of one ordinal, where replicas mirror each other. They carry the same targets, so that none is filled
//! beyond what the weakest of them may carry; and what one of them had is not lost while another scrapes it.

use narthex_common::{assignment::TargetState, shard::Ordinal};

use super::{Draft, Reach, ShardIx};
use crate::{
    catalogue::TargetIx,
    policy::Placement,
    world::{Seen, ShardView},
};

/// What the other replicas say of where a target belongs that no shard of this one holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TwinSays {
    /// Nothing that counts.
    Nothing,
    /// On this shard, as far as it has room: its twin scrapes it.
    Here(ShardIx),
    /// On a shard that takes nothing now, and is waited for: its twin scrapes it meanwhile.
    Wait,
}

impl Draft<'_> {
    /// Whether others of this replica may take over what a lost shard had. Where replicas mirror each other only the
    /// first decides that, and not while a twin of the shard lives: the twin scrapes it all, and would have to follow.
    pub(crate) fn may_take_over_from(&self, lost: ShardIx) -> bool {
        match self.policy.placement {
            Placement::Independent => true,
            Placement::Mirrored => self.replica == 0 && !self.has_living_twin(self.shards[lost].ordinal),
        }
    }

    /// Whether a shard of an ordinal in another replica answers, or is expected back.
    fn has_living_twin(&self, ordinal: Ordinal) -> bool {
        let others = self.world.replicas.iter().enumerate().filter(|(replica, _)| *replica != self.replica);
        others.filter_map(|(_, view)| view.shards.get(&ordinal)).any(|twin| self.lives(twin))
    }

    fn lives(&self, shard: &ShardView) -> bool {
        let not_lost = |since| self.policy.failover_after.is_none_or(|after| self.world.now.since(since) < after);
        match &shard.report {
            Seen::Fresh(_) => true,
            Seen::Stale { at, .. } => not_lost(*at),
            Seen::Never => shard.found_at_start.is_some_and(not_lost),
        }
    }

    /// What the other replicas say of where a target belongs, if replicas mirror each other. So the first one, too, gets
    /// back where they were the targets of a shard that lost its disk, or that has not told a new coordinator of them.
    pub(crate) fn twins_of(&self, target: TargetIx) -> TwinSays {
        match self.policy.placement {
            Placement::Independent => TwinSays::Nothing,
            Placement::Mirrored => {
                let ordinal = (0..self.world.replicas.len()).find_map(|replica| self.scraped_at(replica, target));
                let shard = ordinal.and_then(|ordinal| self.shard_at(ordinal));
                shard.map_or(TwinSays::Nothing, |shard| match self.shards[shard].reach {
                    Reach::Open => TwinSays::Here(shard),
                    // Memory may stay full for hours, and for ever while nothing relieves it.
                    Reach::Going | Reach::Full => TwinSays::Nothing,
                    Reach::Starting
                    | Reach::OtherConfig
                    | Reach::Silent
                    | Reach::Missing
                    | Reach::Lost
                    | Reach::Unread => TwinSays::Wait,
                })
            }
        }
    }

    /// The lowest living shard of a replica that owns a target.
    fn scraped_at(&self, replica: usize, target: TargetIx) -> Option<Ordinal> {
        let shards = &self.world.replicas[replica].shards;
        let owners = self.catalogue.holders(replica, target).filter(|held| held.state == TargetState::Normal);
        let ordinals = owners.map(|held| self.catalogue.ordinal(replica, held.shard));
        ordinals.filter(|ordinal| shards.get(ordinal).is_some_and(|shard| self.lives(shard))).min()
    }

    /// The targets that are held otherwise in the draft than in the world, in no order.
    pub(crate) fn changed(&self) -> impl Iterator<Item = TargetIx> {
        self.pencil.changed().map(|(target, _)| target)
    }

    /// The place of the shard of an ordinal.
    pub(crate) fn shard_at(&self, ordinal: Ordinal) -> Option<ShardIx> {
        self.shards.binary_search_by_key(&ordinal, |shard| shard.ordinal).ok()
    }

    /// The shard that owns a target in the draft: of several the only one that can be told; none while that is not clear.
    pub(crate) fn owner(&self, target: TargetIx) -> Option<Ordinal> {
        let holders = self.holders(target);
        let mut owners = holders.iter().filter(|holding| holding.held.state == TargetState::Normal);
        let mut told = owners.clone().filter(|holding| self.shards[holding.shard].reach.can_be_told());
        let only = match (told.next(), told.next()) {
            (Some(only), None) => Some(only),
            (None, _) => owners.next().filter(|_| owners.next().is_none()),
            (Some(_), Some(_)) => None,
        };
        only.map(|owner| self.shards[owner.shard].ordinal)
    }
}
