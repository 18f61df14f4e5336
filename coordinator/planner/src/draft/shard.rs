//! A shard in a draft: what it holds, how much of its budget that takes, and whether it can be told anything.

use narthex_common::{assignment::TargetState, shard::Ordinal, time::Timestamp};

use crate::{
    catalogue::{ShardSums, TargetIx},
    cost::Cost,
    policy::{Budget, Policy},
    world::{Seen, ShardReport, ShardView},
};

/// A shard as it is to be.
pub(crate) struct DraftShard<'w> {
    pub(crate) ordinal: Ordinal,
    pub(crate) reach: Reach,
    /// Whether it is above the number of shards asked for.
    pub(crate) going: bool,
    /// What it said, now or last.
    pub(crate) said: Option<&'w ShardReport>,
    /// What it may carry; of shards that mirror each other, what the weakest may.
    pub(crate) budget: Budget,
    /// The cost of what it owns.
    pub(crate) staying: Cost,
    /// The cost of what others take over from it.
    pub(crate) leaving: Cost,
    /// How many targets it holds.
    pub(crate) targets: usize,
    /// The targets it got in this draft.
    pub(super) gained: Vec<TargetIx>,
    /// Whether it is for a suspect alone.
    pub(super) kept_to_itself: bool,
}

/// What can be done with a shard in this round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// It takes targets.
    Open,
    /// Its memory holds far more than its budget: it can be told, and takes nothing.
    Full,
    /// Its Prometheus is not ready: it can be told, and takes nothing yet.
    Starting,
    /// It is above the number of shards asked for: it can be told, and takes nothing any more.
    Going,
    /// It answers, and runs another config: nothing is applied to it.
    OtherConfig,
    /// It does not answer: it keeps what it had last, and is expected back.
    Silent,
    /// It has not answered for long: it keeps what it had last, and is not counted on.
    Missing,
    /// It has not answered for so long that others take over what it had.
    Lost,
    /// It was there before the coordinator, and has not answered yet: it may hold anything.
    Unread,
}

impl Reach {
    fn of(view: &ShardView, going: bool, now: Timestamp, budget: Budget, policy: &Policy) -> Self {
        let report = match &view.report {
            Seen::Never => {
                return match view.found_at_start {
                    Some(found) if now.since(found) < policy.max_silence => Self::Unread,
                    Some(_) => Self::Missing,
                    None => Self::Silent,
                };
            }
            Seen::Stale { at, .. } if now.since(*at) < policy.max_silence => return Self::Silent,
            Seen::Stale { at, .. } if policy.failover_after.is_some_and(|after| now.since(*at) >= after) => {
                return Self::Lost;
            }
            Seen::Stale { .. } => return Self::Missing,
            Seen::Fresh(report) => report,
        };
        if !report.config_matches {
            Self::OtherConfig
        } else if going {
            Self::Going
        } else if !report.ready {
            Self::Starting
        } else if memory_is_full(report, budget) {
            Self::Full
        } else {
            Self::Open
        }
    }

    pub(crate) const fn can_be_told(self) -> bool {
        match self {
            Self::Open | Self::Full | Self::Starting | Self::Going => true,
            Self::OtherConfig | Self::Silent | Self::Missing | Self::Lost | Self::Unread => false,
        }
    }

    /// Whether it has not answered for longer than a silent shard is waited for.
    pub(crate) const fn is_missed(self) -> bool {
        match self {
            Self::Missing | Self::Lost => true,
            Self::Open
            | Self::Full
            | Self::Starting
            | Self::Going
            | Self::OtherConfig
            | Self::Silent
            | Self::Unread => false,
        }
    }

    /// Whether it will take targets, before long and without help.
    const fn is_on_its_way(self) -> bool {
        match self {
            Self::Starting | Self::OtherConfig | Self::Silent | Self::Unread => true,
            Self::Open | Self::Full | Self::Going | Self::Missing | Self::Lost => false,
        }
    }
}

/// A shard takes nothing more while its memory holds over a tenth more than its budget. The tenth is there because
/// series outlive their target by up to three hours, and a target that restarts brings new ones: a shard that is
/// settled must not be shut out by that. For the same reason memory never makes targets leave: it would not fall.
fn memory_is_full(report: &ShardReport, budget: Budget) -> bool {
    report.head_series.is_some_and(|head| head > budget.relief().series)
}

impl<'w> DraftShard<'w> {
    pub(super) fn of(
        ordinal: Ordinal,
        view: &'w ShardView,
        sums: ShardSums,
        going: bool,
        now: Timestamp,
        policy: &Policy,
        budget: Budget,
    ) -> Self {
        Self {
            ordinal,
            reach: Reach::of(view, going, now, budget, policy),
            going,
            said: view.report.last(),
            budget,
            staying: sums.staying,
            leaving: sums.leaving,
            targets: sums.targets,
            gained: Vec::new(),
            kept_to_itself: false,
        }
    }

    /// The room it has for targets now; none when it is filled beyond what it may be, or kept for a suspect.
    pub(crate) fn room(&self) -> Option<Cost> {
        self.room_within(self.budget.fill())
    }

    /// The room it would have now, were it filled only so far.
    pub(crate) fn room_within(&self, fill: Cost) -> Option<Cost> {
        let used = self.staying.plus(self.leaving);
        (self.reach == Reach::Open && !self.kept_to_itself && used.fits(fill)).then(|| fill.minus(used))
    }

    /// Whether it is for a suspect alone.
    pub(crate) const fn is_kept_to_itself(&self) -> bool {
        self.kept_to_itself
    }

    pub(crate) fn is_empty_and_open(&self) -> bool {
        self.reach == Reach::Open && self.targets == 0
    }

    /// The room it will have, once it takes targets; by then it will have forgotten some.
    pub(crate) fn room_to_come(&self, to_forget: Cost) -> Option<Cost> {
        let used = self.staying.plus(self.leaving).minus(to_forget);
        let fill = self.budget.fill();
        (self.reach.is_on_its_way() && !self.kept_to_itself && used.fits(fill)).then(|| fill.minus(used))
    }

    /// Adds a target, or changes how it is held.
    pub(super) fn put(&mut self, cost: Cost, before: Option<TargetState>, after: TargetState) {
        match before {
            Some(before) => *self.sum_of(before) = self.sum_of(before).minus(cost),
            None => self.targets += 1,
        }
        *self.sum_of(after) = self.sum_of(after).plus(cost);
    }

    /// Takes a target from the shard.
    pub(super) fn take(&mut self, cost: Cost, before: TargetState) {
        self.targets -= 1;
        *self.sum_of(before) = self.sum_of(before).minus(cost);
    }

    const fn sum_of(&mut self, state: TargetState) -> &mut Cost {
        match state {
            TargetState::Normal => &mut self.staying,
            TargetState::InTransfer => &mut self.leaving,
        }
    }
}
