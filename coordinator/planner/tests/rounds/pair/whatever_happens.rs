//! Whatever happens to two replicas that mirror each other, on and off.

use narthex_planner::Planner;
use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Event {
    TargetAppears { number: u64, kept: u64 },
    TargetGoes { number: u64 },
    ShardFallsSilent { of_first: bool, shard: usize },
    ShardRunsAnotherConfig { of_first: bool, shard: usize },
    ShardLosesItsDisk { of_first: bool, shard: usize },
    AllAreWell,
    PlacementChanges,
    CoordinatorRestarts,
    CoordinatorIsAway,
}

fn event() -> impl Strategy<Value = Event> {
    let (number, shard, of_first) = (0..30u64, 0..5usize, any::<bool>());
    let of = (of_first, shard);
    prop_oneof![
        8 => (number.clone(), 1..60u64).prop_map(|(number, kept)| Event::TargetAppears { number, kept }),
        2 => number.prop_map(|number| Event::TargetGoes { number }),
        2 => of.clone().prop_map(|(of_first, shard)| Event::ShardFallsSilent { of_first, shard }),
        1 => of.clone().prop_map(|(of_first, shard)| Event::ShardRunsAnotherConfig { of_first, shard }),
        1 => of.prop_map(|(of_first, shard)| Event::ShardLosesItsDisk { of_first, shard }),
        2 => Just(Event::AllAreWell),
        2 => Just(Event::PlacementChanges),
        1 => Just(Event::CoordinatorRestarts),
        1 => Just(Event::CoordinatorIsAway),
    ]
}

impl Pair {
    fn happen(&mut self, event: &Event) {
        match *event {
            Event::TargetAppears { number, kept } => self.add(number, kept),
            Event::TargetGoes { number } => {
                self.first.targets.remove(&target(number));
                self.second.targets.remove(&target(number));
            }
            Event::ShardFallsSilent { of_first, shard } => {
                self.shard(of_first, shard).into_iter().for_each(|shard| shard.silent = true);
            }
            Event::ShardRunsAnotherConfig { of_first, shard } => {
                self.shard(of_first, shard).into_iter().for_each(|shard| shard.config_matches = false);
            }
            Event::ShardLosesItsDisk { of_first, shard } => {
                self.shard(of_first, shard).into_iter().for_each(|shard| shard.targets.clear());
            }
            Event::AllAreWell => self.heal(),
            Event::CoordinatorRestarts => {
                self.first.restart_coordinator();
                self.second.restart_coordinator();
            }
            Event::CoordinatorIsAway => {
                for _ in 0..40 {
                    self.first.pass_time();
                    self.second.pass_time();
                }
            }
            Event::PlacementChanges => {}
        }
    }

    fn shard(&mut self, of_first: bool, shard: usize) -> Option<&mut Shard> {
        let fleet = if of_first { &mut self.first } else { &mut self.second };
        let shards = fleet.shards.len().max(1);
        fleet.shards.get_mut(shard % shards)
    }

    fn heal(&mut self) {
        for shard in self.first.shards.iter_mut().chain(&mut self.second.shards) {
            (shard.silent, shard.config_matches, shard.starts_in) = (false, true, 0);
        }
    }

    /// What the second replica has elsewhere than the first, and could have where the first has it.
    fn needlessly_apart(&self, policy: &Policy) -> Vec<TargetId> {
        let (first, second) = (contents(&self.first), contents(&self.second));
        let at = |contents: &[BTreeSet<TargetId>], id: &TargetId| contents.iter().position(|shard| shard.contains(id));
        let kept = |id: &TargetId| self.first.targets[id].load.kept.0.max(5);
        let has_room = |home: usize, id: &TargetId| {
            let carried = second.get(home).into_iter().flatten().map(kept).sum::<u64>();
            carried + kept(id) <= policy.max_series.0 * 110 / 100
        };
        let is_needless = |id: &&TargetId| {
            let home = at(&first, id);
            home != at(&second, id) && home.is_some_and(|home| has_room(home, id))
        };
        self.first.targets.keys().filter(is_needless).copied().collect()
    }
}

fn policy(placement: Placement, max_moves: u32, packs: bool, max_shards: u32) -> Policy {
    let settings = if packs { packing() } else { spreading() };
    Policy::new(Settings { placement, max_moves, max_shards, ..settings }).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_invariants_hold_and_a_mirror_comes_to_rest_as_one(
        packs in any::<bool>(),
        max_moves in 1..12u32,
        max_shards in 3..20u32,
        events in prop::collection::vec((event(), 1..4u32), 1..40),
    ) {
        let mut pair = Pair::new(1, 2);
        let mut planner = Planner::default();
        let mut placement = Placement::Mirrored;
        for (event, rounds) in events {
            pair.happen(&event);
            if matches!(event, Event::PlacementChanges) {
                placement = match placement {
                    Placement::Independent => Placement::Mirrored,
                    Placement::Mirrored => Placement::Independent,
                };
            }
            let policy = policy(placement, max_moves, packs, max_shards);
            for _ in 0..rounds {
                let world = pair.look();
                prop_assert_eq!(planner.plan(&world, &policy), narthex_planner::plan(&world, &policy));
                pair.round(&policy);
            }
        }
        pair.heal();
        let mirrored = policy(Placement::Mirrored, max_moves, packs, max_shards);
        pair.settle(&mirrored);
        prop_assert_eq!(pair.needlessly_apart(&mirrored), []);
        let in_first: BTreeSet<TargetId> = contents(&pair.first).into_iter().flatten().collect();
        prop_assert!(in_first.len() == pair.first.targets.len() || pair.first.shards.len() >= max_shards as usize);
        let (_, second) = pair.round(&mirrored);
        for id in pair.second.targets.keys() {
            let holders = contents(&pair.second).into_iter().filter(|shard| shard.contains(id)).count();
            prop_assert!(holders + usize::from(second.unplaced.contains_key(id)) == 1, "{id}: {holders}");
        }
    }
}
