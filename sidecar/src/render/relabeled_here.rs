//! The rules of a job whose targets Prometheus relabels by itself: the user's own, word for word, and around them what
//! makes a scrape of its outcome go through the proxy.

use narthex_common::{
    config::yaml::Node,
    labels::{ADDRESS, PARAM_PREFIX, SCHEME},
    semantics::PrometheusVersion,
};

use super::job::FINAL_LABEL_PREFIX;
use crate::scheme_twins::SCHEME_PARAM;

/// The label that says which target it is that Prometheus is given. Prometheus tells it again among the labels that a
/// target was discovered with.
pub const TARGET_ID_LABEL: &str = "__meta_kvid";

/// The same on its way through the user's rules, where Prometheus tells what they left instead: 2.42 does, 3.5 does not,
/// and nobody can tell of a version in between. It is gone before Prometheus makes a target.
pub const TARGET_ID_ON_ITS_WAY: &str = "__narthex_target";

/// The rules of a job: `first` come those that put the discovered labels in place.
pub(super) fn rules(first: Vec<Node>, users_rules: Vec<Node>, version: Option<PrometheusVersion>) -> Vec<Node> {
    let tells_what_rules_left = version.is_some_and(|version| !version.is_3_or_later());
    let mut rules = Vec::new();
    if tells_what_rules_left {
        rules.push(copy(TARGET_ID_LABEL, &format!("{FINAL_LABEL_PREFIX}{TARGET_ID_ON_ITS_WAY}")));
    }
    rules.extend(first);
    // What the labels travelled as is `__meta_`, too: the user's rules must not see it.
    rules.push(labeldrop(&format!("{FINAL_LABEL_PREFIX}.+")));
    rules.extend(users_rules);
    if tells_what_rules_left {
        rules.push(copy(TARGET_ID_ON_ITS_WAY, TARGET_ID_LABEL));
        rules.push(labeldrop(TARGET_ID_ON_ITS_WAY));
    }
    if version.is_some_and(PrometheusVersion::appends_default_port) {
        // It would append the port of the scheme that is written next.
        let without_port = r"https;([^:\[\]]+|\[[^\[\]]*\])";
        rules.push(replace(&[SCHEME, ADDRESS], without_port, ADDRESS, "${1}:443"));
    }
    // With https Prometheus would ask the proxy for a tunnel, through which the proxy could not see: the mark tells it
    // the true scheme, and goes no further.
    rules.push(replace(&[SCHEME], "https", &format!("{PARAM_PREFIX}{SCHEME_PARAM}"), "https"));
    rules.push(replace(&[SCHEME], "https", SCHEME, "http"));
    rules
}

fn copy(from: &str, to: &str) -> Node {
    replace(&[from], "(.+)", to, "$1")
}

fn labeldrop(regex: &str) -> Node {
    Node::map([("action", Node::plain("labeldrop")), ("regex", Node::string(regex))])
}

fn replace(sources: &[&str], regex: &str, target: &str, replacement: &str) -> Node {
    Node::map([
        ("source_labels", Node::list(sources.iter().map(|source| Node::plain(*source)))),
        ("regex", Node::string(regex)),
        ("target_label", Node::plain(target)),
        ("replacement", Node::string(replacement)),
    ])
}
