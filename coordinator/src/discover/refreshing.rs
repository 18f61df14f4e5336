//! What discoveries that ask again and again have in common: a failure is said when it begins, changes and ends, and not
//! at every try.

use std::collections::BTreeMap;

/// How many failures of one try are told in full.
const TOLD: usize = 3;

/// What went wrong when each of several things was last asked.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<String, String>);

impl Failures {
    /// Something answered; `say_so` is called if it did not before.
    pub(super) fn is_good(&mut self, what: &str, say_so: impl FnOnce()) {
        if self.0.remove(what).is_some() {
            say_so();
        }
    }

    /// Something failed; `say_so` is called unless it failed before in the same way.
    pub(super) fn is_bad(&mut self, what: &str, why: &str, say_so: impl FnOnce()) {
        if self.0.get(what).is_none_or(|before| before != why) {
            self.0.insert(what.to_owned(), why.to_owned());
            say_so();
        }
    }
}

/// Failures as one, so that a thousand of them are not a thousand lines; none when there are none.
pub(super) fn summary<S: AsRef<str>>(failures: &[S]) -> Option<String> {
    let told = failures.iter().take(TOLD).map(AsRef::as_ref).collect::<Vec<_>>().join("; ");
    match failures.len() {
        0 => None,
        few if few <= TOLD => Some(told),
        many => Some(format!("{told}; and {} more", many - TOLD)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_said_when_it_begins_when_it_changes_and_when_it_ends() {
        let (mut failures, mut said) = (Failures::default(), Vec::new());
        for why in ["timeout", "timeout", "refused"] {
            failures.is_bad("a", why, || said.push(why));
        }
        failures.is_bad("b", "refused", || said.push("b too"));
        for _ in 0..2 {
            failures.is_good("a", || said.push("good"));
        }
        assert_eq!(said, ["timeout", "refused", "b too", "good"]);
    }

    #[test]
    fn many_failures_are_told_in_few_words() {
        let failures: Vec<String> = (1..=5).map(|i| format!("e{i}")).collect();
        assert_eq!(summary::<&str>(&[]), None);
        assert_eq!(summary(&failures[..1]).unwrap(), "e1");
        assert_eq!(summary(&failures).unwrap(), "e1; e2; e3; and 2 more");
    }
}
