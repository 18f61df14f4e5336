//! Worklists: targets that may need a phase's attention, so that it need not look at all others.

use super::TargetIx;

/// Targets that may need attention. Whoever finds that one does takes it in; it stays until a look at the list finds
/// that it no longer does.
#[derive(Debug, Default)]
pub(super) struct Worklist {
    members: Vec<TargetIx>,
    /// One bit a target: whether it is among the members.
    is_member: Vec<u64>,
}

impl Worklist {
    pub(super) fn add(&mut self, target: TargetIx) {
        let (word, bit) = (target.place() / 64, 1 << (target.place() % 64));
        if word >= self.is_member.len() {
            self.is_member.resize((word + 1).max(self.is_member.len() * 2), 0);
        }
        if self.is_member[word] & bit == 0 {
            self.is_member[word] |= bit;
            self.members.push(target);
        }
    }

    /// Drops those that no longer need it.
    pub(super) fn retain(&mut self, needs_attention: impl Fn(TargetIx) -> bool) {
        let is_member = &mut self.is_member;
        self.members.retain(|&target| {
            let needs = needs_attention(target);
            if !needs {
                is_member[target.place() / 64] &= !(1 << (target.place() % 64));
            }
            needs
        });
    }

    pub(super) fn members(&self) -> &[TargetIx] {
        &self.members
    }
}
