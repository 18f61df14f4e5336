//! Expectations: what must have come out when a scenario is over. They make each scenario a test.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// What must have come out. Whatever is left out may be anything; that no invariant breaks is always expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Scrape intervals in which nobody scraped a listed target that had been scraped before.
    pub missed: Option<Bound>,
    /// Those of them that arose because the plan let go of the target, and not because a shard was down.
    pub torn: Option<Bound>,
    /// Targets that nobody has ever scraped, at the end, counted in every replica.
    pub never_scraped: Option<Bound>,
    /// Listed targets that were scraped before, and are not at the end, counted in every replica.
    pub not_scraped: Option<Bound>,
    /// Rounds times targets that two shards of a replica scraped.
    pub double_scrapes: Option<Bound>,
    /// Targets that two shards of a replica scrape, at the end.
    pub double_at_end: Option<Bound>,
    /// Moves begun.
    pub moves: Option<Bound>,
    /// The moves of the target that was moved most.
    pub moves_of_one_target: Option<Bound>,
    /// Targets that got a shard.
    pub places: Option<Bound>,
    /// Those of them that had been placed before, and were not taken over.
    pub places_again: Option<Bound>,
    /// Targets of lost shards that others took over.
    pub takeovers: Option<Bound>,
    /// The takeovers of the target that was taken over most.
    pub takeovers_of_one_target: Option<Bound>,
    /// Targets that came under suspicion of having killed a shard.
    pub suspects: Option<Bound>,
    /// Shards that were killed by their load.
    pub shards_killed: Option<Bound>,
    /// Shards asked for at the end, in all replicas.
    pub shards: Option<Bound>,
    /// The most shards that were ever asked for.
    pub most_shards: Option<Bound>,
    /// Shards at the end: at most so many times the fewest that could do, plus one for each replica.
    pub shards_over_lower_bound: Option<f64>,
    /// Targets without a shard at the end, counted in every replica.
    pub unplaced: Option<Bound>,
    /// Targets larger than a shard, at the end.
    pub oversized: Option<Bound>,
    /// At the end, the fullest shard's share of its budget over the mean of all: at most this.
    pub spread_max_over_mean: Option<f64>,
    /// The fullest that any shard ever was, in budgets.
    pub peak_load: Option<Bound>,
    /// At the end, the fullest shard, in budgets.
    pub load_at_end: Option<Bound>,
    /// Rounds from the last event (or the start) to the last plan that changed something.
    pub converged_after: Option<Bound>,
    /// Whether the ordinals of every target are the same in all replicas at the end.
    pub mirrored: Option<bool>,
}

/// What a figure may be: a number is that number, no other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// This one.
    Exactly(f64),
    /// Anything from the least to the most.
    Within(Range),
}

/// From the least to the most, both included.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
}

impl Bound {
    /// At most so many.
    #[must_use]
    pub const fn at_most(max: f64) -> Self {
        Self::Within(Range { min: None, max: Some(max) })
    }

    /// Whether a figure is within.
    #[must_use]
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::Exactly(number) => (figure - number).abs() < 1e-9,
            Self::Within(Range { min, max }) => {
                min.is_none_or(|min| figure >= min) && max.is_none_or(|max| figure <= max)
            }
        }
    }
}

/// By hand, because an untagged enum would not say which of a range's fields nobody knows.
impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrRange)
    }
}

struct NumberOrRange;

impl<'de> Visitor<'de> for NumberOrRange {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a range such as {min: 1, max: 9}")
    }

    fn visit_u64<E>(self, number: u64) -> Result<Bound, E> {
        Ok(Bound::Exactly(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Bound, E> {
        Ok(Bound::Exactly(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Bound, E> {
        Ok(Bound::Exactly(number))
    }

    fn visit_map<A: MapAccess<'de>>(self, range: A) -> Result<Bound, A::Error> {
        Range::deserialize(MapAccessDeserializer::new(range)).map(Bound::Within)
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(number) => write!(f, "{number}"),
            Self::Within(Range { min: Some(min), max: Some(max) }) => write!(f, "{min} to {max}"),
            Self::Within(Range { min: Some(min), max: None }) => write!(f, "at least {min}"),
            Self::Within(Range { min: None, max: Some(max) }) => write!(f, "at most {max}"),
            Self::Within(Range { min: None, max: None }) => f.write_str("anything"),
        }
    }
}
