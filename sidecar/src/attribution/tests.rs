//! What is learned from what Prometheus lists.

use narthex_common::{
    assignment::{AssignedTarget, TargetState},
    target::Target,
};

use super::*;
use crate::prometheus::{DroppedTarget, RelabeledTarget};

fn discovered(name: &str) -> Target {
    let labels = Labels::from_iter([("__address__", name), ("__meta_name", name)]);
    Target::of_discovered("j".into(), labels)
}

/// The labels before relabeling, as Prometheus lists them.
fn sent(name: &str) -> Labels {
    let id = discovered(name).id.to_string();
    Labels::from_iter([(TARGET_ID_LABEL, id.as_str()), ("__address__", name), ("__meta_filepath", "f")])
}

fn outcome(instance: &str) -> Outcome {
    Outcome { labels: Labels::from_iter([("instance", instance)]), url: format!("https://{instance}/m") }
}

/// What Prometheus lists: what becomes of whom, and who is dropped.
fn listed(active: &[(&str, &str)], dropped: &[&str]) -> Listed {
    let active = active.iter().map(|(name, instance)| RelabeledTarget {
        scrape_pool: "j".into(),
        discovered_labels: sent(name),
        labels: outcome(instance).labels,
        scrape_url: format!("http://{instance}/m?narthex_scheme=https"),
    });
    let stranger = RelabeledTarget {
        scrape_pool: "other".into(),
        discovered_labels: sent("a"),
        labels: Labels::default(),
        scrape_url: "http://other/".into(),
    };
    let targets = RelabeledTargets {
        active_targets: active.chain([stranger]).collect(),
        dropped_targets: dropped.iter().map(|name| DroppedTarget { discovered_labels: sent(name) }).collect(),
    };
    let mut listed = Listed::default();
    listed.add("j", &"j".into(), targets);
    listed
}

fn wanted(names: &[&str]) -> BTreeMap<TargetId, JobName> {
    names.iter().map(|name| (discovered(name).id, "j".into())).collect()
}

fn fate(attribution: &Attribution, name: &str) -> Option<Fate> {
    attribution.0.get(&discovered(name).id).cloned()
}

#[test]
fn a_target_is_told_by_the_labels_it_was_discovered_with() {
    let listed = listed(&[("a", "x:1"), ("stranger", "y:1")], &["b"]);
    let learned = Attribution::default().learn(&wanted(&["a", "b", "c"]), &listed, |_| false);
    assert_eq!(fate(&learned, "a"), Some(Fate::Scraped(outcome("x:1"))), "with its true scheme");
    assert_eq!(fate(&learned, "b"), Some(Fate::Dropped));
    assert_eq!(learned.len(), 2, "of one that is not listed yet nothing is known");
    assert_eq!(learned.dropped().collect::<Vec<_>>(), [discovered("b").id]);
}

#[test]
fn what_prometheus_does_not_list_for_long_it_does_not_scrape() {
    let learned = Attribution::default().learn(&wanted(&["a"]), &listed(&[], &[]), |_| true);
    assert_eq!(fate(&learned, "a"), Some(Fate::Dropped));
    let learned = learned.learn(&wanted(&["a"]), &listed(&[("a", "x:1")], &[]), |_| true);
    assert_eq!(fate(&learned, "a"), Some(Fate::Scraped(outcome("x:1"))), "unless it was late");
    let learned = learned.learn(&wanted(&["a"]), &listed(&[], &[]), |_| true);
    assert_eq!(fate(&learned, "a"), Some(Fate::Scraped(outcome("x:1"))), "what is known stays");
    assert!(learned.learn(&wanted(&[]), &listed(&[("a", "x:1")], &[]), |_| true).is_empty());
}

#[test]
fn of_two_that_become_one_the_first_that_was_listed_stands_for_it() {
    let both = wanted(&["a", "b"]);
    let learned = Attribution::default().learn(&both, &listed(&[("b", "x:1")], &[]), |_| false);
    let learned = learned.learn(&both, &listed(&[("a", "x:1")], &[]), |_| false);
    assert_eq!(fate(&learned, "a"), Some(Fate::Dropped));
    assert_eq!(fate(&learned, "b"), Some(Fate::Scraped(outcome("x:1"))));
    let learned = learned.learn(&wanted(&["a"]), &listed(&[("a", "x:1")], &[]), |_| false);
    assert_eq!(fate(&learned, "a"), Some(Fate::Scraped(outcome("x:1"))), "once the other one is gone");
}

#[test]
fn an_assignment_has_what_is_known() {
    let target = discovered("a");
    let id = target.id;
    let assigned = AssignedTarget { target, state: TargetState::Normal, since: None, load: None };
    let assignment = Assignment { targets: [(id, assigned)].into(), ..Assignment::default() };
    let learned = Attribution::default().learn(&wanted(&["a"]), &listed(&[("a", "x:1")], &[]), |_| false);
    let applied = learned.applied(&assignment);
    assert_eq!(applied.targets[&id].target.id, id);
    assert_eq!(applied.targets[&id].target.url, "https://x:1/m");
    assert_eq!(Attribution::default().applied(&assignment).as_ref(), &assignment);
}

#[test]
fn where_prometheus_does_not_tell_targets_apart_none_is_taken_for_dropped() {
    let mut listed = listed(&[], &[]);
    let nameless = RelabeledTarget {
        scrape_pool: "j".into(),
        discovered_labels: Labels::default(),
        labels: Labels::default(),
        scrape_url: "http://x/".into(),
    };
    listed.add("j", &"j".into(), RelabeledTargets { active_targets: vec![nameless], ..RelabeledTargets::default() });
    let learned = Attribution::default().learn(&wanted(&["a"]), &listed, |_| true);
    assert_eq!(fate(&learned, "a"), Some(Fate::Untold));
    assert_eq!(learned.untold().collect::<Vec<_>>(), [discovered("a").id]);
    assert_eq!(learned.dropped().count(), 0);
}
