//! Forget: what discovery no longer lists.

use narthex_planner::{reason::Change, world::JobView};

use crate::made_up::{but, gone_quiet, owned, plan, shard, spreading, told, world};

#[test]
fn what_discovery_no_longer_lists_leaves_its_shard() {
    let plan = plan(&world([(1, 10)], [shard([owned(1, 3), owned(2, 3)])]), spreading());
    assert_eq!(told(&plan), [(0, vec![1], vec![])]);
    assert!(matches!(plan.changes[..], [Change::Forget { .. }]));
}

#[test]
fn nothing_of_a_job_is_forgotten_before_its_first_discovery() {
    let mut world = world([], [shard([owned(1, 3), owned(2, 0)])]);
    world.jobs.insert("job".into(), JobView { discovered: false });
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan), [(0, vec![1, 2], vec![])]);
    assert_eq!(plan.changes, []);
}

#[test]
fn a_job_that_left_the_config_is_forgotten() {
    let mut world = world([], [shard([owned(1, 3)])]);
    world.jobs.clear();
    assert_eq!(told(&plan(&world, spreading())), [(0, vec![], vec![])]);
}

#[test]
fn a_shard_out_of_reach_is_not_told_to_forget() {
    let world = world(
        [],
        [
            gone_quiet(shard([owned(1, 3)])),
            but(shard([owned(2, 3)]), |report| report.config_matches = false),
            but(shard([owned(3, 3)]), |report| report.ready = false),
        ],
    );
    assert_eq!(told(&plan(&world, spreading())), [(2, vec![], vec![])]);
}
