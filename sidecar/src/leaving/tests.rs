//! Targets on their way out, by hand and by chance.

use narthex_common::assignment::{AssignedTarget, Revision};
use proptest::prelude::*;

use super::*;
use crate::testing::target;

/// A shard's books: what is assigned, what is on its way out, and a clock.
struct Books {
    assignment: Assignment,
    leaving: Leaving,
    now: Timestamp,
    scraped: BTreeMap<TargetId, u32>,
    can_reload: bool,
    given_up: usize,
}

impl Books {
    fn new(targets: &[AssignedTarget]) -> Self {
        let targets = targets.iter().map(|t| (t.target.id, t.clone())).collect();
        Self {
            assignment: Assignment { revision: Revision(1), targets, ..Assignment::default() },
            leaving: Leaving::default(),
            now: Timestamp(1_000_000),
            scraped: BTreeMap::new(),
            can_reload: true,
            given_up: 0,
        }
    }

    fn update(&mut self, put: &[AssignedTarget], remove: &[&AssignedTarget], handed_over: &[&AssignedTarget]) {
        let before = self.assignment.clone();
        for gone in remove.iter().chain(handed_over) {
            self.assignment.targets.remove(&gone.target.id);
        }
        self.assignment.targets.extend(put.iter().map(|t| (t.target.id, t.clone())));
        let handed_over: Vec<_> = handed_over.iter().map(|t| t.target.id).collect();
        let (after, now) = (&self.assignment, self.now);
        self.leaving.follow(&Update { before: &before, after, handed_over: &handed_over, now });
        self.look();
    }

    fn begin_to_move(&mut self, targets: &[&AssignedTarget]) {
        let put: Vec<_> = targets.iter().map(|target| in_transfer(target)).collect();
        self.update(&put, &[], &[]);
    }

    fn hand_over(&mut self, targets: &[&AssignedTarget]) {
        self.update(&[], &[], targets);
    }

    /// What the shard does again and again.
    fn look(&mut self) {
        if self.can_reload {
            self.leaving.admit(self.now);
        }
        let scraped = &self.scraped;
        self.leaving.step(|id, _| scraped.get(&id).copied().unwrap_or(0), self.now);
        self.given_up += self.leaving.give_up(self.can_reload, self.now).len();
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.look();
    }

    fn load_pools(&mut self) {
        self.leaving.loaded(&self.leaving.pools());
        self.look();
        self.wait(Duration::from_millis(200));
    }

    fn scrape(&mut self, targets: &[&AssignedTarget], times: u32) {
        self.scraped.extend(targets.iter().map(|t| (t.target.id, times)));
        self.look();
    }

    fn is_in_job_file(&self, target: &AssignedTarget) -> bool {
        let id = target.target.id;
        self.leaving.beside(&self.assignment).targets.contains_key(&id) && !self.leaving.away().contains(&id)
    }

    fn is_in_pool(&self, target: &AssignedTarget) -> bool {
        let mut in_pools = self.leaving.generations().values().flat_map(Generation::in_pool);
        in_pools.any(|leaver| leaver.assigned.target.id == target.target.id)
    }

    /// Whether the job's file and a pool's file have the target.
    fn places(&self, target: &AssignedTarget) -> (bool, bool) {
        (self.is_in_job_file(target), self.is_in_pool(target))
    }

    fn emptied(&self) -> Vec<GenerationId> {
        let generations = self.leaving.generations().iter();
        generations.filter(|(_, generation)| generation.emptied().is_some()).map(|(id, _)| *id).collect()
    }
}

const JOB: (bool, bool) = (true, false);
const POOL: (bool, bool) = (false, true);
const BOTH: (bool, bool) = (true, true);
const NOWHERE: (bool, bool) = (false, false);

fn node(n: usize) -> AssignedTarget {
    target("node", &format!("http://{n}:1/metrics"), &[])
}

fn in_transfer(target: &AssignedTarget) -> AssignedTarget {
    AssignedTarget { state: TargetState::InTransfer, ..target.clone() }
}

#[test]
fn a_target_goes_from_its_job_to_the_pool_and_from_there_nowhere() {
    let (a, b) = (node(1), node(2));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a]);
    books.load_pools();
    assert_eq!(books.places(&a), JOB, "nobody else scrapes it yet");
    books.hand_over(&[&a]);
    assert_eq!(books.places(&a), BOTH, "first it enters the one");
    books.wait(Duration::from_millis(200));
    assert_eq!(books.places(&a), POOL, "then it leaves the other");
    books.scrape(&[&a], 2);
    assert_eq!(books.places(&a), POOL, "its job's loop may have markers to write");
    books.scrape(&[&a], 3);
    assert_eq!((books.places(&a), books.places(&b)), (NOWHERE, JOB));
    let [generation] = books.emptied()[..] else { panic!("{:?}", books.leaving) };
    assert_eq!(books.leaving.close(generation).len(), 1);
    assert!(books.leaving.is_empty());
}

#[test]
fn a_target_that_is_handed_over_before_the_pool_is_there_stays_in_its_jobs_file_until_it_is() {
    let a = node(1);
    let mut books = Books::new(std::slice::from_ref(&a));
    books.hand_over(&[&a]);
    books.wait(Duration::from_secs(30));
    assert_eq!((books.assignment.targets.len(), books.places(&a)), (0, JOB));
    books.load_pools();
    assert_eq!(books.places(&a), POOL);
}

#[test]
fn moves_of_one_minute_share_a_generation_and_at_most_eight_are_open() {
    let nodes: Vec<_> = (0..20).map(node).collect();
    let mut books = Books::new(&nodes);
    for (n, node) in nodes.iter().enumerate() {
        books.begin_to_move(&[node]);
        assert_eq!(books.leaving.generations().len(), (n / 2 + 1).min(MAX_GENERATIONS));
        books.wait(Duration::from_secs(31));
    }
    assert_eq!(books.leaving.waiting.len(), 4);
    assert!(nodes.iter().all(|node| books.places(node) == JOB), "all are scraped");

    books.load_pools();
    books.hand_over(&[&nodes[0], &nodes[1]]);
    books.wait(Duration::from_millis(200));
    books.scrape(&[&nodes[0], &nodes[1]], 3);
    drop(books.leaving.close(books.emptied()[0]));
    books.look();
    assert_eq!((books.leaving.generations().len(), books.leaving.waiting.len()), (MAX_GENERATIONS, 0));
    assert_eq!(books.leaving.pools().keys().last(), Some(&GenerationId(9)), "no number is used twice");
}

#[test]
fn a_generation_waits_for_its_last_target() {
    let (a, b) = (node(1), node(2));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a, &b]);
    books.load_pools();
    books.hand_over(&[&a]);
    books.wait(Duration::from_millis(200));
    books.scrape(&[&a, &b], 3);
    assert_eq!((books.places(&a), books.places(&b)), (POOL, JOB));
    books.hand_over(&[&b]);
    books.wait(Duration::from_millis(200));
    books.look();
    assert_eq!((books.places(&a), books.places(&b)), (NOWHERE, NOWHERE));
}

#[test]
fn a_move_that_comes_to_nothing_leaves_the_target_where_it_is() {
    let a = node(1);
    let mut books = Books::new(std::slice::from_ref(&a));
    books.begin_to_move(&[&a]);
    books.load_pools();
    books.update(std::slice::from_ref(&a), &[], &[]);
    assert_eq!(books.places(&a), JOB);
    assert_eq!(books.emptied().len(), 1, "the pool is of no more use");
}

#[test]
fn a_target_that_comes_back_is_in_its_jobs_file_before_it_leaves_the_pools() {
    let a = node(1);
    let mut books = Books::new(std::slice::from_ref(&a));
    books.begin_to_move(&[&a]);
    books.load_pools();
    books.hand_over(&[&a]);
    books.wait(Duration::from_millis(200));
    books.update(std::slice::from_ref(&a), &[], &[]);
    assert_eq!(books.places(&a), BOTH);
    books.wait(Duration::from_millis(200));
    assert_eq!(books.places(&a), JOB);
    assert!(books.leaving.leavers().next().is_none());
}

#[test]
fn a_target_that_comes_back_when_its_pool_ends_begins_anew_in_its_jobs_file() {
    let a = node(1);
    let mut books = Books::new(std::slice::from_ref(&a));
    books.begin_to_move(&[&a]);
    books.load_pools();
    books.hand_over(&[&a]);
    books.wait(Duration::from_millis(200));
    books.scrape(&[&a], 3);
    books.update(&[in_transfer(&a)], &[], &[]);
    assert_eq!(books.places(&a), JOB);
    assert_eq!(books.leaving.generations().len(), 2, "it leaves again with the next");
}

#[test]
fn a_target_that_discovery_drops_leaves_the_pool_as_it_would_leave_its_job() {
    let (a, b) = (node(1), node(2));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a, &b]);
    books.load_pools();
    books.hand_over(&[&a, &b]);
    books.wait(Duration::from_millis(200));
    books.update(&[in_transfer(&a)], &[], &[]);
    books.update(&[], &[&a], &[]);
    assert_eq!(books.places(&a), NOWHERE);
    books.scrape(&[&b], 3);
    books.wait(Duration::from_secs(60));
    assert_eq!(books.places(&b), POOL, "its stale markers are due, so the pool stays until they are written");
    books.wait(Duration::from_secs(4));
    assert_eq!(books.emptied().len(), 1);
}

#[test]
fn where_prometheus_cannot_reload_targets_leave_plainly_when_they_are_handed_over() {
    let (a, b) = (node(1), target("other", "http://1:1/", &[]));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a]);
    books.load_pools();
    books.begin_to_move(&[&b]);
    books.leaving.refused();
    books.can_reload = false;
    books.look();
    assert_eq!((books.places(&b), books.given_up), (JOB, 0), "it is scraped until it is handed over");
    books.hand_over(&[&a, &b]);
    books.wait(Duration::from_millis(200));
    assert_eq!((books.places(&b), books.given_up), (NOWHERE, 1));
    assert_eq!(books.places(&a), POOL, "a pool that is there goes on");
}

#[test]
fn nothing_is_waited_for_for_ever() {
    let (a, b) = (node(1), target("other", "http://1:1/", &[]));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a]);
    books.load_pools();
    books.hand_over(&[&a, &b]);
    // Its pool is never loaded; the other one's is, but nothing comes through.
    books.wait(Duration::from_secs(151));
    assert_eq!((books.places(&b), books.given_up), (NOWHERE, 1));
    books.look();
    assert_eq!((books.places(&a), books.emptied().len()), (NOWHERE, 1));
}

#[test]
fn a_job_that_is_gone_takes_its_pools_along() {
    let (a, b) = (node(1), target("other", "http://1:1/", &[]));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a, &b]);
    books.leaving.retain_jobs(|job| job.as_str() == "node");
    assert_eq!(books.leaving.pools().into_values().collect::<Vec<_>>(), [["node".into()]]);
    books.leaving.retain_jobs(|_| false);
    assert!(books.leaving.is_empty());
}

#[test]
fn what_is_kept_is_found_again_as_it_was() {
    let (a, b) = (node(1), node(2));
    let mut books = Books::new(&[a.clone(), b.clone()]);
    books.begin_to_move(&[&a, &b]);
    books.load_pools();
    books.hand_over(&[&a]);
    let text = serde_json::to_string(&books.leaving).unwrap();
    assert_eq!(serde_json::from_str::<Leaving>(&text).unwrap(), books.leaving);
}

#[test]
fn a_scrape_through_the_jobs_own_pool_begins_the_count_anew() {
    let (scrapes, id, generation) = (PoolScrapes::default(), node(1).target.id, GenerationId(3));
    scrapes.record(id, Some(generation));
    scrapes.record(id, Some(generation));
    assert_eq!((scrapes.of(id, generation), scrapes.of(id, GenerationId(4))), (2, 0));
    scrapes.record(id, None);
    scrapes.record(id, Some(generation));
    assert_eq!(scrapes.of(id, generation), 1);
    scrapes.retain(&BTreeSet::new());
    assert_eq!(scrapes.of(id, generation), 0);
}

/// What may happen to one of a few targets, or to all of them.
#[derive(Clone, Copy, Debug)]
enum Event {
    Move(usize),
    Return(usize),
    HandOver(usize),
    Remove(usize),
    Load,
    Refuse,
    Scrape(u32),
    Wait(u64),
    Close,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..6_usize).prop_map(Event::Move),
        (0..6_usize).prop_map(Event::Return),
        (0..6_usize).prop_map(Event::HandOver),
        (0..6_usize).prop_map(Event::Remove),
        Just(Event::Load),
        Just(Event::Refuse),
        (0..5_u32).prop_map(Event::Scrape),
        (0..90_000_u64).prop_map(Event::Wait),
        Just(Event::Close),
    ]
}

fn happens(event: Event, books: &mut Books, nodes: &[AssignedTarget]) {
    let is_assigned = |books: &Books, n: usize| books.assignment.targets.contains_key(&nodes[n].target.id);
    match event {
        Event::Move(n) if is_assigned(books, n) => books.begin_to_move(&[&nodes[n]]),
        Event::Return(n) => books.update(&[nodes[n].clone()], &[], &[]),
        Event::HandOver(n) if is_assigned(books, n) => books.hand_over(&[&nodes[n]]),
        Event::Remove(n) if is_assigned(books, n) => books.update(&[], &[&nodes[n]], &[]),
        Event::Move(_) | Event::HandOver(_) | Event::Remove(_) => {}
        Event::Load => books.load_pools(),
        Event::Refuse => books.leaving.refused(),
        Event::Scrape(times) => books.scrape(&nodes.iter().collect::<Vec<_>>(), times),
        Event::Wait(millis) => books.wait(Duration::from_millis(millis)),
        Event::Close => books.emptied().into_iter().for_each(|id| drop(books.leaving.close(id))),
    }
}

proptest! {
    #[test]
    fn what_is_assigned_is_always_scraped_and_what_leaves_has_left_in_the_end(
        events in proptest::collection::vec(event(), 0..60)
    ) {
        let nodes: Vec<_> = (0..6).map(node).collect();
        let mut books = Books::new(&nodes);
        for event in events {
            happens(event, &mut books, &nodes);
            for (n, node) in nodes.iter().enumerate() {
                let places = books.places(node);
                if books.assignment.targets.contains_key(&node.target.id) {
                    prop_assert_ne!(places, NOWHERE, "{} after {:?}: {:?}", n, event, books.leaving);
                }
            }
            for generation in books.leaving.generations().values() {
                let is_loaded = |leaver: &Leaver| generation.pools.get(&leaver.assigned.target.job) == Some(&true);
                prop_assert!(generation.in_pool().all(is_loaded), "{:?}: {:?}", event, books.leaving);
                let is_assigned = |id: &TargetId| books.assignment.targets.contains_key(id);
                prop_assert!(generation.emptied().is_none() || !generation.leavers.keys().any(is_assigned));
            }
            prop_assert!(books.leaving.generations().len() <= MAX_GENERATIONS);
        }
        let rest: Vec<_> = nodes.iter().filter(|n| books.assignment.targets.contains_key(&n.target.id)).collect();
        books.hand_over(&rest);
        let given_up = books.given_up;
        for _ in 0..4 {
            books.load_pools();
            books.scrape(&nodes.iter().collect::<Vec<_>>(), 3);
            happens(Event::Close, &mut books, &nodes);
            books.wait(Duration::from_secs(40));
        }
        happens(Event::Close, &mut books, &nodes);
        prop_assert!(books.leaving.is_empty(), "{:?}", books.leaving);
        prop_assert_eq!(books.given_up, given_up, "with pools nothing leaves plainly");
    }
}
