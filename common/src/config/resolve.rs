//! The config as one tree that means the same wherever it lies.

use std::path::Path;

use super::{
    Config,
    paths::BaseDir,
    yaml::{self, Kind, Node, Scalar},
};

/// Fields in which Prometheus leaves paths relative to its working directory.
const NOT_FROM_THE_CONFIG: [&str; 4] = ["client_certificate_key_file", "google_iam", "sigv4", "azuread"];

/// The tree of a config; see [`Config::resolved`].
pub(super) fn resolved(config: &Config) -> Node {
    let mut root = if config.root.is_null() { Node::map([]) } else { config.root.clone() };
    let dir = BaseDir::of_file(&config.path);
    if let Some(rule_files) = root.get_mut("rule_files") {
        join_each(rule_files, dir);
    }
    root.retain_keys(|key| key != "scrape_config_files");
    make_paths_absolute(&mut root, dir);
    if !config.jobs.is_empty() {
        root.set("scrape_configs", Node::list(config.jobs.iter().map(|job| resolved_job(&job.node, &job.path))));
    }
    root
}

fn resolved_job(job: &Node, file: &Path) -> Node {
    let mut job = job.clone();
    make_paths_absolute(&mut job, BaseDir::of_file(file));
    job
}

/// One entry of a kind of discovery, under that kind; see
/// [`ScrapeConfig::resolved_discovery`](super::ScrapeConfig::resolved_discovery).
pub(super) fn resolved_discovery(kind: &str, entry: &Node, file: &Path) -> Node {
    let mut node = Node::map([(kind, Node::list([entry.clone()]))]);
    make_paths_absolute(&mut node, BaseDir::of_file(file));
    node
}

/// Joins every path below a node with the directory, where Prometheus would.
fn make_paths_absolute(node: &mut Node, dir: BaseDir<'_>) {
    match &mut node.kind {
        Kind::Scalar(_) => {}
        Kind::Sequence(items) => items.iter_mut().for_each(|item| make_paths_absolute(item, dir)),
        Kind::Mapping(entries) => {
            for (key, value) in entries {
                make_field_absolute(key, value, dir);
            }
        }
    }
}

fn make_field_absolute(key: &Scalar, value: &mut Node, dir: BaseDir<'_>) {
    match key.text.as_str() {
        "file_sd_configs" => {
            for discovery in value.items_mut() {
                if let Some(files) = discovery.get_mut("files") {
                    join_each(files, dir);
                }
            }
        }
        "http_headers" => {
            if let Kind::Mapping(headers) = &mut value.kind {
                for files in headers.iter_mut().filter_map(|(_, header)| header.get_mut("files")) {
                    join_each(files, dir);
                }
            }
        }
        key if yaml::has_free_keys(key) || NOT_FROM_THE_CONFIG.contains(&key) => {}
        key if key.ends_with("_file") => join_path(value, dir),
        _ => make_paths_absolute(value, dir),
    }
}

fn join_each(list: &mut Node, dir: BaseDir<'_>) {
    list.items_mut().iter_mut().for_each(|item| join_path(item, dir));
}

/// An empty path is none, and stays so. What is not UTF-8 stays as it is, too: a config's own text always is.
fn join_path(node: &mut Node, dir: BaseDir<'_>) {
    let Ok(text) = node.as_str() else { return };
    if text.is_empty() {
        return;
    }
    if let Some(path) = dir.join(text).to_str() {
        node.kind = Node::string(path).kind;
    }
}
