//! Linux gives every user only so many inotify instances, and a Prometheus that gets none for a job's target files
//! leaves that job without targets, with one line in its log.

use std::{collections::BTreeSet, path::Path};

use crate::{job_ids::JobIds, render::layout::Layout};

const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Warns when the directories that Prometheus is to watch are a large part of what its user may have: others of the
/// same user, such as further shards on this machine, need some too.
pub fn warn_when_scarce(ids: &JobIds, layout: Layout) {
    let Some(limit) = std::fs::read_to_string(Path::new(LIMIT)).ok().and_then(|text| text.trim().parse().ok()) else {
        return;
    };
    let watched = directories(ids, layout);
    if is_scarce(watched, limit) {
        tracing::warn!(
            watched,
            limit,
            "Prometheus watches many directories for the few inotify instances a user may have here; jobs that get none \
             have no targets: raise the sysctl fs.inotify.max_user_instances"
        );
    }
}

fn directories(ids: &JobIds, layout: Layout) -> usize {
    ids.iter().map(|(_, id)| layout.directory(id)).collect::<BTreeSet<_>>().len()
}

const fn is_scarce(watched: usize, limit: usize) -> bool {
    watched > limit / 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::layout::DEFAULT_DIRECTORIES;

    #[test]
    fn the_default_limit_is_enough_for_any_config_of_one_shard() {
        let names: Vec<_> = (0..1000).map(|i| format!("job-{i}").as_str().into()).collect();
        let watched = |ids: &JobIds| directories(ids, Layout::of(ids, DEFAULT_DIRECTORIES));
        assert!(!is_scarce(watched(&JobIds::new(&names)), 128));
        assert!(is_scarce(watched(&JobIds::new(&names[..20])), 64));
    }
}
