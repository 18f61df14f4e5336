//! Which request finds which target.

use std::{
    io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::header;
use narthex_common::{
    assignment::{AssignedTarget, TargetState},
    config::Files,
};
use prometheus_client::metrics::gauge::Gauge;

use super::*;

const VERSION: PrometheusVersion = PrometheusVersion::V3_5;

struct OnlyFile(&'static str);

impl Files for OnlyFile {
    fn read(&self, _: &Path) -> io::Result<String> {
        Ok(self.0.into())
    }

    fn glob(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(vec![])
    }
}

/// The routes of jobs `a` and `b` with these fields, and targets given as job and URL.
fn routes(config: &'static str, targets: &[(&str, &str)], previous: Option<&Routes>) -> Routes {
    let config = Config::load(Path::new("/prometheus.yml"), &OnlyFile(config), VERSION).unwrap();
    let targets = targets.iter().map(|(job, url)| {
        let target = Target::new((*job).into(), Labels::from_iter([("job", *job)]), (*url).into());
        (target.id, AssignedTarget { target, state: TargetState::Normal, since: None, load: None })
    });
    let assignment = Assignment { targets: targets.collect(), ..Assignment::default() };
    Routes::new(&config, &assignment, &ids(), "token", VERSION, previous)
}

fn ids() -> JobIds {
    JobIds::new([&"a".into(), &"b".into()])
}

const PLAIN: &str = "scrape_configs: [{job_name: a}, {job_name: b}]";

fn find(routes: &Routes, job: &str, url: &str) -> Result<Route, Refusal> {
    find_as(routes, ids().id(&job.into()).unwrap(), url)
}

fn find_as(routes: &Routes, user: &str, url: &str) -> Result<Route, Refusal> {
    let credentials = BASE64_STANDARD.encode(format!("{user}:token"));
    let headers = [(header::PROXY_AUTHORIZATION, format!("Basic {credentials}").parse().unwrap())];
    routes.find(&url.parse().unwrap(), &headers.into_iter().collect())
}

fn goes_to(routes: &Routes, job: &str, url: &str) -> Option<String> {
    find(routes, job, url).ok().map(|route| route.uri.to_string())
}

#[test]
fn a_target_is_asked_by_its_true_scheme_in_the_words_prometheus_used() {
    let routes = routes(PLAIN, &[("a", "https://host:8443/a%20b?x=1&y=%2F"), ("a", "http://user:pw@plain/m")], None);
    let asked = "http://host:8443/a%20b?y=%2f&x=1";
    assert_eq!(goes_to(&routes, "a", asked).as_deref(), Some("https://host:8443/a%20b?y=%2f&x=1"));
    assert_eq!(goes_to(&routes, "a", "http://plain/m").as_deref(), Some("http://plain/m"));
}

#[test]
fn twins_that_differ_in_scheme_alone_are_told_apart_by_the_mark_which_goes_no_further() {
    let routes = routes(PLAIN, &[("a", "http://host/m?x=1"), ("a", "https://host/m?x=1")], None);
    assert_eq!(goes_to(&routes, "a", "http://host/m?x=1").as_deref(), Some("http://host/m?x=1"));
    let marked = "http://host/m?narthex_scheme=https&x=1";
    assert_eq!(goes_to(&routes, "a", marked).as_deref(), Some("https://host/m?x=1"));
}

#[test]
fn a_job_does_not_reach_the_targets_of_another() {
    let routes = routes(PLAIN, &[("a", "http://host/m")], None);
    assert!(goes_to(&routes, "a", "http://host/m").is_some());
    assert!(goes_to(&routes, "b", "http://host/m").is_none());
}

#[test]
fn whatever_a_job_that_prometheus_relabels_asks_for_is_forwarded_and_goes_unrecorded_until_it_is_known() {
    let config = "scrape_configs: [{job_name: a, relabel_configs: [{action: labeldrop, regex: \
                  __narthex_relabel_by_shards}]}, {job_name: b}]";
    let routes = routes(config, &[("a", ""), ("a", "https://known/m")], None);
    let route = find(&routes, "a", "http://host/m?narthex_scheme=https&x=1").ok().unwrap();
    assert_eq!(route.uri.to_string(), "https://host/m?x=1");
    assert_eq!(route.target.id, Target::of_discovered("a".into(), Labels::default()).id);
    assert_eq!(goes_to(&routes, "a", "http://host/m").as_deref(), Some("http://host/m"));
    let known = find(&routes, "a", "http://known/m?narthex_scheme=https").ok().unwrap();
    assert_ne!(known.target.id, route.target.id);
    assert!(goes_to(&routes, "b", "http://host/m").is_none(), "of no other job");
}

#[test]
fn one_unusable_job_fails_alone() {
    let config = "scrape_configs: [{job_name: a, tls_config: {ca_file: /nowhere/ca.pem}}, {job_name: b}]";
    let routes = routes(config, &[("a", "http://host/m"), ("b", "http://host/m")], None);
    assert!(find(&routes, "a", "http://host/m").is_ok_and(|route| route.job.client.is_err()));
    assert!(find(&routes, "b", "http://host/m").is_ok_and(|route| route.job.client.is_ok()));
}

#[test]
fn what_is_remembered_of_a_target_outlives_a_new_assignment_but_not_new_metric_rules() {
    let first = routes(PLAIN, &[("a", "http://host/m")], None);
    let second = routes(PLAIN, &[("a", "http://host/m"), ("a", "http://other/m")], Some(&first));
    let rules = "scrape_configs: [{job_name: a, metric_relabel_configs: [{action: drop, regex: x}]}, {job_name: b}]";
    let third = routes(rules, &[("a", "http://host/m")], Some(&second));
    let target = |routes: &Routes| find(routes, "a", "http://host/m").map(|route| route.target).unwrap();
    assert!(Arc::ptr_eq(&target(&first), &target(&second)));
    assert!(!Arc::ptr_eq(&target(&second), &target(&third)));
}

#[test]
fn a_guarded_target_stays_guarded_under_other_metric_rules_and_no_longer_when_it_has_left() {
    let count = Gauge::default();
    let first = routes(PLAIN, &[("a", "http://host/m")], None);
    find(&first, "a", "http://host/m").unwrap().target.guard.turn_on(&count);
    let rules = "scrape_configs: [{job_name: a, metric_relabel_configs: [{action: drop, regex: x}]}, {job_name: b}]";
    let second = routes(rules, &[("a", "http://host/m")], Some(&first));
    drop(first);
    assert!(find(&second, "a", "http://host/m").unwrap().target.guard.is_on());
    assert_eq!(count.get(), 1);
    let third = routes(rules, &[], Some(&second));
    drop(second);
    assert_eq!(count.get(), 0, "{}", third.jobs.len());
}

#[test]
fn a_job_that_is_to_go_is_scraped_beside_the_new_ones_and_a_changed_one_by_its_new_settings() {
    let before = routes(PLAIN, &[("a", "http://old/m"), ("b", "http://host/m")], None);
    let after = routes("scrape_configs: [{job_name: a}]", &[("a", "http://new/m")], Some(&before)).beside(&before);
    assert!(goes_to(&after, "b", "http://host/m").is_some());
    assert!(goes_to(&after, "a", "http://new/m").is_some());
    assert!(goes_to(&after, "a", "http://old/m").is_none());
}

#[test]
fn a_leaving_pool_is_told_from_the_pool_of_its_job_and_scrapes_the_same() {
    let routes = routes(PLAIN, &[("a", "http://x:1/metrics")], None);
    let ids = ids();
    let id = ids.id(&"a".into()).unwrap();
    let through = |user: &str| find_as(&routes, user, "http://x:1/metrics").map(|route| route.through).ok();
    assert_eq!(through(id), Some(None));
    assert_eq!(through(&format!("{id}.g12")), Some(Some(GenerationId(12))));
    assert_eq!(through(&format!("{id}.gx")), None, "nobody's mark");
}
