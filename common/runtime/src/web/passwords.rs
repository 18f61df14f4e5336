//! Passwords, compared with their bcrypt hashes.
//!
//! bcrypt is slow so that nobody can try many passwords; it would be as slow for whoever asks every ten seconds with the
//! right one. So verdicts are remembered, as exporter-toolkit does, but by a keyed digest, without the passwords.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use narthex_common::config::http_client::Secret;
use ring::hmac;

use super::token::new_key;

/// Verdicts that are remembered, of either kind. As many as exporter-toolkit remembers.
const REMEMBERED: usize = 100;

/// A hash of "fakepassword", compared with when a user is not known: who asks shall not learn from the time it takes
/// which users there are. The one that exporter-toolkit uses.
const OF_NOBODY: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

/// Compares passwords, one at a time: guessing may keep one core busy, not all of them.
pub(super) struct Passwords {
    key: hmac::Key,
    verdicts: Arc<Mutex<Verdicts>>,
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// Right ones apart from wrong ones, so that guessing forgets none of the right ones.
#[derive(Default)]
struct Verdicts {
    right: VecDeque<[u8; 32]>,
    wrong: VecDeque<[u8; 32]>,
}

impl Passwords {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { key: new_key()?, verdicts: Arc::default(), turn: Arc::default() })
    }

    /// Whether this is a user's password.
    pub(super) async fn is_right(&self, users: &BTreeMap<String, Secret>, user: &str, password: &[u8]) -> bool {
        let (hash, is_known) = match users.get(user) {
            Some(hash) => (hash.expose(), true),
            None => (OF_NOBODY, false),
        };
        let digest = self.digest(user, hash, password);
        if let Some(verdict) = self.remembered(&digest) {
            return verdict;
        }
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // Somebody may have asked the same meanwhile.
        if let Some(verdict) = self.remembered(&digest) {
            return verdict;
        }
        let (hash, password, verdicts) = (hash.to_owned(), password.to_vec(), Arc::clone(&self.verdicts));
        // Whoever asked may hang up meanwhile. The turn lasts until the comparison has ended all the same, or hanging up
        // would be the way to have many at once.
        let compared = tokio::task::spawn_blocking(move || {
            let verdict = bcrypt::verify(password, &hash).is_ok_and(|is_same| is_same) && is_known;
            remember(&verdicts, digest, verdict);
            drop(turn);
            verdict
        });
        compared.await.unwrap_or(false)
    }

    fn digest(&self, user: &str, hash: &str, password: &[u8]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            // With its length: "ab" and "c" are not "a" and "bc".
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<bool> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.right.contains(digest) { Some(true) } else { verdicts.wrong.contains(digest).then_some(false) }
    }
}

fn remember(verdicts: &Mutex<Verdicts>, digest: [u8; 32], verdict: bool) {
    let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
    let same = if verdict { &mut verdicts.right } else { &mut verdicts.wrong };
    if same.len() == REMEMBERED {
        same.pop_front();
    }
    same.push_back(digest);
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn users(names: &[&str], password: &str, cost: u32) -> BTreeMap<String, Secret> {
        let hash = Secret::new(bcrypt::hash(password, cost).unwrap());
        names.iter().map(|name| ((*name).to_owned(), hash.clone())).collect()
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_right() {
        let (passwords, users) = (Passwords::new().unwrap(), users(&["me"], "hunter2", 4));
        for _ in 0..2 {
            assert!(passwords.is_right(&users, "me", b"hunter2").await);
            for (user, password) in
                [("me", "hunter3"), ("me", ""), ("you", "hunter2"), ("", ""), ("you", "fakepassword")]
            {
                assert!(!passwords.is_right(&users, user, password.as_bytes()).await, "{user} {password}");
            }
        }
    }

    #[tokio::test]
    async fn hashes_of_htpasswd_are_understood() {
        let fake = BTreeMap::from([("me".to_owned(), Secret::new(OF_NOBODY))]);
        assert!(Passwords::new().unwrap().is_right(&fake, "me", b"fakepassword").await);
    }

    #[tokio::test]
    async fn a_verdict_is_remembered_until_the_hash_changes() {
        let passwords = Passwords::new().unwrap();
        let before = users(&["me"], "hunter2", 4);
        assert!(passwords.is_right(&before, "me", b"hunter2").await);
        let after = users(&["me"], "hunter3", 4);
        assert!(!passwords.is_right(&after, "me", b"hunter2").await);
        assert!(passwords.is_right(&after, "me", b"hunter3").await);
        assert!(!passwords.is_right(&BTreeMap::new(), "me", b"hunter2").await);
    }

    #[tokio::test]
    async fn guessing_neither_forgets_the_right_ones_nor_is_remembered_without_end() {
        let (passwords, users) = (Passwords::new().unwrap(), users(&["me"], "hunter2", 4));
        assert!(passwords.is_right(&users, "me", b"hunter2").await);
        for guess in 0..2 * REMEMBERED {
            assert!(!passwords.is_right(&users, "me", guess.to_string().as_bytes()).await);
        }
        let verdicts = passwords.verdicts.lock().unwrap();
        assert_eq!((verdicts.right.len(), verdicts.wrong.len()), (1, REMEMBERED));
    }

    #[tokio::test]
    async fn who_asks_again_with_the_right_password_does_not_wait_for_bcrypt() {
        let (passwords, users) = (Passwords::new().unwrap(), users(&["me"], "hunter2", 8));
        let took = async |password: &[u8]| {
            let began = Instant::now();
            passwords.is_right(&users, "me", password).await;
            began.elapsed()
        };
        let first = took(b"hunter2").await;
        // The quickest of many: others are busy on this machine, too.
        let mut again = first;
        for _ in 0..20 {
            again = again.min(took(b"hunter2").await);
        }
        assert!(again * 5 < first, "{again:?} is not much less than {first:?}");
    }

    #[tokio::test]
    async fn whoever_hangs_up_keeps_their_turn_until_the_comparison_has_ended() {
        let (passwords, users) = (Passwords::new().unwrap(), users(&["me"], "hunter2", 4));
        let slow = super::Passwords { turn: Arc::clone(&passwords.turn), ..Passwords::new().unwrap() };
        let costly = self::users(&["me"], "hunter2", 8);
        let asked = slow.is_right(&costly, "me", b"hunter3");
        // Hangs up as soon as the comparison has begun.
        drop(tokio::time::timeout(std::time::Duration::from_millis(1), asked).await);
        assert!(
            passwords.turn.try_lock().is_err()
                || slow.remembered(&slow.digest("me", costly["me"].expose(), b"hunter3")).is_some()
        );
        assert!(passwords.is_right(&users, "me", b"hunter2").await, "the next one has a turn, too");
    }
}
