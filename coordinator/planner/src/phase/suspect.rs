//! Suspects: targets that may have killed their shard, looked for at the moment a shard becomes lost, so that one that
//! does is not carried from shard to shard.
//!
//! A target is suspected that grew a lot on the shard, or one that had lost another shard shortly before. It gets a
//! shard of its own. If that is lost, too, it stays there. It is suspected no longer once it has lived long enough.

use std::{cmp::Reverse, time::Duration};

use narthex_common::{load::Load, shard::Ordinal, target::TargetId, time::Timestamp};

use super::take_over::orphans;
use crate::{
    catalogue::{Standing, TargetIx},
    cost::Cost,
    draft::{Draft, ShardIx},
    memory::Suspicion,
    world::{HeldTarget, Seen},
};

/// How long a target must live on a shard that lives before it is trusted again, and for how long it is remembered that
/// it lost a shard. Prometheus keeps two hours and more in memory, so that a slow killer may need as long; but most of
/// them kill at their first scrape, or while the memory of their series grows, which is over within minutes. An hour
/// outlives these, the replay of the write-ahead log and several attempts of a pod that crashes, and is not so long
/// that an innocent one keeps a shard for itself for a day.
const PROBATION: Duration = Duration::from_secs(3600);

/// A target grew visibly that takes a tenth of its shard's budget more than it was assigned with, in billionths.
const TENTH: u64 = 100_000_000;

/// Forgets what was noted of shards that are not lost any more, or that are lost again.
pub(super) fn forget_those_that_are_back(draft: &mut Draft<'_>, lost: &[ShardIx]) {
    let silent_since: Vec<(Ordinal, Timestamp)> =
        lost.iter().filter_map(|shard| Some((draft.shards()[*shard].ordinal, silent_since(draft, *shard)?))).collect();
    draft.memory.lost.retain(|ordinal, since| silent_since.contains(&(*ordinal, *since)));
}

fn silent_since(draft: &Draft<'_>, shard: ShardIx) -> Option<Timestamp> {
    match draft.view.shards[&draft.shards()[shard].ordinal].report {
        Seen::Stale { at, .. } => Some(at),
        Seen::Never | Seen::Fresh(_) => None,
    }
}

/// Looks for suspects among the targets of shards that were not known to be lost before.
pub(super) fn look_for_suspects(draft: &mut Draft<'_>, lost: &[ShardIx]) {
    for &shard in lost {
        let (ordinal, going) = (draft.shards()[shard].ordinal, draft.shards()[shard].going);
        let Some(since) = silent_since(draft, shard) else { continue };
        let is_new = draft.memory.lost.insert(ordinal, since).is_none();
        // One that was to go anyway was killed by nobody.
        if is_new && !going {
            suspect_one_of(draft, shard);
        }
    }
}

fn suspect_one_of(draft: &mut Draft<'_>, shard: ShardIx) {
    // It held a suspect: nobody else is to blame.
    if draft.targets_of(shard).into_iter().any(|(target, _)| draft.is_suspect(target)) {
        return;
    }
    let orphans = orphans(draft, shard);
    let grew = orphans.iter().filter_map(|target| Some((growth(draft, *target, shard)?, *target)));
    let grew = grew.max_by_key(|(growth, target)| (*growth, Reverse(draft.id(*target)))).map(|(_, target)| target);
    let lost_another = orphans.iter().filter_map(|target| Some((guilt(draft, *target, shard)?, *target)));
    let died_again = lost_another.max_by_key(|(guilt, _)| *guilt).map(|(_, target)| target);
    if let Some(target) = grew {
        draft.suspect(target, shard, Suspicion::Grew);
    }
    let grew_itself = |target: TargetIx| draft.memory.taken_over.contains_key(&draft.id(target));
    if let Some(target) = died_again.filter(|_| !grew.is_some_and(grew_itself)) {
        draft.suspect(target, shard, Suspicion::DiedAgain);
    }
}

/// By what share of its shard's budget a target grew there, if that is a lot: at least to twice what it was assigned
/// with, and by a tenth of the budget.
fn growth(draft: &Draft<'_>, target: TargetIx, shard: ShardIx) -> Option<u64> {
    let HeldTarget { interval, planned, load, .. } = draft.said(target, shard)?;
    let cost = |load: Load| Cost::of(load, interval.to_std());
    let (before, after) = (cost((*planned)?), cost((*load)?));
    let mut more = after.minus(before);
    if after.series < before.series.plus(before.series) {
        more.series = Cost::ZERO.series;
    }
    if after.work < before.work.plus(before.work) {
        more.work = Cost::ZERO.work;
    }
    let share = more.share_of(draft.shards()[shard].budget.whole());
    (share >= TENTH).then_some(share)
}

/// How likely it is that a target killed a shard to which it came from another lost one: the greatest most likely, and
/// the order of the fields is the preference.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Guilt {
    /// The more shards were lost with it.
    times: u32,
    /// The less often the shard scraped it: the scrape that kills does not end.
    scrapes: Reverse<u32>,
    /// The heavier it is.
    share: u64,
    /// The lower id.
    id: Reverse<TargetId>,
}

fn guilt(draft: &Draft<'_>, target: TargetIx, shard: ShardIx) -> Option<Guilt> {
    let id = draft.id(target);
    let before = draft.memory.taken_over.get(&id).filter(|before| before.from != draft.shards()[shard].ordinal)?;
    let scrapes = draft.said(target, shard).map_or(0, |said| said.scrapes);
    let share = draft.cost(target).share_of(draft.shards()[shard].budget.whole());
    Some(Guilt { times: before.times, scrapes: Reverse(scrapes), share, id: Reverse(id) })
}

/// Whether a suspect had a shard of its own, which is lost: it is carried to no other one.
pub(super) fn had_its_own_shard(draft: &Draft<'_>, target: TargetIx) -> bool {
    let own = draft.memory.suspects.get(&draft.id(target)).and_then(|suspect| suspect.isolated_on);
    own.is_some_and(|own| draft.holders(target).iter().any(|holding| draft.shards()[holding.shard].ordinal == own))
}

/// Forgets what this replica noted while it was planned by itself: whom a mirror suspects, the first replica decides.
pub(super) fn leave_to_the_first(draft: &mut Draft<'_>) {
    draft.memory.suspects.clear();
    draft.memory.taken_over.clear();
    draft.memory.lost.clear();
}

/// Ends what has lasted long enough: suspicions of targets that live, and the memory of what was taken over.
pub(super) fn absolve(draft: &mut Draft<'_>) {
    let now = draft.world.now;
    let is_over = |since: Timestamp| now.since(since) >= PROBATION;
    let mut taken_over = std::mem::take(&mut draft.memory.taken_over);
    taken_over.retain(|id, taken_over| !is_over(taken_over.at) && is_there(draft, *id).is_some());
    draft.memory.taken_over = taken_over;

    let mut suspects = std::mem::take(&mut draft.memory.suspects);
    suspects.retain(|id, suspect| {
        let Some(target) = is_there(draft, *id) else { return false };
        suspect.lives_since = lives(draft, target).then(|| suspect.lives_since.unwrap_or(now));
        !suspect.lives_since.is_some_and(is_over) || draft.is_oversized(target)
    });
    draft.memory.suspects = suspects;
}

fn is_there(draft: &Draft<'_>, id: TargetId) -> Option<TargetIx> {
    draft.place_of(id).filter(|target| draft.standing(*target) != Standing::Gone)
}

/// Whether a shard that answers has measured a target since it runs.
fn lives(draft: &Draft<'_>, target: TargetIx) -> bool {
    let measured = |shard: ShardIx| draft.said(target, shard).is_some_and(|said| said.load.is_some());
    draft.holders(target).iter().any(|holding| holding.held.scrapes > 0 && measured(holding.shard))
}
