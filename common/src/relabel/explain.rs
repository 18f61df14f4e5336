//! What each rule did to a label set, for people who wonder where a label or a target went.

use super::Rules;
use crate::labels::{Labels, LabelsBuilder};

/// What one rule did. Steps are in the order of the rules; the one that drops the label set is the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The labels the rule was given.
    pub before: Labels,
    /// The labels it left; none when it dropped them all, and the target or sample with them.
    pub after: Option<Labels>,
}

impl Rules {
    /// Applies the rules as [`apply`](Self::apply) does, and tells step by step.
    #[must_use]
    pub fn explain(&self, labels: &Labels) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut before = labels.clone();
        for rule in self.iter() {
            let mut changed = LabelsBuilder::from(&before);
            let after = rule.apply(&mut changed, &mut String::new()).then(|| changed.build());
            steps.push(Step { before, after: after.clone() });
            match after {
                Some(after) => before = after,
                None => break,
            }
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        relabel::{Action, RelabelConfig},
        semantics::{NameValidation, PrometheusVersion},
    };

    #[test]
    fn every_rule_is_a_step_until_one_drops() {
        let set = RelabelConfig { target_label: "b".into(), replacement: "2".into(), ..RelabelConfig::default() };
        let drop = RelabelConfig { action: Some(Action::Drop), ..RelabelConfig::default() };
        let rules = [set.clone(), drop, set];
        let rules = Rules::compile(&rules, NameValidation::Legacy, PrometheusVersion::V3_5).unwrap();

        let labels: Labels = [("a", "1")].into_iter().collect();
        let both: Labels = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!(
            rules.explain(&labels),
            [Step { before: labels, after: Some(both.clone()) }, Step { before: both, after: None }]
        );
    }
}
