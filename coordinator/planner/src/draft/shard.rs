//! A shard in a draft: what it holds, how much of its budget that takes, and whether it can be told anything.

use std::collections::BTreeMap;

use narthex_common::{assignment::TargetState, shard::Ordinal, time::Timestamp};

use crate::{
    catalogue::{Catalogue, TargetIx},
    cost::Cost,
    policy::Policy,
    world::{HeldTarget, Seen, ShardReport, ShardView},
};

/// A shard as it is to be.
pub(crate) struct DraftShard {
    pub(crate) ordinal: Ordinal,
    pub(crate) reach: Reach,
    /// What it holds, sorted by id.
    pub(crate) targets: BTreeMap<TargetIx, Held>,
    /// The load of what it owns.
    pub(crate) staying: Cost,
    /// The load of what others take over from it.
    leaving: Cost,
    budget: Cost,
}

/// A target on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) state: TargetState,
    /// How often it was scraped there; nothing is known to have been scraped by a shard that is silent.
    pub(crate) scrapes: u32,
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
    /// It was there before the coordinator, and has not answered yet: it may hold anything.
    Unread,
}

impl Reach {
    fn of(view: &ShardView, going: bool, now: Timestamp, policy: &Policy) -> Self {
        let report = match &view.report {
            Seen::Never => {
                return match view.found_at_start {
                    Some(found) if now.since(found) < policy.max_silence => Self::Unread,
                    Some(_) => Self::Missing,
                    None => Self::Silent,
                };
            }
            Seen::Stale { at, .. } if now.since(*at) < policy.max_silence => return Self::Silent,
            Seen::Stale { .. } => return Self::Missing,
            Seen::Fresh(report) => report,
        };
        if !report.config_matches {
            Self::OtherConfig
        } else if going {
            Self::Going
        } else if !report.ready {
            Self::Starting
        } else if memory_is_full(report, policy) {
            Self::Full
        } else {
            Self::Open
        }
    }

    pub(crate) const fn can_be_told(self) -> bool {
        match self {
            Self::Open | Self::Full | Self::Starting | Self::Going => true,
            Self::OtherConfig | Self::Silent | Self::Missing | Self::Unread => false,
        }
    }

    /// Whether what it is known to hold was said in this round.
    const fn answers(self) -> bool {
        match self {
            Self::Open | Self::Full | Self::Starting | Self::Going | Self::OtherConfig => true,
            Self::Silent | Self::Missing | Self::Unread => false,
        }
    }

    /// Whether it will take targets, before long and without help.
    const fn is_on_its_way(self) -> bool {
        match self {
            Self::Starting | Self::OtherConfig | Self::Silent | Self::Unread => true,
            Self::Open | Self::Full | Self::Going | Self::Missing => false,
        }
    }
}

/// A shard takes nothing more while its memory holds over a tenth more than its budget. The tenth is there because
/// series outlive their target by up to three hours, and a target that restarts brings new ones: a shard that is
/// settled must not be shut out by that. For the same reason memory never makes targets leave: it would not fall.
fn memory_is_full(report: &ShardReport, policy: &Policy) -> bool {
    let limit = policy.max_series.0.saturating_add(policy.max_series.0 / 10);
    report.head_series.is_some_and(|head| head.0 > limit)
}

impl DraftShard {
    pub(crate) fn of(
        ordinal: Ordinal,
        view: &ShardView,
        going: bool,
        now: Timestamp,
        catalogue: &Catalogue,
        policy: &Policy,
    ) -> Self {
        let reach = Reach::of(view, going, now, policy);
        let held = |target: &HeldTarget| Held {
            state: target.state,
            scrapes: if reach.answers() { target.scrapes } else { 0 },
        };
        let targets: BTreeMap<TargetIx, Held> = match &view.report {
            Seen::Never => BTreeMap::new(),
            Seen::Stale { last: report, .. } | Seen::Fresh(report) => {
                report.targets.iter().filter_map(|(&id, t)| Some((catalogue.place_of(id)?, held(t)))).collect()
            }
        };
        let load_of = |state| {
            targets.iter().filter(|(_, held)| held.state == state).map(|(&target, _)| catalogue.get(target).cost).sum()
        };
        let (staying, leaving) = (load_of(TargetState::Normal), load_of(TargetState::InTransfer));
        Self {
            ordinal,
            reach,
            targets,
            staying,
            leaving,
            budget: policy.budget(crate::world::OwnBudget::default()).fill(),
        }
    }

    /// The room it has for targets now; none when it is over its budget.
    pub(crate) fn room(&self) -> Option<Cost> {
        self.room_within(self.budget)
    }

    /// The room it would have now, were a budget its own.
    pub(crate) fn room_within(&self, budget: Cost) -> Option<Cost> {
        if self.reach == Reach::Open { self.free_of(budget) } else { None }
    }

    /// The room it will have, once it takes targets; by then it will have forgotten some.
    pub(crate) fn room_to_come(&self, to_forget: Cost) -> Option<Cost> {
        let used = self.staying.plus(self.leaving).minus(to_forget);
        (self.reach.is_on_its_way() && used.fits(self.budget)).then(|| self.budget.minus(used))
    }

    fn free_of(&self, budget: Cost) -> Option<Cost> {
        let used = self.staying.plus(self.leaving);
        used.fits(budget).then(|| budget.minus(used))
    }

    /// How far what it owns exceeds its budget.
    pub(crate) fn excess(&self) -> Cost {
        self.staying.minus(self.budget)
    }

    /// Puts a target on the shard, or changes how it is held; returns how it was held before.
    pub(super) fn put(&mut self, target: TargetIx, load: Cost, held: Held) -> Option<Held> {
        let before = self.targets.insert(target, held);
        if let Some(before) = before {
            *self.sum_of(before.state) = self.sum_of(before.state).minus(load);
        }
        *self.sum_of(held.state) = self.sum_of(held.state).plus(load);
        before
    }

    /// Takes a target from the shard; returns how it was held.
    pub(super) fn take(&mut self, target: TargetIx, load: Cost) -> Option<Held> {
        let before = self.targets.remove(&target)?;
        *self.sum_of(before.state) = self.sum_of(before.state).minus(load);
        Some(before)
    }

    const fn sum_of(&mut self, state: TargetState) -> &mut Cost {
        match state {
            TargetState::Normal => &mut self.staying,
            TargetState::InTransfer => &mut self.leaving,
        }
    }
}
