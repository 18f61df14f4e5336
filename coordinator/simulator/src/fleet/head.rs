//! Head: the series in a shard's memory. They outlive their target there, as in a Prometheus.

use std::collections::BTreeMap;

use narthex_common::{load::Series, time::Timestamp};

use super::target::ShardKey;
use crate::chance;

/// A head is cut every two hours: the length of a block.
const CUT_EVERY: i64 = 2 * 3_600_000;

/// A cut leaves what had samples within the last hour, half a block. So series stay for one to three hours.
const CUT_LEAVES: i64 = 3_600_000;

/// The series in memory that no target on the list has any more.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// When this shard cuts, within the two hours.
    phase: i64,
    /// Series without samples, by the cut at which they go.
    left_over: BTreeMap<Timestamp, Series>,
    /// Series that a target lost which is still there, by the cut at which they go. They are the first to come back when
    /// targets grow: a load that jitters brings the same series again.
    ebbed: BTreeMap<Timestamp, Series>,
    /// What was in memory when the shard died: its log brings it back, until the cut.
    replayed: Option<(Timestamp, Series)>,
}

impl Head {
    pub(crate) fn new(shard: ShardKey) -> Self {
        let key = u64::from(shard.replica) << 32 | u64::from(shard.ordinal);
        let phase = (chance::mixed(key) % CUT_EVERY.unsigned_abs()) as i64;
        Self { phase, left_over: BTreeMap::new(), ebbed: BTreeMap::new(), replayed: None }
    }

    /// The cut that takes what has no samples from now on.
    fn cut_after(&self, now: Timestamp) -> Timestamp {
        let earliest = now.0 + CUT_LEAVES;
        Timestamp(earliest + (self.phase - earliest).rem_euclid(CUT_EVERY))
    }

    /// Series get no more samples from now on.
    pub(crate) fn leave_over(&mut self, series: Series, now: Timestamp) {
        if series > Series::ZERO {
            *self.left_over.entry(self.cut_after(now)).or_default() += series;
        }
    }

    /// Targets that stay have so many series now instead of so many before.
    pub(crate) fn ebb_and_flow(&mut self, before: Series, after: Series, now: Timestamp) {
        if before > after {
            *self.ebbed.entry(self.cut_after(now)).or_default() += before.minus(after);
        }
        let mut back = after.minus(before);
        while back > Series::ZERO
            && let Some(mut last) = self.ebbed.last_entry()
        {
            let left = last.get().minus(back);
            back = back.minus(*last.get());
            if left > Series::ZERO {
                last.insert(left);
            } else {
                last.remove();
            }
        }
    }

    /// The shard dies with so many series that are being scraped.
    pub(crate) fn die(&mut self, scraped: Series, now: Timestamp) {
        let known = self.replayed.filter(|(until, _)| *until > now).map_or(Series::ZERO, |(_, series)| series);
        self.replayed = Some((self.cut_after(now), scraped.max(known)));
    }

    /// All series in memory, of which so many are being scraped.
    pub(crate) fn series(&mut self, scraped: Series, now: Timestamp) -> Series {
        self.left_over.retain(|cut, _| *cut > now);
        self.ebbed.retain(|cut, _| *cut > now);
        self.replayed = self.replayed.filter(|(until, _)| *until > now);
        let replayed = self.replayed.map_or(Series::ZERO, |(_, series)| series);
        scraped.max(replayed).plus(self.left_over.values().chain(self.ebbed.values()).copied().sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_stay_in_memory_for_one_to_three_hours_after_their_target_has_left() {
        for ordinal in 0..50 {
            let mut head = Head::new(ShardKey { replica: 0, ordinal });
            head.leave_over(Series(7), Timestamp(0));
            let hour = |hours: i64| Timestamp(hours * 3_600_000);
            assert_eq!(head.series(Series(1), Timestamp(3_599_999)), Series(8));
            assert_eq!(head.clone().series(Series(1), hour(3)), Series(1));
        }
    }

    #[test]
    fn a_load_that_jitters_brings_the_same_series_again() {
        let mut head = Head::new(ShardKey { replica: 0, ordinal: 3 });
        for round in 0..100 {
            let now = Timestamp(round * 10_000);
            head.ebb_and_flow(Series(110), Series(90), now);
            assert_eq!(head.series(Series(90), now), Series(110));
            head.ebb_and_flow(Series(90), Series(110), now);
            assert_eq!(head.series(Series(110), now), Series(110));
        }
    }

    #[test]
    fn a_shard_that_died_has_its_series_again_and_not_twice() {
        let mut head = Head::new(ShardKey { replica: 0, ordinal: 3 });
        head.die(Series(100), Timestamp(0));
        assert_eq!(head.series(Series(0), Timestamp(60_000)), Series(100), "before anything is scraped again");
        assert_eq!(head.series(Series(100), Timestamp(70_000)), Series(100));
        assert_eq!(head.series(Series(120), Timestamp(80_000)), Series(120));
    }
}
