//! Chance: everything random of a scenario, drawn from its seed, the same on every machine.

use std::f64::consts::TAU;

use narthex_common::{fingerprint::Fingerprint, job::JobName, target::TargetId};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::scenario::Distribution;

/// What chance a group of targets, or the fleet, has. Each draws from its own, so that one more group changes nothing
/// of the others.
pub(crate) fn of(seed: u64, who: &str) -> StdRng {
    StdRng::seed_from_u64(mixed(seed ^ hash(who)))
}

/// The target of a job that has that number: it looks like a fingerprint, and is the same in every run.
pub(crate) fn target_id(job: &JobName, number: u32) -> TargetId {
    TargetId(Fingerprint(mixed(hash(job.as_str()).wrapping_add(u64::from(number)))))
}

/// A number that looks random, from one that need not (splitmix64).
pub(crate) const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// FNV-1a.
pub(crate) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How many series the next target of a group has.
pub(crate) fn series(chance: &mut StdRng, distribution: &Distribution, number: u32) -> f64 {
    match distribution {
        Distribution::Constant(series) => *series as f64,
        Distribution::Uniform { from, to } => chance.random_range(*from..=*to) as f64,
        Distribution::LogNormal { median, sigma } => median * (sigma * standard_normal(chance)).exp(),
        Distribution::List(loads) => loads.get(number as usize % loads.len().max(1)).map_or(0.0, |load| *load as f64),
    }
}

/// Box and Muller's way from two even numbers to a normal one.
fn standard_normal(chance: &mut StdRng) -> f64 {
    let radius: f64 = 1.0 - chance.random::<f64>();
    let angle: f64 = chance.random();
    (-2.0 * radius.ln()).sqrt() * (TAU * angle).cos()
}

/// A number from -1 to 1.
pub(crate) fn stray(chance: &mut StdRng) -> f64 {
    chance.random_range(-1.0..=1.0)
}

/// A whole number whose mean is `mean`.
pub(crate) fn count(chance: &mut StdRng, mean: f64) -> u32 {
    mean.floor() as u32 + u32::from(chance.random_bool(mean.fract().clamp(0.0, 1.0)))
}
