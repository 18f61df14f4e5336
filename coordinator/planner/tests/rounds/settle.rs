//! Settle: how moves end.

use narthex_planner::reason::{Change, MoveReason};

use crate::made_up::{NOW, gone_quiet, leaving, owned, plan, shard, silent_shard, spreading, target, told, world};

#[test]
fn a_target_leaves_its_shard_only_after_the_new_one_has_scraped_it_three_times() {
    for scrapes in 0..3 {
        let plan = plan(&world([(1, 10)], [shard([owned(1, scrapes)]), shard([leaving(1)])]), spreading());
        assert_eq!(told(&plan), [(0, vec![1], vec![]), (1, vec![], vec![1])], "after {scrapes} scrapes");
        assert_eq!(plan.changes, []);
    }
    let plan = plan(&world([(1, 10)], [shard([owned(1, 3)]), shard([leaving(1)])]), spreading());
    assert_eq!(told(&plan), [(0, vec![1], vec![]), (1, vec![], vec![])]);
    assert!(matches!(plan.changes[..], [Change::Settle { .. }]));
}

#[test]
fn a_source_does_not_let_go_while_the_destination_is_silent() {
    let world = world([(1, 10)], [gone_quiet(shard([owned(1, 3)])), shard([leaving(1)])]);
    let plan = plan(&world, spreading());
    assert_eq!(told(&plan), [(1, vec![], vec![1])]);
    assert_eq!(plan.changes, []);
}

#[test]
fn a_move_whose_destination_lost_the_target_is_given_up() {
    let plan = plan(&world([(1, 10)], [shard([]), shard([leaving(1)])]), spreading());
    assert_eq!(told(&plan), [(0, vec![], vec![]), (1, vec![1], vec![])]);
    assert!(matches!(plan.changes[..], [Change::GiveBack { .. }]));
}

#[test]
fn a_move_is_not_given_up_while_a_shard_that_may_own_the_target_has_not_answered() {
    let mut unread = silent_shard();
    unread.found_at_start = Some(NOW);
    let mut world = world([(1, 10)], [unread, shard([leaving(1)])]);
    assert_eq!(plan(&world, spreading()).changes, []);
    world.now = NOW.after(spreading().max_silence);
    assert!(matches!(plan(&world, spreading()).changes[..], [Change::GiveBack { .. }]), "not for ever");
}

#[test]
fn of_two_owners_the_one_that_scraped_more_keeps_the_target_and_the_other_hands_it_over() {
    let two_owners = world([(1, 10)], [shard([owned(1, 1)]), shard([owned(1, 2)])]);
    let plan = plan(&two_owners, spreading());
    assert_eq!(told(&plan), [(0, vec![], vec![1]), (1, vec![1], vec![])]);
    let [Change::Move { target: moved, why: MoveReason::HeldTwice, .. }] = plan.changes[..] else {
        panic!("{:?}", plan.changes)
    };
    assert_eq!(moved, target(1));
}

#[test]
fn of_two_equal_owners_the_lower_keeps_the_target() {
    let plan = plan(&world([(1, 10)], [shard([owned(1, 3)]), shard([owned(1, 3)])]), spreading());
    assert_eq!(told(&plan), [(0, vec![1], vec![]), (1, vec![], vec![1])]);
}

#[test]
fn a_shard_that_comes_back_leaves_its_target_to_the_one_that_scraped_meanwhile() {
    let away = world([(1, 10)], [gone_quiet(shard([owned(1, 3)])), shard([owned(1, 0)])]);
    assert_eq!(plan(&away, spreading()).changes, [], "a silent shard has no say, and cannot be told");
}
