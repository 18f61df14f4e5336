//! Settle: how moves end.

use narthex_common::config::PromDuration;
use narthex_planner::{
    policy::Settings,
    reason::{Change, GiveBackReason, MoveReason},
};

use crate::{
    fleet::Fleet,
    made_up::{
        NOW, Round, but, gone_quiet, leaving, owned, plan, quiet_for, series, shard, silent_shard, since, spreading,
        target, told, world,
    },
};

/// Why moves are given up.
fn given_back(plan: &Round) -> Vec<GiveBackReason> {
    let why = plan.changes.iter().filter_map(|change| match change {
        Change::GiveBack { why, .. } => Some(*why),
        Change::Place { .. }
        | Change::Move { .. }
        | Change::Settle { .. }
        | Change::Suspect { .. }
        | Change::Forget { .. }
        | Change::Scale { .. } => None,
    });
    why.collect()
}

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
    assert_eq!(given_back(&plan), [GiveBackReason::NotThere]);
}

#[test]
fn a_move_whose_destination_falls_silent_is_waited_for_and_then_given_up() {
    let silent_for = |seconds| {
        let destination = quiet_for(seconds, shard([owned(1, 1)]));
        plan(&world([(1, 10)], [destination, shard([leaving(1)])]), spreading())
    };
    assert_eq!(silent_for(59).changes, []);
    for seconds in [60, 299, 300, 9999] {
        let plan = silent_for(seconds);
        assert_eq!(told(&plan), [(1, vec![1], vec![])], "after {seconds} seconds");
        assert_eq!(given_back(&plan), [GiveBackReason::DestinationSilent]);
    }
}

#[test]
fn a_move_whose_destination_does_not_scrape_in_time_is_given_up_and_handed_back() {
    let after = |seconds, destination| {
        let shards = [shard([since(owned(1, destination), seconds)]), shard([since(leaving(1), seconds)])];
        plan(&world([(1, 10)], shards), spreading())
    };
    assert_eq!(after(359, 2).changes, []);
    let plan = after(360, 2);
    assert_eq!(told(&plan), [(0, vec![], vec![1]), (1, vec![1], vec![])], "both go on scraping until it is settled");
    assert_eq!(given_back(&plan), [GiveBackReason::TookTooLong]);
    assert!(matches!(after(360, 3).changes[..], [Change::Settle { .. }]), "it made it");
}

#[test]
fn a_move_to_a_shard_that_runs_another_config_is_given_up_in_time() {
    let other_config = but(shard([since(owned(1, 0), 360)]), |report| report.config_matches = false);
    let plan = plan(&world([(1, 10)], [other_config, shard([since(leaving(1), 360)])]), spreading());
    assert_eq!(told(&plan), [(1, vec![1], vec![])], "the destination cannot be told");
    assert_eq!(given_back(&plan), [GiveBackReason::TookTooLong]);
}

#[test]
fn a_target_that_is_scraped_rarely_has_ten_intervals_to_move() {
    let after = |minutes: i64| {
        let rarely = |mut held: (u64, _)| {
            let of: &mut narthex_planner::world::HeldTarget = &mut held.1;
            of.interval = PromDuration::from_secs(120);
            since(held, 60 * minutes)
        };
        plan(&world([(1, 10)], [shard([rarely(owned(1, 2))]), shard([rarely(leaving(1))])]), spreading())
    };
    assert_eq!(after(19).changes, []);
    assert_eq!(given_back(&after(20)), [GiveBackReason::TookTooLong]);
}

#[test]
fn a_move_is_not_given_up_for_a_source_that_does_not_scrape_either() {
    let (number, mut restarted) = leaving(1);
    restarted.scrapes = 2;
    let shards = [shard([since(owned(1, 0), 9999)]), shard([since((number, restarted), 9999)])];
    assert_eq!(plan(&world([(1, 10)], shards), spreading()).changes, []);
}

#[test]
fn of_two_owners_the_one_that_took_over_keeps_the_target_once_it_has_proved_itself() {
    let took_over = |scrapes| {
        let shards = [shard([since(owned(1, 3), 9999)]), shard([since(owned(1, scrapes), 30)])];
        told(&plan(&world([(1, 10)], shards), spreading()))
    };
    assert_eq!(took_over(3), [(0, vec![], vec![1]), (1, vec![1], vec![])]);
    assert_eq!(took_over(2), [(0, vec![1], vec![]), (1, vec![], vec![1])], "until then it yields");
}

/// Two shards, of which the first moves one of its targets to the second.
fn fleet_with_a_move() -> (Fleet, narthex_planner::Policy) {
    let policy = narthex_planner::Policy::new(Settings { max_shards: 2, ..spreading() }).unwrap();
    let mut fleet = Fleet::new(1, false);
    fleet.add(target(1), series(60), true);
    fleet.add(target(2), series(40), true);
    fleet.settle(&policy);
    fleet.add_shard();
    fleet.round(&policy);
    fleet.targets.get_mut(&target(2)).unwrap().load = series(60);
    while fleet.shards[1].targets.is_empty() {
        fleet.round(&policy);
    }
    (fleet, policy)
}

#[test]
fn whatever_becomes_of_a_destination_its_targets_are_scraped_all_the_time_and_once_in_the_end() {
    /// Begins or ends.
    type Mishap = fn(&mut crate::fleet::Shard, bool);
    let mishaps: [Mishap; 4] = [
        |shard, begins| shard.silent = begins,
        |shard, begins| shard.dead = begins,
        |shard, begins| shard.config_matches = !begins,
        |shard, begins| shard.stuck = begins,
    ];
    for (mishap, (after, rounds)) in
        mishaps.iter().flat_map(|mishap| [(0, 4), (0, 10), (1, 8), (1, 80)].map(|when| (mishap, when)))
    {
        let (mut fleet, policy) = fleet_with_a_move();
        let run = |fleet: &mut Fleet, rounds| {
            for _ in 0..rounds {
                fleet.round(&policy);
                assert_eq!(fleet.unscraped(), [], "after {after} rounds, for {rounds}");
            }
        };
        run(&mut fleet, after);
        mishap(&mut fleet.shards[1], true);
        run(&mut fleet, rounds);
        mishap(&mut fleet.shards[1], false);
        fleet.settle(&policy);
        assert_eq!(fleet.owned(), [1, 1]);
        assert_eq!(fleet.shards.iter().map(|shard| shard.targets.len()).sum::<usize>(), 2, "nothing is left over");
    }
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
