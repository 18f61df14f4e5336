//! `target_limit`: a job with more active targets than it allows is not scraped at all, as Prometheus has it (scrape.go,
//! `refreshTargetLimitErr`). Every target stays one, whose `up` is 0.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::job::JobName;

/// A job that has more active targets, over all shards, than its limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TargetLimitExceeded {
    /// So many targets it has.
    pub targets: u64,
    /// So many it may have.
    pub limit: u64,
}

/// The jobs that have more targets than they may.
pub type ExceededTargetLimits = BTreeMap<JobName, TargetLimitExceeded>;

impl TargetLimitExceeded {
    /// What so many targets mean under a limit, where 0 is none.
    #[must_use]
    pub const fn of(targets: u64, limit: u64) -> Option<Self> {
        if limit > 0 && targets > limit { Some(Self { targets, limit }) } else { None }
    }
}

/// Why its targets are not scraped, in Prometheus' words.
impl fmt::Display for TargetLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target_limit exceeded (number of targets: {}, limit: {})", self.targets, self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_exceeded_by_more_than_it_allows_and_0_is_none() {
        assert_eq!(TargetLimitExceeded::of(7, 7), None);
        assert_eq!(TargetLimitExceeded::of(8, 0), None);
        let exceeded = TargetLimitExceeded::of(8, 7).unwrap();
        assert_eq!(exceeded.to_string(), "target_limit exceeded (number of targets: 8, limit: 7)");
    }
}
