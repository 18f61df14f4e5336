//! How well shards are filled: log-normal loads, as in the wild a few targets weigh more than thousands of others.

use narthex_common::{fingerprint::Fingerprint, load::Series, target::TargetId};
use narthex_planner::{Planner, Policy, policy::Settings};

use crate::{
    fleet::Fleet,
    made_up::{packing, series, spreading},
};

const TARGETS: u64 = 20_000;

/// A shard for about two hundred targets of the mean load.
const MAX_SERIES: Series = Series(616_000);

/// Numbers between 0 and 1, the same for the same seed.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        f64::from(u32::try_from(self.number() >> 32).unwrap()) / f64::from(u32::MAX)
    }

    /// A log-normal load: a thousand series in the middle, sigma 1.5.
    fn load(&mut self) -> Series {
        let radius = (-2.0 * self.unit().max(f64::MIN_POSITIVE).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        let kept = (1000.0 * (1.5 * normal).exp()).clamp(1.0, 600_000.0);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was clamped")]
        Series(kept as u64)
    }
}

fn log_normal(seed: u64, shards: u32) -> Fleet {
    let mut chance = Chance(seed);
    let mut fleet = Fleet::new(shards, true);
    for _ in 0..TARGETS {
        let id = TargetId(Fingerprint(chance.number()));
        fleet.add(id, series(chance.load().0), true);
    }
    fleet
}

/// Rounds until every target has a shard.
fn place_all(fleet: &mut Fleet, settings: Settings) {
    let policy = Policy::new(Settings { max_series: MAX_SERIES, ..settings }).unwrap();
    let mut planner = Planner::default();
    for _ in 0..10 {
        let plan = planner.plan(&fleet.look(), &policy);
        fleet.apply(&plan, usize::MAX);
        fleet.pass_time();
        if plan.replicas.values().all(|plan| plan.unplaced.is_empty() && plan.changes.is_empty()) {
            return;
        }
    }
    panic!("targets are left without a shard");
}

#[test]
fn packing_needs_hardly_more_shards_than_the_sum_of_all_loads() {
    for seed in [1, 2, 3] {
        let mut fleet = log_normal(seed, 0);
        let all: u64 = fleet.targets.values().map(|truth| truth.load.kept.0).sum();
        place_all(&mut fleet, packing());
        let fewest = all.div_ceil(MAX_SERIES.0);
        let used = u64::try_from(fleet.shards.len()).unwrap();
        assert!(used * 100 <= fewest * 103 + 100, "{used} shards where {fewest} might do, seed {seed}");
    }
}

#[test]
fn spreading_fills_the_fullest_shard_hardly_more_than_the_mean() {
    for (seed, shards) in [(1, 110), (2, 130), (3, 160)] {
        let mut fleet = log_normal(seed, shards);
        place_all(&mut fleet, spreading());
        let kept: Vec<u64> = fleet.kept().iter().map(|kept| kept.0).collect();
        let (most, all): (u64, u64) = (*kept.iter().max().unwrap(), kept.iter().sum());
        assert_eq!(kept.len(), shards as usize);
        assert!(most * u64::from(shards) * 100 <= all * 105, "{most} of {all} on one of {shards} shards, seed {seed}");
    }
}
