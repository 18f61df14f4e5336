//! Bodies of the API: an assignment update that is taken leads where it says, and every value comes back as it was
//! written.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narthex_common::{
    api::Answer,
    assignment::{AssignedTarget, Assignment, AssignmentUpdate},
    report::Report,
    target::Target,
};

fuzz_target!(|body: &[u8]| {
    if let Ok(update) = serde_json::from_slice::<AssignmentUpdate>(body) {
        let text = serde_json::to_vec(&update).expect("write what was read");
        assert_eq!(serde_json::from_slice::<AssignmentUpdate>(&text).expect("read what was written"), update);
        carry_out(update.clone());
        // No input hits a fingerprint by chance.
        carry_out(with_true_ids(update));
    }
    if let Ok(answer) = serde_json::from_slice::<Answer<Report>>(body) {
        let text = serde_json::to_vec(&answer).expect("write what was read");
        assert_eq!(serde_json::from_slice::<Answer<Report>>(&text).expect("read what was written"), answer);
    }
});

fn carry_out(update: AssignmentUpdate) {
    let before = Assignment::default();
    let (revision, put) = (update.revision, update.put.len());
    let Ok(after) = before.updated(update) else { return };
    assert!(after.targets.len() <= put && after.revision == revision);
    let back = after.updated(after.update_to(&before)).expect("an update made here fits");
    assert_eq!(back.targets, before.targets);
}

fn with_true_ids(mut update: AssignmentUpdate) -> AssignmentUpdate {
    for AssignedTarget { target, .. } in &mut update.put {
        *target = Target::new(target.job.clone(), target.labels.clone(), target.url.clone());
    }
    update
}
