//! The draft: one replica's plan under construction. Phases change it only through what is possible to a shard: to
//! get a target, to begin and to end a move, to forget.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{assignment::TargetState, shard::Ordinal, target::TargetId};

use crate::{
    catalogue::{Catalogue, Standing, TargetIx},
    cost::Cost,
    fit::{Aim, Fit, Rooms},
    memory::Memory,
    plan::{PlannedTarget, ReplicaPlan, ShardPlan},
    policy::{Budget, Policy},
    reason::{Change, PlaceReason, Unplaced},
    world::{HeldTarget, ReplicaView, World},
};

mod moves;
mod pencil;
mod room;
mod shard;
mod twin;
mod verbs;

pub(crate) use pencil::Holding;
use pencil::Pencil;
pub(crate) use shard::{DraftShard, Reach};
pub(crate) use twin::TwinSays;

/// A shard's place in the draft: its position among the replica's shards, in the order of ordinals.
pub(crate) type ShardIx = usize;

/// One replica's plan under construction.
pub(crate) struct Draft<'w> {
    pub(crate) world: &'w World,
    pub(crate) view: &'w ReplicaView,
    pub(crate) policy: &'w Policy,
    pub(crate) aim: Aim,
    pub(crate) moves_left: u32,
    pub(crate) wanted_shards: u32,
    /// Targets that want room which no shard has now.
    pub(crate) wanting: Vec<Wanting>,
    /// What is noted for the next round.
    pub(crate) memory: Memory,
    /// Whether lost shards keep what they had, because too many fell silent at once.
    pub(crate) takeover_held: bool,
    catalogue: &'w Catalogue,
    /// The place of the replica in the world.
    replica: usize,
    shards: Vec<DraftShard<'w>>,
    rooms: Rooms,
    /// Everything that is to be held otherwise than it is.
    pencil: Pencil,
    changes: Vec<Change>,
    unplaced: Vec<(TargetIx, Unplaced)>,
    oversized: BTreeSet<TargetId>,
    /// What shards are filled to, those that are there and those that may be added: every size once.
    sizes: Vec<Cost>,
}

/// A target on a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) state: TargetState,
    /// How often it was scraped there; nothing is known to have been scraped by a shard that is silent.
    pub(crate) scrapes: u32,
}

/// A target that no shard holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Homeless {
    pub(crate) target: TargetIx,
    pub(crate) id: TargetId,
    pub(crate) cost: Cost,
    /// How much of a budget that is, in billionths.
    pub(crate) share: u64,
}

/// A target that wants room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanting {
    /// No shard holds it.
    Homeless(TargetIx),
    /// Its shard is over its budget, or lost.
    Crowded(TargetIx),
}

impl Wanting {
    pub(crate) const fn target(self) -> TargetIx {
        match self {
            Self::Homeless(target) | Self::Crowded(target) => target,
        }
    }
}

impl<'w> Draft<'w> {
    /// A draft of the replica at a place of the world, in which nothing has changed yet.
    pub(crate) fn of(world: &'w World, replica: usize, catalogue: &'w Catalogue, policy: &'w Policy) -> Self {
        let view = &world.replicas[replica];
        let going = |ordinal: Ordinal| view.scalable && ordinal.0 >= view.wanted_shards;
        let shards: Vec<DraftShard<'w>> = view
            .shards
            .iter()
            .zip(catalogue.shards(replica))
            .map(|((&ordinal, shard), sums)| {
                let budget = policy.budget_in(world, ordinal, shard);
                DraftShard::of(ordinal, shard, *sums, going(ordinal), world.now, policy, budget)
            })
            .collect();
        let aim = if policy.scales_in() { Aim::Pack } else { Aim::Spread { seed: world.seed } };
        let sizes = sizes(&shards, view, policy);
        let mut draft = Self {
            world,
            view,
            policy,
            aim,
            moves_left: policy.max_moves,
            wanted_shards: view.wanted_shards,
            wanting: Vec::new(),
            memory: view.memory.clone(),
            takeover_held: false,
            catalogue,
            replica,
            shards,
            rooms: Rooms::default(),
            pencil: Pencil::over(catalogue.places()),
            changes: Vec::new(),
            unplaced: Vec::new(),
            oversized: BTreeSet::new(),
            sizes,
        };
        draft.keep_to_themselves();
        for shard in &draft.shards {
            draft.rooms.push(room_and_fit(shard, aim));
        }
        draft
    }

    /// Shards that hold a suspect take nothing else.
    fn keep_to_themselves(&mut self) {
        let suspects: Vec<TargetIx> = self.memory.suspects.keys().filter_map(|id| self.place_of(*id)).collect();
        for target in suspects {
            for holding in self.holders(target) {
                self.shards[holding.shard].kept_to_itself = true;
            }
        }
    }

    pub(crate) fn finish(mut self) -> ReplicaPlan {
        self.forget_old_moves();
        self.note_oversized_owners();
        let shards = self.differences();
        let id = |target: TargetIx| self.catalogue.id(target);
        let mut unplaced: Vec<(TargetId, Unplaced)> = self.unplaced.iter().map(|(t, why)| (id(*t), *why)).collect();
        unplaced.sort_unstable_by_key(|(target, _)| *target);
        ReplicaPlan {
            shards,
            wanted_shards: self.wanted_shards,
            changes: self.changes,
            unplaced: unplaced.into_iter().collect(),
            oversized: self.oversized,
            takeover_held: self.takeover_held,
            memory: self.memory,
        }
    }

    /// Notes the targets that are larger than a shard may be filled, and have one.
    fn note_oversized_owners(&mut self) {
        let is_owned =
            |target: TargetIx| self.holders(target).iter().any(|holding| holding.held.state == TargetState::Normal);
        let larger = self.catalogue.larger().iter().copied();
        let oversized: Vec<TargetIx> =
            larger.filter(|target| self.is_oversized(*target) && is_owned(*target)).collect();
        oversized.into_iter().for_each(|target| self.note_oversized(target));
    }

    /// What every shard is to hold otherwise than it does.
    fn differences(&self) -> BTreeMap<Ordinal, ShardPlan> {
        let mut put: Vec<Vec<(TargetId, PlannedTarget)>> = vec![Vec::new(); self.shards.len()];
        let mut remove: Vec<Vec<TargetId>> = vec![Vec::new(); self.shards.len()];
        for (target, after) in self.pencil.changed() {
            let (id, load) = (self.catalogue.id(target), self.catalogue.load(target));
            for holding in after {
                let before = self.catalogue.holders(self.replica, target).find(|before| before.shard == holding.shard);
                if before.is_none_or(|before| before.state != holding.held.state) {
                    put[holding.shard].push((id, PlannedTarget { state: holding.held.state, load }));
                }
            }
            for before in self.catalogue.holders(self.replica, target) {
                if !after.iter().any(|holding| holding.shard == before.shard) {
                    remove[before.shard].push(id);
                }
            }
        }
        let mut plans = BTreeMap::new();
        for (shard, (mut put, mut remove)) in put.into_iter().zip(remove).enumerate() {
            if !put.is_empty() || !remove.is_empty() {
                put.sort_unstable_by_key(|(id, _)| *id);
                remove.sort_unstable();
                let plan = ShardPlan { put: put.into_iter().collect(), remove: remove.into_iter().collect() };
                plans.insert(self.shards[shard].ordinal, plan);
            }
        }
        plans
    }

    pub(crate) fn shards(&self) -> &[DraftShard<'w>] {
        &self.shards
    }

    pub(crate) fn place_of(&self, id: TargetId) -> Option<TargetIx> {
        self.catalogue.place_of(id)
    }

    pub(crate) fn id(&self, target: TargetIx) -> TargetId {
        self.catalogue.id(target)
    }

    pub(crate) fn catalogue(&self) -> &'w Catalogue {
        self.catalogue
    }

    pub(crate) fn cost(&self, target: TargetIx) -> Cost {
        self.catalogue.cost(target)
    }

    pub(crate) fn standing(&self, target: TargetIx) -> Standing {
        self.catalogue.standing(target)
    }

    pub(crate) fn unplaced(&self) -> &[(TargetIx, Unplaced)] {
        &self.unplaced
    }

    /// The shards that hold a target, in the draft.
    pub(crate) fn holders(&self, target: TargetIx) -> pencil::Holders {
        self.pencil.holders(target).cloned().unwrap_or_else(|| self.holders_before(target))
    }

    fn holders_before(&self, target: TargetIx) -> pencil::Holders {
        let held = self.catalogue.holders(self.replica, target);
        held.map(|h| Holding { shard: h.shard, held: Held { state: h.state, scrapes: h.scrapes } }).collect()
    }

    pub(crate) fn number_of_holders(&self, target: TargetIx) -> usize {
        match self.pencil.holders(target) {
            Some(holders) => holders.len(),
            None => self.catalogue.holders(self.replica, target).count(),
        }
    }

    /// How a shard holds a target, in the draft.
    pub(crate) fn held(&self, target: TargetIx, shard: ShardIx) -> Option<Held> {
        self.holders(target).into_iter().find(|holding| holding.shard == shard).map(|holding| holding.held)
    }

    /// What a shard said of a target, now or last.
    pub(crate) fn said(&self, target: TargetIx, shard: ShardIx) -> Option<&'w HeldTarget> {
        self.shards[shard].said.as_ref()?.targets.get(&self.id(target))
    }

    /// What a shard holds in the draft, sorted by id.
    pub(crate) fn targets_of(&self, shard: ShardIx) -> Vec<(TargetIx, Held)> {
        let said = self.shards[shard].said.iter().flat_map(|report| report.targets.keys());
        let places = said.filter_map(|id| self.place_of(*id)).chain(self.shards[shard].gained.iter().copied());
        let mut targets: Vec<_> = places.filter_map(|target| Some((target, self.held(target, shard)?))).collect();
        targets.sort_unstable_by_key(|(target, _)| self.id(*target));
        targets.dedup_by_key(|(target, _)| *target);
        targets
    }

    /// The targets that discovery lists and no shard holds, in no order.
    pub(crate) fn homeless(&self) -> Vec<Homeless> {
        let budget = self.policy.usual_budget().whole();
        let members = self.catalogue.homeless(self.replica);
        let mut homeless = Vec::with_capacity(members.len());
        for &target in members {
            if self.number_of_holders(target) == 0 {
                let cost = self.cost(target);
                homeless.push(Homeless { target, id: self.id(target), cost, share: cost.share_of(budget) });
            }
        }
        homeless
    }

    /// The targets that are on the move, or held more than once, sorted by id.
    pub(crate) fn unsettled(&self) -> Vec<TargetIx> {
        let mut unsettled = self.catalogue.unsettled(self.replica).to_vec();
        unsettled.sort_unstable_by_key(|target| self.id(*target));
        unsettled
    }

    /// The targets that shards hold and are to forget, sorted by id.
    pub(crate) fn gone(&self) -> Vec<TargetIx> {
        let unlisted = self.catalogue.unlisted().iter().copied();
        let is_gone = |target: &TargetIx| self.is_gone(*target) && self.number_of_holders(*target) > 0;
        let mut gone: Vec<TargetIx> = unlisted.filter(is_gone).collect();
        gone.sort_unstable_by_key(|target| self.id(*target));
        gone
    }

    fn is_gone(&self, target: TargetIx) -> bool {
        self.standing(target) == Standing::Gone
    }

    /// What shards carry only until they can be told to forget it, by shard: its cost, and how many targets it is.
    pub(crate) fn still_to_forget(&self) -> BTreeMap<ShardIx, (Cost, usize)> {
        let mut to_forget: BTreeMap<ShardIx, (Cost, usize)> = BTreeMap::new();
        for target in self.gone() {
            for holding in self.holders(target) {
                let (cost, targets) = to_forget.entry(holding.shard).or_default();
                (*cost, *targets) = (cost.plus(self.cost(target)), *targets + 1);
            }
        }
        to_forget
    }

    /// Whether a shard may hold targets that nobody knows of.
    pub(crate) fn has_unread_shards(&self) -> bool {
        self.shards.iter().any(|shard| shard.reach == Reach::Unread)
    }

    /// Whether a target is larger than any shard may be filled.
    pub(crate) fn is_oversized(&self, target: TargetIx) -> bool {
        self.exceeds_every_shard(self.cost(target))
    }

    /// Whether something is more than any shard may be filled with.
    pub(crate) fn exceeds_every_shard(&self, cost: Cost) -> bool {
        !self.sizes.iter().any(|fill| cost.fits(*fill))
    }

    /// Whether a target may share a shard with nothing else.
    pub(crate) fn is_suspect(&self, target: TargetIx) -> bool {
        !self.memory.suspects.is_empty() && self.memory.suspects.contains_key(&self.id(target))
    }

    /// Whether a move of a target may begin at its shard: discovery lists it, no other shard has to do with it, and
    /// nothing about it changes in this round already.
    pub(crate) fn is_movable(&self, target: TargetIx, held: Held) -> bool {
        held.state == TargetState::Normal
            && self.number_of_holders(target) == 1
            && self.pencil.holders(target).is_none()
            && self.standing(target) == Standing::Listed
    }

    /// The shard where something goes best that is neither a suspect nor oversized.
    pub(crate) fn best_shard_with_room(&self, cost: Cost) -> Option<ShardIx> {
        self.rooms.best_for(cost)
    }

    /// The shard where a target goes best: for one that is larger than a budget, or a suspect, the first that is empty.
    pub(crate) fn best_shard_for(&self, target: TargetIx) -> Option<ShardIx> {
        self.best_shard_but(None, target)
    }

    /// The shard where a target goes best, but for one.
    pub(crate) fn best_shard_but(&self, except: Option<ShardIx>, target: TargetIx) -> Option<ShardIx> {
        let empty = || match self.next_empty_shard(0) {
            Some(empty) if Some(empty) == except => self.next_empty_shard(empty + 1),
            empty => empty,
        };
        if self.is_oversized(target) {
            return empty();
        }
        if self.is_suspect(target) {
            return self.empty_shard_for_suspect(except, target);
        }
        self.rooms.best_but(except, self.cost(target))
    }

    /// The first empty shard, but for one, that a suspect may have to itself: one that it fits on, if there is any.
    pub(crate) fn empty_shard_for_suspect(&self, except: Option<ShardIx>, target: TargetIx) -> Option<ShardIx> {
        let cost = self.cost(target);
        let fits = |shard: &ShardIx| cost.fits(self.shards[*shard].budget.fill()) || self.exceeds_every_shard(cost);
        let mut empty = (0..self.shards.len()).filter(|shard| self.shards[*shard].is_empty_and_open());
        empty.find(|shard| Some(*shard) != except && fits(shard))
    }

    /// Whether any shard takes anything.
    pub(crate) fn has_room(&self) -> bool {
        self.rooms.any()
    }

    /// Whether a target may be put on a shard: there is room, or it is larger than a shard may be filled, and this one is
    /// empty.
    pub(crate) fn has_room_for(&self, target: TargetIx, shard: ShardIx) -> bool {
        let has_room = self.shards[shard].room().is_some_and(|room| self.cost(target).fits(room));
        has_room || self.is_oversized(target) && self.shards[shard].is_empty_and_open()
    }

    /// The first shard from a place on that is empty and open.
    pub(crate) fn next_empty_shard(&self, from: ShardIx) -> Option<ShardIx> {
        (from..self.shards.len()).find(|shard| self.shards[*shard].is_empty_and_open())
    }

    /// Why a target that needs no shard of its own goes to the best one.
    pub(crate) const fn by_aim(&self) -> PlaceReason {
        match self.aim {
            Aim::Pack => PlaceReason::LowestWithRoom,
            Aim::Spread { .. } => PlaceReason::MostRoom,
        }
    }
}

fn sizes(shards: &[DraftShard<'_>], view: &ReplicaView, policy: &Policy) -> Vec<Cost> {
    let mut budgets: Vec<Budget> = Vec::new();
    if view.scalable || shards.is_empty() {
        budgets.push(policy.usual_budget());
    }
    for shard in shards {
        if !budgets.contains(&shard.budget) {
            budgets.push(shard.budget);
        }
    }
    budgets.iter().map(Budget::fill).collect()
}

fn room_and_fit(shard: &DraftShard<'_>, aim: Aim) -> Option<(Cost, Fit)> {
    shard.room().map(|room| (room, Fit::of(aim, shard.ordinal, room, shard.budget.fill())))
}
