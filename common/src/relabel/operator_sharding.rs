//! The rules by which prometheus-operator cuts the targets of a job by a hash: every Prometheus keeps its own part.
//!
//! Their shapes over the years (prometheus-operator, `generateAddressShardingRelabelingRules`): a hash of the address,
//! modulo the number of shards, goes to `__tmp_hash`, and what does not equal the shard's number is dropped; since 0.76
//! targets with `__tmp_disable_sharding` are kept by all. The number is written as `$(SHARD)` until the config reloader
//! puts it there.

use super::{Action, RelabelConfig};

/// Where the hash is.
const HASH: &str = "__tmp_hash";
/// What keeps a target on every shard.
const DISABLED: &str = "__tmp_disable_sharding";
/// What stands for the shard's number.
const SHARD: &str = "$(SHARD)";
/// What comes behind the number since targets may be kept by all.
const OR_DISABLED: &str = ";|.+;.+";

/// Which of a job's rules cut its targets: the one that keeps a part, and the one that makes the hash. None unless both
/// are there, and in their order.
#[must_use]
pub fn sharding_rules(rules: &[RelabelConfig]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut hashed = None;
    for (index, rule) in rules.iter().enumerate() {
        if makes_hash(rule) {
            hashed = Some(index);
        } else if keeps_a_part(rule)
            && let Some(hash) = hashed.take()
        {
            found.extend([hash, index]);
        }
    }
    found
}

/// The rules without those that cut the targets. All others stay as they are.
#[must_use]
pub fn without_sharding(rules: &[RelabelConfig]) -> Vec<RelabelConfig> {
    let cutting = sharding_rules(rules);
    let others = rules.iter().enumerate().filter(|(index, _)| !cutting.contains(index));
    others.map(|(_, rule)| rule.clone()).collect()
}

fn makes_hash(rule: &RelabelConfig) -> bool {
    rule.action == Some(Action::HashMod) && rule.target_label == HASH
}

fn keeps_a_part(rule: &RelabelConfig) -> bool {
    let Some(regex) = rule.regex.as_deref().filter(|_| rule.action == Some(Action::Keep)) else { return false };
    let sources: Vec<&str> = rule.source_labels.iter().map(String::as_str).collect();
    match sources[..] {
        [HASH] => is_shard(regex),
        [HASH, DISABLED] => rule.separator == ";" && regex.strip_suffix(OR_DISABLED).is_some_and(is_shard),
        _ => false,
    }
}

fn is_shard(text: &str) -> bool {
    text == SHARD || !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rule(action: Action, sources: &[&str], regex: Option<&str>, target: &str) -> RelabelConfig {
        RelabelConfig {
            source_labels: sources.iter().map(ToString::to_string).collect(),
            regex: regex.map(str::to_owned),
            target_label: target.to_owned(),
            action: Some(action),
            modulus: u64::from(action == Action::HashMod) * 3,
            ..RelabelConfig::default()
        }
    }

    fn hash(sources: &[&str]) -> RelabelConfig {
        rule(Action::HashMod, sources, None, HASH)
    }

    fn keep(sources: &[&str], regex: &str) -> RelabelConfig {
        rule(Action::Keep, sources, Some(regex), "")
    }

    /// A rule of the user's own.
    fn own() -> RelabelConfig {
        rule(Action::Keep, &["__meta_kubernetes_service_label_app"], Some("0"), "")
    }

    #[rstest]
    #[case(&["__address__"], &[HASH], "$(SHARD)")]
    #[case(&["__address__"], &[HASH], "0")]
    #[case(&[HASH], &[HASH], "12")]
    #[case(&["__param_target"], &[HASH], "1")]
    #[case(&[HASH], &[HASH, DISABLED], "$(SHARD);|.+;.+")]
    #[case(&[HASH], &[HASH, DISABLED], "2;|.+;.+")]
    fn what_cuts_the_targets_goes_and_all_else_stays(
        #[case] hashed: &[&str],
        #[case] kept: &[&str],
        #[case] regex: &str,
    ) {
        let prepared = rule(Action::Replace, &["__address__", HASH], Some("(.+);"), HASH);
        let rules = [own(), prepared.clone(), hash(hashed), keep(kept, regex), own()];
        assert_eq!(without_sharding(&rules), [own(), prepared, own()]);
    }

    #[rstest]
    #[case(vec![hash(&["__address__"])])]
    #[case(vec![keep(&[HASH], "0")])]
    #[case(vec![keep(&[HASH], "0"), hash(&["__address__"])])]
    #[case(vec![hash(&["__address__"]), keep(&[HASH], "0|1")])]
    #[case(vec![hash(&["__address__"]), keep(&[HASH, DISABLED], "0")])]
    #[case(vec![hash(&["__address__"]), keep(&["a", HASH], "0")])]
    #[case(vec![hash(&["__address__"]), rule(Action::Drop, &[HASH], Some("0"), "")])]
    #[case(vec![rule(Action::HashMod, &["__address__"], None, "__tmp_mine"), keep(&["__tmp_mine"], "0")])]
    fn rules_that_only_look_alike_stay(#[case] rules: Vec<RelabelConfig>) {
        assert_eq!(sharding_rules(&rules), Vec::<usize>::new());
        assert_eq!(without_sharding(&rules), rules);
    }
}
