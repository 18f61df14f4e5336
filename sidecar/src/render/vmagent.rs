//! What vmagent takes of a generated config, and how it must be written for it.
//!
//! vmagent refuses a config with a field that it does not know (tried with 1.145.0, field by field), and replaces
//! `%{NAME}` anywhere in it by an environment variable.

use narthex_common::{
    assignment::AssignedTarget,
    config::{
        Config,
        yaml::{Kind, Node, Scalar},
    },
};

/// Fields of a job that it refuses. What is lost with them is in the guide.
const REFUSED_OF_JOB: [&str; 15] = [
    "always_scrape_classic_histograms",
    "convert_classic_histograms_to_nhcb",
    "extra_scrape_metrics",
    "fallback_scrape_protocol",
    "label_name_length_limit",
    "label_value_length_limit",
    "metric_name_escaping_scheme",
    "metric_name_validation_scheme",
    "native_histogram_bucket_limit",
    "native_histogram_min_bucket_factor",
    "scrape_classic_histograms",
    "scrape_failure_log_file",
    "scrape_native_histograms",
    "scrape_protocols",
    "track_timestamps_staleness",
];

/// Fields of a job that it refuses, or takes under another name, where nothing is lost.
const REPLACED_OF_JOB: [&str; 3] = ["body_size_limit", "enable_http2", "keep_dropped_targets"];

/// All that it takes of `global`, of what Prometheus knows.
const TAKEN_OF_GLOBAL: [&str; 5] =
    ["scrape_interval", "scrape_timeout", "external_labels", "sample_limit", "label_limit"];

/// Fields of `global` that mean nothing to a shard, or are said of every job.
const SAID_ELSEWHERE_OF_GLOBAL: [&str; 6] = [
    "body_size_limit",
    "evaluation_interval",
    "keep_dropped_targets",
    "query_log_file",
    "rule_query_offset",
    "target_limit",
];

/// The text of a generated config for vmagent.
pub(super) fn config(mut tree: Node, config: &Config) -> String {
    if let Some(global) = tree.get_mut("global") {
        global.retain_keys(|key| TAKEN_OF_GLOBAL.contains(&key));
    }
    for job in tree.get_mut("scrape_configs").map(Node::items_mut).unwrap_or_default() {
        let name = job.get("job_name").and_then(Node::text).unwrap_or_default();
        let limit = config.jobs.iter().find(|job| job.job_name.as_str() == name).map_or(0, |job| job.body_size_limit);
        adapt(job, limit);
    }
    quote_placeholders(&mut tree);
    without_placeholders(&tree.to_yaml())
}

fn adapt(job: &mut Node, body_size_limit: u64) {
    job.retain_keys(|key| !REFUSED_OF_JOB.contains(&key) && !REPLACED_OF_JOB.contains(&key));
    for discovery in job.get_mut("file_sd_configs").map(Node::items_mut).unwrap_or_default() {
        // It has a flag instead.
        discovery.retain_keys(|key| key != "refresh_interval");
    }
    if body_size_limit > 0 {
        // A body as large as the limit is too large for Prometheus, and not for vmagent.
        job.set("max_scrape_size", Node::plain((body_size_limit - 1).max(1).to_string()));
    }
    if job.get("honor_timestamps").is_none() {
        // Its default is false.
        job.set("honor_timestamps", Node::plain("true"));
    }
}

/// The fields of a user's config that are lost, by where they stand.
pub(super) fn left_out(tree: &Node) -> impl Iterator<Item = String> {
    let keys = |node: Option<&Node>| {
        let entries = node.and_then(Node::as_map).unwrap_or_default();
        entries.iter().map(|(key, _)| key.text.clone()).collect::<Vec<_>>()
    };
    let is_lost =
        |key: &String| !TAKEN_OF_GLOBAL.contains(&key.as_str()) && !SAID_ELSEWHERE_OF_GLOBAL.contains(&key.as_str());
    let global = keys(tree.get("global")).into_iter().filter(is_lost).map(|key| format!("global.{key}"));
    let jobs = tree.get("scrape_configs").map(Node::items).unwrap_or_default();
    let of_jobs = jobs.iter().flat_map(move |job| keys(Some(job)));
    let of_jobs: Vec<_> = of_jobs.filter(|key| REFUSED_OF_JOB.contains(&key.as_str())).collect();
    global.chain(of_jobs)
}

/// Has every scalar quoted that holds a placeholder: only there it can be escaped.
fn quote_placeholders(node: &mut Node) {
    let quote = |scalar: &mut Scalar| scalar.quoted |= scalar.text.contains(PLACEHOLDER);
    match &mut node.kind {
        Kind::Scalar(scalar) => quote(scalar),
        Kind::Sequence(items) => items.iter_mut().for_each(quote_placeholders),
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                quote(key);
                quote_placeholders(value);
            }
        }
    }
}

/// What a placeholder begins with.
const PLACEHOLDER: &str = "%{";

/// A text, in which placeholders stand in double quotes only, that means the same and has none.
fn without_placeholders(text: &str) -> String {
    text.replace(PLACEHOLDER, "%\\u007b")
}

/// A target's group in JSON as vmagent can read it, which takes it for YAML: without placeholders, and without
/// characters that may not stand in YAML, or are line breaks there.
pub(super) fn group(json: &str) -> String {
    let is_unreadable =
        |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unreadable(c) {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    without_placeholders(&text)
}

/// The path by which vmagent is to scrape a target: it sends what it is given, where Prometheus encodes it.
pub(super) fn metrics_path(assigned: &AssignedTarget) -> &str {
    let url = assigned.target.url.as_str();
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let rest = &url[after_scheme..];
    let path = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    if path.is_empty() { "/" } else { path }
}
