//! Fit: which shard suits a target best, found among thousands without asking each.

use std::cmp::Reverse;

use narthex_common::shard::Ordinal;
use twox_hash::XxHash64;

use crate::cost::Cost;

/// What a placement aims at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Fill the lowest ordinals, so that the highest shards can go.
    Pack,
    /// Cost all shards alike. Among equals the seed chooses.
    Spread {
        /// Where the choice is drawn from.
        seed: u64,
    },
}

/// How well a shard suits: the greatest suits best, and the order of the fields is the preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    /// The lower of two shards, when packing; all are alike otherwise.
    low: Reverse<Ordinal>,
    /// The share of its budget that is free, of whichever figure is scarcer, in billionths.
    room: u64,
    /// Between equals.
    tie: u64,
}

impl Fit {
    /// How well a shard with that much room suits.
    pub(crate) fn of(aim: Aim, ordinal: Ordinal, room: Cost, budget: Cost) -> Self {
        match aim {
            Aim::Pack => Self { low: Reverse(ordinal), room: 0, tie: 0 },
            Aim::Spread { seed } => Self {
                low: Reverse(Ordinal(0)),
                room: room.scarcer_share_of(budget),
                tie: XxHash64::oneshot(seed, &ordinal.0.to_le_bytes()),
            },
        }
    }
}

/// The room of many shards, as a tree: every node knows the largest figures and the best fit below it, so that the
/// best shard that a target fits on is found in about as many steps as the tree is deep.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rooms {
    /// A complete binary tree: the children of node `n` are `2n` and `2n + 1`, the leaves are its second half.
    nodes: Vec<Option<Room>>,
    len: usize,
}

/// What is free on a shard, or at most free on any shard below a node.
#[derive(Clone, Copy, Debug)]
struct Room {
    load: Cost,
    fit: Fit,
}

impl Rooms {
    /// Adds a shard with its room, or without any; its place is the number of shards before it.
    pub(crate) fn push(&mut self, room: Option<(Cost, Fit)>) {
        if self.len == self.leaves() {
            let old: Vec<_> = self.nodes.drain(self.nodes.len() / 2..).collect();
            let leaves = (self.len * 2).max(1);
            self.nodes = vec![None; leaves * 2];
            self.nodes[leaves..leaves + old.len()].copy_from_slice(&old);
            for node in (1..leaves).rev() {
                self.nodes[node] = self.of_children(node);
            }
        }
        self.len += 1;
        self.set(self.len - 1, room);
    }

    /// Changes the room of the shard at a place.
    pub(crate) fn set(&mut self, place: usize, room: Option<(Cost, Fit)>) {
        let mut node = self.leaves() + place;
        self.nodes[node] = room.map(|(load, fit)| Room { load, fit });
        while node > 1 {
            node /= 2;
            self.nodes[node] = self.of_children(node);
        }
    }

    /// The place of the best shard that has room for a load.
    pub(crate) fn best_for(&self, load: Cost) -> Option<usize> {
        self.best_but(None, load)
    }

    /// The place of the best shard, but for one, that has room for a load.
    pub(crate) fn best_but(&self, except: Option<usize>, load: Cost) -> Option<usize> {
        let mut best = None;
        if !self.nodes.is_empty() {
            self.search(1, load, except, &mut best);
        }
        best.map(|(_, place)| place)
    }

    /// Whether any shard has room at all.
    pub(crate) fn any(&self) -> bool {
        self.nodes.get(1).is_some_and(Option::is_some)
    }

    const fn leaves(&self) -> usize {
        self.nodes.len() / 2
    }

    fn of_children(&self, node: usize) -> Option<Room> {
        match (self.nodes[node * 2], self.nodes[node * 2 + 1]) {
            (Some(a), Some(b)) => Some(Room { load: a.load.max(b.load), fit: a.fit.max(b.fit) }),
            (a, b) => a.or(b),
        }
    }

    /// Looks below a node for a better shard than the best so far, the more promising half first.
    fn search(&self, node: usize, load: Cost, except: Option<usize>, best: &mut Option<(Fit, usize)>) {
        let Some(room) = self.nodes[node] else { return };
        if !load.fits(room.load) || best.is_some_and(|(fit, _)| room.fit <= fit) {
            return;
        }
        if node >= self.leaves() {
            let place = node - self.leaves();
            if Some(place) != except {
                *best = Some((room.fit, place));
            }
            return;
        }
        let fit_of = |node: usize| self.nodes[node].map(|room| room.fit);
        let (left, right) = (node * 2, node * 2 + 1);
        let (first, second) = if fit_of(right) > fit_of(left) { (right, left) } else { (left, right) };
        self.search(first, load, except, best);
        self.search(second, load, except, best);
    }
}

#[cfg(test)]
mod tests {
    use narthex_common::load::{SampleRate, Series};
    use proptest::prelude::*;

    use super::*;

    fn load(work: u64, series: u64) -> Cost {
        Cost { work: SampleRate(work), series: Series(series) }
    }

    fn rooms(aim: Aim, shards: &[Option<Cost>], budget: Cost) -> Rooms {
        let mut rooms = Rooms::default();
        for (ordinal, room) in (0..).zip(shards) {
            rooms.push(room.map(|room| (room, Fit::of(aim, Ordinal(ordinal), room, budget))));
        }
        rooms
    }

    #[test]
    fn packing_takes_the_lowest_shard_with_room() {
        let rooms = rooms(Aim::Pack, &[Some(load(9, 1)), None, Some(load(9, 5)), Some(load(9, 9))], load(9, 9));
        assert_eq!(rooms.best_for(load(1, 4)), Some(2));
        assert_eq!(rooms.best_for(load(1, 10)), None);
    }

    #[test]
    fn spreading_takes_the_emptiest_shard_by_its_scarcer_figure() {
        let shards = [Some(load(2, 9)), Some(load(6, 5)), Some(load(9, 4))];
        let rooms = rooms(Aim::Spread { seed: 7 }, &shards, load(10, 10));
        assert_eq!(rooms.best_for(load(1, 1)), Some(1));
        assert_eq!(rooms.best_for(load(1, 6)), Some(0));
    }

    proptest! {
        #[test]
        fn the_tree_finds_what_asking_every_shard_finds(
            shards in prop::collection::vec(prop::option::of((0..9u64, 0..9u64)), 0..20),
            wanted in (0..9u64, 0..9u64),
            seed in prop::option::of(0..3u64),
        ) {
            let aim = seed.map_or(Aim::Pack, |seed| Aim::Spread { seed });
            let budget = load(8, 8);
            let shards: Vec<_> = shards.into_iter().map(|room| room.map(|(e, k)| load(e, k))).collect();
            let wanted = load(wanted.0, wanted.1);
            let by_asking_all = (0..)
                .zip(&shards)
                .filter_map(|(ordinal, room)| Some((ordinal, (*room)?)))
                .filter(|(_, room)| wanted.fits(*room))
                .max_by_key(|(ordinal, room)| Fit::of(aim, Ordinal(*ordinal), *room, budget))
                .map(|(ordinal, _)| ordinal as usize);
            prop_assert_eq!(rooms(aim, &shards, budget).best_for(wanted), by_asking_all);
        }
    }
}
