//! Whether the reasons that a plan gives lead to it: following them from the world must end at the plan.

use narthex_common::{assignment::TargetState, shard::Ordinal, target::TargetId};

use super::{Fault, Replica, targets::After};
use crate::reason::{Change, MoveReason, PlaceReason};

impl Replica<'_> {
    pub(super) fn reasons_lead_from_world_to_plan(&self, faults: &mut Vec<Fault>) {
        let mut wanted = self.view.wanted_shards;
        let mut changes: Vec<(TargetId, usize, &Change)> = Vec::with_capacity(self.plan.changes.len());
        for (place, change) in self.plan.changes.iter().enumerate() {
            match change {
                Change::Place { target, .. }
                | Change::Move { target, .. }
                | Change::Settle { target, .. }
                | Change::GiveBack { target, .. }
                | Change::Forget { target, .. }
                | Change::Suspect { target, .. } => changes.push((*target, place, change)),
                Change::Scale { from, to, .. } if *from == wanted => wanted = *to,
                Change::Scale { to, .. } => faults.push(Fault::ScaleUnexplained { to: *to }),
            }
        }
        if wanted != self.plan.wanted_shards {
            faults.push(Fault::ScaleUnexplained { to: self.plan.wanted_shards });
        }
        changes.sort_unstable_by_key(|(target, place, _)| (*target, *place));
        let mut concerned = self.concerned();
        concerned.extend(changes.iter().map(|(target, ..)| *target));
        concerned.sort_unstable();
        concerned.dedup();
        let mut changes = &changes[..];
        for target in concerned {
            let of_target = changes.iter().take_while(|(changed, ..)| *changed == target).count();
            let (now, later) = changes.split_at(of_target);
            changes = later;
            let mut held: After = self.before(target).iter().map(|holder| (holder.shard, holder.state)).collect();
            let followed = now.iter().all(|(.., change)| self.follow(&mut held, change).is_some());
            let mut after = self.after(target);
            held.sort_unstable();
            after.sort_unstable();
            if !followed || held != after {
                faults.push(Fault::Unexplained { target });
            }
        }
    }

    /// In a replica that mirrors another, a target goes where the other has it; or it makes way, and says so.
    pub(super) fn mirrors_follow(&self, faults: &mut Vec<Fault>) {
        let Some(first) = self.first else { return };
        for change in &self.plan.changes {
            let (target, to) = match change {
                Change::Place { target, to, .. } => (*target, *to),
                Change::Move { target, to, why, .. } => match why {
                    MoveReason::MakesWay | MoveReason::HeldTwice => continue,
                    MoveReason::OverMemory { .. }
                    | MoveReason::OverWork { .. }
                    | MoveReason::Drain
                    | MoveReason::Rebalance
                    | MoveReason::Mirrored => (*target, *to),
                },
                Change::Settle { .. }
                | Change::GiveBack { .. }
                | Change::Forget { .. }
                | Change::Suspect { .. }
                | Change::Scale { .. } => continue,
            };
            if first.owner(target) != Some(to) {
                faults.push(Fault::NotMirrored { target });
            }
        }
    }

    /// The only shard that is to own a target, of those that can be told, or else of all.
    fn owner(&self, target: TargetId) -> Option<Ordinal> {
        let after = self.after(target);
        let owners = || after.iter().filter(|(_, state)| *state == TargetState::Normal).map(|(place, _)| *place);
        let within_reach = |place: &usize| self.shards[*place].within_reach().is_some();
        let some_are = owners().any(|place| within_reach(&place));
        let mut owners = owners().filter(|place| !some_are || within_reach(place));
        owners.next().filter(|_| owners.next().is_none()).map(|place| self.shards[place].ordinal)
    }

    /// Does what a change says; none when that cannot be.
    fn follow(&self, held: &mut After, change: &Change) -> Option<()> {
        let find = |held: &After, ordinal: Ordinal| {
            let position = self.position(ordinal)?;
            held.iter().position(|(holder, _)| *holder == position)
        };
        match change {
            Change::Place { to, why, .. } => {
                if let PlaceReason::TakenOver { from } = why {
                    let from = held[find(held, *from)?].0;
                    self.shards[from].lost.then_some(())?;
                }
                held.push((self.position(*to)?, TargetState::Normal));
            }
            Change::Move { from, to, .. } => {
                let source = find(held, *from)?;
                held[source].1 = TargetState::InTransfer;
                if find(held, *to).is_none() {
                    held.push((self.position(*to)?, TargetState::Normal));
                }
            }
            Change::GiveBack { to, .. } => {
                let owner = find(held, *to)?;
                held[owner].1 = TargetState::Normal;
            }
            Change::Settle { from, .. } | Change::Forget { from, .. } => {
                held.remove(find(held, *from)?);
            }
            Change::Suspect { target, .. } => {
                self.plan.memory.suspects.get(target)?;
            }
            Change::Scale { .. } => return None,
        }
        Some(())
    }
}
