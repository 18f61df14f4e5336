use narthex_common::{
    assignment::{AssignedTarget, Revision, TargetState},
    time::Timestamp,
};
use rstest::rstest;

use super::*;
use crate::{leaving::Update, testing::target};

/// What a Prometheus says that scrapes a target in a pool, as the sidecar told it to.
fn scraped(pool: &str, assigned: &AssignedTarget) -> ActiveTarget {
    ActiveTarget {
        scrape_pool: pool.into(),
        labels: assigned.target.labels.visible().collect(),
        scrape_url: assigned.target.url.replacen("https", "http", 1),
    }
}

/// A shard of two jobs, `node` and `web`.
struct Shard {
    assignment: Assignment,
    leaving: Leaving,
}

impl Shard {
    fn new(targets: &[AssignedTarget]) -> Self {
        let targets = targets.iter().map(|t| (t.target.id, t.clone())).collect();
        let assignment = Assignment { revision: Revision(1), targets, ..Assignment::default() };
        Self { assignment, leaving: Leaving::default() }
    }

    /// A target begins to leave; in the next generation it has a pool.
    fn begin_to_move(&mut self, target: &AssignedTarget) {
        let before = self.assignment.clone();
        let moving = AssignedTarget { state: TargetState::InTransfer, ..target.clone() };
        self.assignment.targets.insert(target.target.id, moving);
        self.follow(&before, &[]);
    }

    fn hand_over(&mut self, target: &AssignedTarget) {
        let before = self.assignment.clone();
        self.assignment.targets.remove(&target.target.id);
        self.follow(&before, &[target.target.id]);
    }

    fn follow(&mut self, before: &Assignment, handed_over: &[narthex_common::target::TargetId]) {
        let now = Timestamp(1_000_000);
        self.leaving.follow(&Update { before, after: &self.assignment, handed_over, now });
        self.leaving.admit(now);
    }

    fn compare(&self, active: impl IntoIterator<Item = ActiveTarget>) -> Differences {
        let ids = JobIds::new([&"node".into(), &"web".into()]);
        compare(&self.assignment, &self.leaving, &ScrapePools::new(&ids, &self.leaving), active)
    }
}

fn a() -> AssignedTarget {
    target("node", "http://a:9100/metrics", &[("zone", "1"), ("__tmp", "x")])
}

fn b() -> AssignedTarget {
    target("node", "http://b:9100/metrics", &[])
}

#[test]
fn a_prometheus_that_scrapes_what_is_assigned_differs_in_nothing() {
    let shard = Shard::new(&[a(), b(), target("web", "https://w/metrics", &[])]);
    let active =
        [scraped("node", &b()), scraped("node", &a()), scraped("web", &target("web", "http://w/metrics", &[]))];
    assert_eq!(shard.compare(active), Differences::default());
}

#[rstest]
#[case::missing(vec![scraped("node", &b())], (1, 0), &["node a:9100 is missing"])]
#[case::all_missing(vec![], (2, 0), &["node a:9100 is missing", "node b:9100 is missing"])]
#[case::unexpected(
    vec![scraped("node", &a()), scraped("node", &b()), scraped("web", &b())],
    (0, 1), &["web b:9100 is not assigned"],
)]
#[case::twice(vec![scraped("node", &a()), scraped("node", &b()), scraped("node", &b())], (0, 1), &["node b:9100 is not assigned"])]
#[case::in_a_pool_of_no_job(
    vec![scraped("node", &a()), scraped("strange", &b())],
    (1, 1), &["node b:9100 is missing", "strange b:9100 is not assigned"],
)]
#[case::other_labels(
    vec![scraped("node", &target("node", "http://a:9100/metrics", &[("zone", "2")])), scraped("node", &b())],
    (1, 1),
    &[r#"node a:9100 is scraped with the labels {instance="a:9100", job="node", zone="2"}, not {instance="a:9100", job="node", zone="1"}"#],
)]
#[case::other_url(
    vec![ActiveTarget { scrape_url: "http://a:9100/?secret=1".into(), ..scraped("node", &a()) }, scraped("node", &b())],
    (1, 1), &["node a:9100 is scraped at another URL"],
)]
fn what_differs_is_told(
    #[case] active: Vec<ActiveTarget>,
    #[case] (missing, unexpected): (usize, usize),
    #[case] examples: &[&str],
) {
    let differences = Shard::new(&[a(), b()]).compare(active);
    assert_eq!((differences.missing.values().sum(), differences.unexpected.values().sum()), (missing, unexpected));
    assert_eq!(differences.examples(), examples);
}

#[test]
fn two_targets_that_differ_in_reserved_labels_alone_are_both_scraped() {
    let shard = Shard::new(&[a(), target("node", "http://a:9100/metrics", &[("zone", "1"), ("__tmp", "y")])]);
    assert_eq!(shard.compare([scraped("node", &a()), scraped("node", &a())]), Differences::default());
    assert_eq!(shard.compare([scraped("node", &a())]).missing.values().sum::<usize>(), 1);
}

#[rstest]
#[case::alone("http://x/m", "http://x/m?narthex_scheme=https")]
#[case::among_others("http://x/m?a=1&z=2", "http://x/m?a=1&narthex_scheme=https&z=2")]
fn an_https_twin_is_known_by_its_mark(#[case] plain: &str, #[case] marked: &str) {
    let twins = [target("web", plain, &[]), target("web", &plain.replacen("http", "https", 1), &[])];
    let shard = Shard::new(&twins);
    let https = ActiveTarget { scrape_url: marked.into(), ..scraped("web", &twins[1]) };
    assert_eq!(shard.compare([scraped("web", &twins[0]), https]), Differences::default());
    // Scraped by http twice, it lacks the other.
    let without_mark = shard.compare([scraped("web", &twins[0]), scraped("web", &twins[0])]);
    assert_eq!((without_mark.missing.len(), without_mark.unexpected.len()), (1, 1));
}

#[rstest]
#[case::in_its_own_pool(&["node"])]
#[case::in_both(&["node", "node~leaving-1"])]
#[case::in_the_pool_it_leaves_through(&["node~leaving-1"])]
fn a_target_on_its_way_out_may_be_in_either_pool(#[case] pools: &[&str]) {
    let mut shard = Shard::new(&[a()]);
    shard.begin_to_move(&a());
    let active = || pools.iter().map(|pool| scraped(pool, &a()));
    assert_eq!(shard.compare(active()), Differences::default());
    // Until another shard has it, somebody must.
    assert_eq!(shard.compare([]).missing.len(), 1);
    shard.hand_over(&a());
    assert_eq!(shard.compare(active()), Differences::default());
    assert_eq!(shard.compare([]), Differences::default());
}

#[test]
fn targets_of_a_job_that_the_config_does_not_have_are_not_waited_for() {
    let shard = Shard::new(&[target("gone", "http://a:1/metrics", &[])]);
    assert_eq!(shard.compare([]), Differences::default());
}

#[test]
fn what_was_there_before_lasts_and_what_is_new_or_gone_does_not() {
    let shard = Shard::new(&[a(), b()]);
    let (both, one) = (shard.compare([]), shard.compare([scraped("node", &a())]));
    assert_eq!(both.lasting_since(&one), one);
    assert_eq!(one.lasting_since(&both), one);
    assert_eq!(both.lasting_since(&Differences::default()), Differences::default());
    assert_eq!(Differences::default().lasting_since(&both), Differences::default());
    let strange = shard.compare([scraped("node", &a()), scraped("node", &b()), scraped("web", &b())]);
    assert_eq!(strange.lasting_since(&strange), strange);
    assert_eq!(strange.lasting_since(&one), Differences::default());
}
