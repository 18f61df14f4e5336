//! The draft: one replica's plan under construction. Phases change it only through what is possible to a shard: to
//! get a target, to begin and to end a move, to forget.

use std::collections::{BTreeMap, BTreeSet};

use narthex_common::{assignment::TargetState, target::TargetId};

use crate::{
    catalogue::{Catalogue, Entry, Standing, TargetIx},
    cost::Cost,
    fit::{Aim, Fit, Rooms},
    plan::ReplicaPlan,
    policy::Policy,
    reason::{Change, MoveReason, Unplaced},
    world::{ReplicaView, World},
};

mod shard;

pub(crate) use shard::{DraftShard, Held, Reach};

/// A shard's place in the draft: its position among the replica's shards, in the order of ordinals.
pub(crate) type ShardIx = usize;

/// One replica's plan under construction.
pub(crate) struct Draft<'w> {
    pub(crate) view: &'w ReplicaView,
    pub(crate) policy: &'w Policy,
    pub(crate) catalogue: &'w Catalogue,
    pub(crate) aim: Aim,
    pub(crate) moves_left: u32,
    pub(crate) wanted_shards: u32,
    /// Targets that want room which no shard has now.
    pub(crate) wanting: Vec<Wanting>,
    shards: Vec<DraftShard>,
    rooms: Rooms,
    /// How many shards hold each target of the catalogue, in any state.
    holders: Vec<u32>,
    /// The targets whose moves end in this round.
    settled: BTreeSet<TargetIx>,
    changes: Vec<Change>,
    unplaced: Vec<(TargetIx, Unplaced)>,
}

/// A target that wants room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanting {
    /// No shard holds it.
    Homeless(TargetIx),
    /// Its shard is over its budget.
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
    pub(crate) fn of(world: &World, view: &'w ReplicaView, catalogue: &'w Catalogue, policy: &'w Policy) -> Self {
        let going = |ordinal: u32| view.scalable && ordinal >= view.wanted_shards;
        let shards: Vec<DraftShard> = view
            .shards
            .iter()
            .map(|(&ordinal, shard)| DraftShard::of(ordinal, shard, going(ordinal.0), world.now, catalogue, policy))
            .collect();
        let mut holders = vec![0; catalogue.len()];
        for target in shards.iter().flat_map(|shard| shard.targets.keys()) {
            holders[target.0] += 1;
        }
        let aim = if policy.scales_in() { Aim::Pack } else { Aim::Spread { seed: world.seed } };
        let mut rooms = Rooms::default();
        for shard in &shards {
            rooms.push(room_and_fit(shard, aim, policy));
        }
        Self {
            view,
            policy,
            catalogue,
            aim,
            moves_left: policy.max_moves,
            wanted_shards: view.wanted_shards,
            wanting: Vec::new(),
            shards,
            rooms,
            holders,
            settled: BTreeSet::new(),
            changes: Vec::new(),
            unplaced: Vec::new(),
        }
    }

    pub(crate) fn finish(mut self) -> ReplicaPlan {
        self.unplaced.sort_unstable_by_key(|(target, _)| *target);
        let id = |target: TargetIx| self.catalogue.get(target).id;
        ReplicaPlan {
            shards: self.shards.iter().filter_map(|shard| self.difference(shard)).collect(),
            wanted_shards: self.wanted_shards,
            changes: self.changes.clone(),
            unplaced: self.unplaced.iter().map(|(target, why)| (id(*target), *why)).collect::<BTreeMap<_, _>>(),
            oversized: BTreeSet::new(),
            memory: crate::memory::Memory::default(),
        }
    }

    fn difference(&self, shard: &DraftShard) -> Option<(narthex_common::shard::Ordinal, crate::plan::ShardPlan)> {
        let before = match &self.view.shards.get(&shard.ordinal)?.report {
            crate::world::Seen::Fresh(report) => &report.targets,
            crate::world::Seen::Never | crate::world::Seen::Stale { .. } => return None,
        };
        let after: BTreeMap<TargetId, (TargetState, narthex_common::load::Load)> = shard
            .targets
            .iter()
            .map(|(&t, held)| (self.catalogue.get(t).id, (held.state, self.catalogue.get(t).load)))
            .collect();
        let put = after
            .iter()
            .filter(|(id, (state, _))| before.get(*id).is_none_or(|b| b.state != *state))
            .map(|(id, &(state, load))| (*id, crate::plan::PlannedTarget { state, load }))
            .collect();
        let remove = before.keys().filter(|id| !after.contains_key(id)).copied().collect();
        let plan = crate::plan::ShardPlan { put, remove };
        (!plan.is_empty()).then_some((shard.ordinal, plan))
    }

    pub(crate) fn shards(&self) -> &[DraftShard] {
        &self.shards
    }

    pub(crate) fn entry(&self, target: TargetIx) -> &'w Entry {
        self.catalogue.get(target)
    }

    pub(crate) fn load(&self, target: TargetIx) -> Cost {
        self.entry(target).cost
    }

    pub(crate) fn unplaced(&self) -> &[(TargetIx, Unplaced)] {
        &self.unplaced
    }

    /// What a shard carries only until it can be told to forget it.
    pub(crate) fn load_to_forget(&self, shard: &DraftShard) -> Cost {
        shard.targets.keys().filter(|target| self.is_gone(**target)).map(|target| self.load(*target)).sum()
    }

    /// Whether a shard will be empty once it has been told.
    pub(crate) fn holds_only_what_it_will_forget(&self, shard: &DraftShard) -> bool {
        shard.targets.keys().all(|target| self.is_gone(*target))
    }

    fn is_gone(&self, target: TargetIx) -> bool {
        self.entry(target).standing == Standing::Gone
    }

    pub(crate) fn number_of_holders(&self, target: TargetIx) -> u32 {
        self.holders[target.0]
    }

    /// Whether a shard may hold targets that nobody knows of.
    pub(crate) fn has_unread_shards(&self) -> bool {
        self.shards.iter().any(|shard| shard.reach == Reach::Unread)
    }

    /// Whether a target is larger than any shard's budget.
    pub(crate) fn is_oversized(&self, target: TargetIx) -> bool {
        !self.load(target).fits(self.policy.budget(crate::world::OwnBudget::default()).fill())
    }

    /// Whether a move of a target may begin at its shard: discovery lists it, and no other shard has to do with it, or
    /// had until this round.
    pub(crate) fn is_movable(&self, target: TargetIx, held: Held) -> bool {
        held.state == TargetState::Normal
            && self.number_of_holders(target) == 1
            && !self.settled.contains(&target)
            && self.entry(target).standing == Standing::Listed
    }

    /// The shard where a target goes best: for one that is larger than a budget, the first that is empty.
    pub(crate) fn best_shard_for(&self, target: TargetIx) -> Option<ShardIx> {
        if self.is_oversized(target) {
            return self.shards.iter().position(|shard| shard.reach == Reach::Open && shard.targets.is_empty());
        }
        self.rooms.best_for(self.load(target))
    }

    /// Gives a target that no shard holds to one.
    pub(crate) fn place(&mut self, target: TargetIx, to: ShardIx) {
        self.put(target, to, Held { state: TargetState::Normal, scrapes: 0 });
        self.changes.push(Change::Place {
            target: self.id(target),
            to: self.shards[to].ordinal,
            why: crate::reason::PlaceReason::MostRoom,
        });
    }

    /// Begins a move: the destination scrapes, and the source goes on.
    pub(crate) fn begin_move(&mut self, target: TargetIx, from: ShardIx, to: ShardIx, why: MoveReason) {
        self.put(target, to, Held { state: TargetState::Normal, scrapes: 0 });
        self.moves_left = self.moves_left.saturating_sub(1);
        self.hand_over(target, from, to, why);
    }

    /// Makes a shard hand a target over to one that scrapes it already.
    pub(crate) fn hand_over(&mut self, target: TargetIx, from: ShardIx, to: ShardIx, why: MoveReason) {
        self.set_state(target, from, TargetState::InTransfer);
        let (from, to) = (self.shards[from].ordinal, self.shards[to].ordinal);
        self.changes.push(Change::Move { target: self.id(target), from, to, why });
    }

    /// Ends a move: the source lets go.
    pub(crate) fn settle(&mut self, target: TargetIx, from: ShardIx) {
        self.settled.insert(target);
        self.take(target, from);
        self.changes.push(Change::Settle { target: self.id(target), from: self.shards[from].ordinal });
    }

    /// Gives a move up: the source owns the target again.
    pub(crate) fn give_back(&mut self, target: TargetIx, to: ShardIx) {
        self.set_state(target, to, TargetState::Normal);
        self.changes.push(Change::GiveBack {
            target: self.id(target),
            to: self.shards[to].ordinal,
            why: crate::reason::GiveBackReason::NotThere,
        });
    }

    /// Takes a target that is gone from a shard.
    pub(crate) fn forget(&mut self, target: TargetIx, from: ShardIx) {
        self.take(target, from);
        self.changes.push(Change::Forget { target: self.id(target), from: self.shards[from].ordinal });
    }

    /// Leaves a target without a shard.
    pub(crate) fn leave_unplaced(&mut self, target: TargetIx, why: Unplaced) {
        self.unplaced.push((target, why));
    }

    /// Changes the number of shards.
    pub(crate) fn scale(&mut self, to: u32, why: crate::reason::ScaleReason) {
        self.changes.push(Change::Scale { from: self.wanted_shards, to, why });
        self.wanted_shards = to;
    }

    fn id(&self, target: TargetIx) -> TargetId {
        self.entry(target).id
    }

    fn set_state(&mut self, target: TargetIx, shard: ShardIx, state: TargetState) {
        if let Some(&held) = self.shards[shard].targets.get(&target) {
            self.put(target, shard, Held { state, ..held });
        }
    }

    fn put(&mut self, target: TargetIx, shard: ShardIx, held: Held) {
        let load = self.load(target);
        if self.shards[shard].put(target, load, held).is_none() {
            self.holders[target.0] += 1;
        }
        self.refresh_room(shard);
    }

    fn take(&mut self, target: TargetIx, shard: ShardIx) {
        let load = self.load(target);
        if self.shards[shard].take(target, load).is_some() {
            self.holders[target.0] -= 1;
        }
        self.refresh_room(shard);
    }

    fn refresh_room(&mut self, shard: ShardIx) {
        self.rooms.set(shard, room_and_fit(&self.shards[shard], self.aim, self.policy));
    }
}

fn room_and_fit(shard: &DraftShard, aim: Aim, policy: &Policy) -> Option<(Cost, Fit)> {
    shard
        .room()
        .map(|room| (room, Fit::of(aim, shard.ordinal, room, policy.budget(crate::world::OwnBudget::default()).fill())))
}
