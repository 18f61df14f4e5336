//! The assignment on disk: what a restarted sidecar goes on with, without the coordinator.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use narthex_common::{assignment::Assignment, time::Timestamp};
use narthex_runtime::files::write_atomic;
use serde::{Deserialize, Serialize};

use crate::leaving::Leaving;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saved {
    /// What the shard is to scrape.
    #[serde(flatten)]
    pub assignment: Assignment,
    /// Since when there has been no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_since: Option<Timestamp>,
    /// Targets on their way to another shard.
    #[serde(default, skip_serializing_if = "Leaving::is_empty")]
    pub leaving: Leaving,
}

/// What was found at start.
#[derive(Debug)]
pub enum Found {
    /// Nothing: the shard never got an assignment.
    Nothing,
    /// An assignment.
    Saved(Saved),
    /// Something that is no assignment. It was moved out of the way, for a person to look at.
    Damaged {
        /// What is wrong with it.
        error: serde_json::Error,
        /// Where it is now.
        moved_to: PathBuf,
    },
}

/// Loads the assignment.
///
/// # Errors
/// When there is one that cannot be read or, being damaged, not be moved out of the way.
pub fn load(path: &Path) -> io::Result<Found> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice(&text) {
        Ok(saved) => Ok(Found::Saved(saved)),
        Err(error) => {
            let moved_to = path.with_extension("json.damaged");
            fs::rename(path, &moved_to)?;
            Ok(Found::Damaged { error, moved_to })
        }
    }
}

/// Saves the assignment, synced: once this returns it survives a loss of power.
///
/// # Errors
/// When it cannot be written; the old one is then still there.
pub fn save(path: &Path, saved: &Saved) -> io::Result<()> {
    write_atomic(path, &serde_json::to_vec(saved)?, None)
}

/// Saves the assignment unless it is what is there: a sidecar must be able to start again on a full disk.
///
/// # Errors
/// As [`save`].
pub fn save_unless_there(path: &Path, saved: &Saved) -> io::Result<()> {
    let text = serde_json::to_vec(saved)?;
    if fs::read(path).is_ok_and(|there| there == text) { Ok(()) } else { write_atomic(path, &text, None) }
}

#[cfg(test)]
mod tests {
    use narthex_common::{
        assignment::{AssignedTarget, Revision, TargetState},
        labels::Labels,
        target::Target,
    };

    use super::*;

    fn saved() -> Saved {
        let labels = Labels::from_iter([("__address__", "a:1"), ("job", "j")]);
        let target = Target::new("j".into(), labels, "http://a:1/metrics".into());
        let assigned = AssignedTarget { target, state: TargetState::InTransfer, since: None, load: None };
        Saved {
            assignment: Assignment {
                revision: Revision(7),
                targets: [(assigned.target.id, assigned)].into(),
                ..Assignment::default()
            },
            idle_since: Some(Timestamp(5)),
            leaving: Leaving::default(),
        }
    }

    #[test]
    fn what_was_saved_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        assert!(matches!(load(&path).unwrap(), Found::Nothing));
        save(&path, &saved()).unwrap();
        let Found::Saved(found) = load(&path).unwrap() else { panic!("not found") };
        assert_eq!(found, saved());
    }

    #[test]
    fn a_damaged_assignment_is_kept_for_a_person_to_look_at() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("assignment.json");
        fs::write(&path, r#"{"revision": 7, "targ"#).unwrap();
        let Found::Damaged { moved_to, .. } = load(&path).unwrap() else { panic!("not damaged") };
        assert_eq!(fs::read_to_string(moved_to).unwrap(), r#"{"revision": 7, "targ"#);
        assert!(matches!(load(&path).unwrap(), Found::Nothing));
    }
}
