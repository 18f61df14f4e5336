//! Rule files: Prometheus reads them when it is told to reload, so one that changed is reason enough to tell it.

use narthex_common::{
    config::{Config, Files as _, yaml::Node},
    fingerprint::{Fingerprint, Fingerprinter},
};
use narthex_runtime::files::Disk;

use crate::args::Rules;

/// What the rule files hold right now that Prometheus is to read. What cannot be read is Prometheus' to complain of.
#[must_use]
pub fn fingerprint(config: &Config, rules: Rules) -> Fingerprint {
    let mut fingerprint = Fingerprinter::default();
    let tree = config.resolved();
    let patterns = tree.get("rule_files").filter(|_| rules == Rules::Keep).map_or(&[][..], Node::items);
    for pattern in patterns.iter().filter_map(Node::text) {
        for path in Disk.glob(pattern.as_ref()).unwrap_or_default() {
            fingerprint.add(&path.to_string_lossy()).add(&Disk.read(&path).unwrap_or_default());
        }
    }
    fingerprint.finish()
}
