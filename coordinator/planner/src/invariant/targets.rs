//! Who holds a target, before and after, and whether that may be.

use narthex_common::{assignment::TargetState, report::SCRAPES_COUNTED, target::TargetId};
use smallvec::SmallVec;

use super::{Fault, Replica};
use crate::{
    catalogue::{HeldBy, Standing},
    world::{Seen, ShardView},
};

/// What one shard is told of one target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Told {
    target: TargetId,
    /// The shard's position.
    position: usize,
    tell: Tell,
}

/// What can be told of a target.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tell {
    Put(TargetState),
    Remove,
}

/// The shards that hold a target, by position.
pub(super) type Before = SmallVec<[HeldBy; 2]>;
pub(super) type After = SmallVec<[(usize, TargetState); 2]>;

/// How many targets get another shard than before.
#[derive(Default)]
struct Begun {
    moves: usize,
    takeovers: usize,
}

impl Replica<'_> {
    /// Notes what shards are told.
    pub(super) fn tell(&mut self) {
        let plan = self.plan;
        for (&ordinal, shard) in &plan.shards {
            let Some(position) = self.position(ordinal) else { continue };
            let put = shard.put.iter().map(|(&target, planned)| (target, Tell::Put(planned.state)));
            let remove = shard.remove.iter().map(|&target| (target, Tell::Remove));
            for (target, tell) in put.chain(remove) {
                let is_there = self.before(target).iter().any(|holder| holder.shard == position);
                self.told.push(Told { target, position, tell });
                self.add_up(target, position, tell, is_there);
            }
        }
        self.told.sort_unstable();
    }

    fn told(&self, target: TargetId) -> &[Told] {
        let from = self.told.partition_point(|told| told.target < target);
        let of_target = self.told[from..].iter().take_while(|told| told.target == target).count();
        &self.told[from..from + of_target]
    }

    pub(super) fn before(&self, target: TargetId) -> Before {
        let place = self.catalogue.place_of(target);
        place.map_or_else(Before::new, |place| self.catalogue.holders(self.place, place).collect())
    }

    pub(super) fn after(&self, target: TargetId) -> After {
        let mut after: After = self.before(target).iter().map(|holder| (holder.shard, holder.state)).collect();
        for told in self.told(target) {
            after.retain(|(position, _)| *position != told.position);
            if let Tell::Put(state) = told.tell {
                after.push((told.position, state));
            }
        }
        after
    }

    /// The targets that a plan changes, or that it has to say something about; each once, sorted.
    pub(super) fn concerned(&self) -> Vec<TargetId> {
        let waiting = self.catalogue.homeless(self.place).iter().chain(self.catalogue.unsettled(self.place));
        let mut concerned: Vec<TargetId> = waiting.map(|target| self.catalogue.id(*target)).collect();
        concerned.extend(self.told.iter().map(|told| told.target));
        concerned.extend(self.plan.unplaced.keys());
        concerned.sort_unstable();
        concerned.dedup();
        concerned
    }

    pub(super) fn targets_are_held_as_they_may_be(&self, faults: &mut Vec<Fault>) {
        let nothing_may_begin = self.may_hold_more_than_is_known() || !self.enough_shards_are_there();
        let mut begun = Begun::default();
        for target in self.concerned() {
            let (before, after) = (self.before(target), self.after(target));
            let gains = |(position, _): &(usize, TargetState)| !before.iter().any(|h| h.shard == *position);
            let gained = after.iter().filter(|held| gains(held)).count();
            self.is_accounted_for(target, &after, faults);
            self.makes_a_difference(target, &before, faults);
            let standing = self.catalogue.place_of(target).map(|place| self.catalogue.standing(place));
            if standing == Some(Standing::Gone) || standing.is_none() {
                if gained > 0 {
                    faults.push(Fault::Gone { target });
                }
                // 7, of targets that changed their name: the new one may get no shard yet, so the old one stays.
                if self.may_hold_more_than_is_known() {
                    self.is_let_go_when_others_have_it(target, &before, &after, faults);
                }
                continue;
            }
            if gained > 0 {
                if nothing_may_begin {
                    faults.push(Fault::TooEarly { target });
                }
                self.begins(target, &before, &after, &mut begun, faults);
            }
            self.is_let_go_when_others_have_it(target, &before, &after, faults);
            self.has_one_owner(target, &before, &after, faults);
            let live = |position: usize| !self.shards[position].lost;
            let live_before = before.iter().filter(|holder| live(holder.shard)).count();
            let live_after = after.iter().filter(|(position, _)| live(*position)).count();
            if live_after > live_before.max(2) || gained > 1 {
                faults.push(Fault::ScrapedByTooMany { target });
            }
        }
        // 8.
        if begun.moves > usize::try_from(self.policy.max_moves).unwrap_or(usize::MAX) {
            faults.push(Fault::TooManyMoves { moves: begun.moves });
        }
        if begun.takeovers > usize::try_from(self.policy.max_takeovers).unwrap_or(usize::MAX) {
            faults.push(Fault::TooManyTakeovers { takeovers: begun.takeovers });
        }
    }

    /// 1: assigned, or listed as unplaced; not both. What only lost shards have may be either: it waits for another
    /// shard, or none is to have it and its own may be scraping it.
    fn is_accounted_for(&self, target: TargetId, after: &After, faults: &mut Vec<Fault>) {
        let is_listed = self.world.targets.contains_key(&target);
        let is_unplaced = self.plan.unplaced.contains_key(&target);
        let only_lost_have_it = is_listed && after.iter().all(|(position, _)| self.shards[*position].lost);
        if is_unplaced && !only_lost_have_it || !is_unplaced && is_listed && after.is_empty() {
            faults.push(Fault::Unaccounted { target });
        }
    }

    /// 3: who is told something does it from then on, and did not before.
    fn makes_a_difference(&self, target: TargetId, before: &Before, faults: &mut Vec<Fault>) {
        for told in self.told(target) {
            let state = before.iter().find(|holder| holder.shard == told.position).map(|holder| holder.state);
            let differs = match told.tell {
                Tell::Put(TargetState::Normal) => state != Some(TargetState::Normal),
                Tell::Put(TargetState::InTransfer) => state == Some(TargetState::Normal),
                Tell::Remove => state.is_some(),
            };
            if !differs {
                faults.push(Fault::NoDifference { target, shard: self.shards[told.position].ordinal });
            }
        }
    }

    /// 7: a target that gets a shard had none, or only lost ones, or one that hands it over.
    fn begins(&self, target: TargetId, before: &Before, after: &After, begun: &mut Begun, faults: &mut Vec<Fault>) {
        let mut live = before.iter().filter(|holder| !self.shards[holder.shard].lost);
        match (live.next(), live.next()) {
            (None, _) if before.is_empty() => {}
            (None, _) => begun.takeovers += 1,
            (Some(source), None)
                if source.state == TargetState::Normal && after.contains(&(source.shard, TargetState::InTransfer)) =>
            {
                begun.moves += 1;
            }
            (Some(_), _) => faults.push(Fault::TakenFromTheLiving { target }),
        }
    }

    /// 5, 10: a source lets go only after three scrapes elsewhere, and nothing is forgotten before its job has answered.
    fn is_let_go_when_others_have_it(&self, target: TargetId, before: &Before, after: &After, faults: &mut Vec<Fault>) {
        let is_proven = |holder: &HeldBy| {
            holder.state == TargetState::Normal
                && holder.scrapes >= SCRAPES_COUNTED
                && after.contains(&(holder.shard, TargetState::Normal))
        };
        for holder in before {
            let released = !after.iter().any(|(position, _)| *position == holder.shard);
            if released && (holder.state == TargetState::Normal || !before.iter().any(is_proven)) {
                faults.push(Fault::LetGoTooEarly { target, shard: self.shards[holder.shard].ordinal });
            }
        }
    }

    /// 5: of the shards that hold a target one owns it.
    fn has_one_owner(&self, target: TargetId, before: &Before, after: &After, faults: &mut Vec<Fault>) {
        let within_reach = |position: usize| self.shards[position].within_reach().is_some();
        let owners = after.iter().filter(|(_, state)| *state == TargetState::Normal);
        if owners.clone().filter(|(position, _)| within_reach(*position)).count() > 1 {
            faults.push(Fault::OwnedTwice { target });
        }
        let could_be_told = after.iter().any(|(position, _)| within_reach(*position));
        let was_owned = before.iter().any(|holder| holder.state == TargetState::Normal);
        let must_be_owned = was_owned || could_be_told && !self.may_hold_more_than_is_known();
        if owners.count() == 0 && !after.is_empty() && must_be_owned {
            faults.push(Fault::OwnedByNobody { target });
        }
    }

    /// 7: whether a shard that was there before the coordinator, and has not answered yet, may hold anything.
    fn may_hold_more_than_is_known(&self) -> bool {
        let is_unread = |shard: &ShardView| {
            matches!(shard.report, Seen::Never)
                && shard.found_at_start.is_some_and(|found| self.world.now.since(found) < self.policy.max_silence)
        };
        self.view.shards.values().any(is_unread)
    }

    /// 11, to begin with: whether as many shards as the minimum have answered, or were there before the coordinator.
    fn enough_shards_are_there(&self) -> bool {
        let is_there = |shard: &&ShardView| !matches!(shard.report, Seen::Never) || shard.found_at_start.is_some();
        self.view.shards.values().filter(is_there).count()
            >= usize::try_from(self.policy.min_shards).unwrap_or(usize::MAX)
    }
}
