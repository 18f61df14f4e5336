//! The hash of a config's values: what coordinator and sidecars compare to know that they mean the same config.

use std::path::Path;

use super::{
    Config,
    yaml::{Kind, Node},
};
use crate::fingerprint::{Fingerprint, Fingerprinter};

/// The hash of a config; see [`Config::fingerprint`].
pub(super) fn fingerprint(config: &Config) -> Fingerprint {
    let mut root = config.root.clone();
    if let Some(global) = root.get_mut("global") {
        global.retain_keys(|key| key != "external_labels");
        if global.as_map().is_some_and(<[_]>::is_empty) {
            root.retain_keys(|key| key != "global");
        }
    }
    if root.as_map().is_some_and(<[_]>::is_empty) {
        root = Node::plain("");
    }
    let mut hash = Fingerprinter::default();
    add_node(&mut hash, &root);
    // Jobs of other files, with where those lie as seen from the main file: the same config may be mounted at
    // different places for coordinator and sidecars.
    let dir = config.path.parent().unwrap_or_else(|| Path::new(""));
    for job in config.jobs.iter().filter(|job| job.path != config.path) {
        let path = job.path.strip_prefix(dir).unwrap_or(&job.path);
        hash.add(&path.to_string_lossy());
        add_node(&mut hash, &job.node);
    }
    hash.finish()
}

/// Adds a node so that no two different trees feed the same strings. The order of keys does not count, nor does
/// how a scalar is quoted, except that nothing is not a string.
fn add_node(hash: &mut Fingerprinter, node: &Node) {
    match &node.kind {
        Kind::Scalar(_) if node.is_null() => drop(hash.add("null")),
        Kind::Scalar(scalar) => drop(hash.add("scalar").add(&scalar.text)),
        Kind::Sequence(items) => {
            hash.add("list").add(&items.len().to_string());
            items.iter().for_each(|item| add_node(hash, item));
        }
        Kind::Mapping(entries) => {
            hash.add("map").add(&entries.len().to_string());
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.text.cmp(&b.text));
            for (key, value) in sorted {
                hash.add(&key.text);
                add_node(hash, value);
            }
        }
    }
}
