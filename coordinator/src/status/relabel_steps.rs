//! What each relabeling rule of a job does to a label set (`/api/v1/targets/relabel_steps`), in the shape that Prometheus
//! has since 3.8.

use narthex_common::{
    config::ScrapeConfig,
    labels::Labels,
    relabel::{RelabelConfig, Rules},
    semantics::PrometheusVersion,
};
use serde::Serialize;

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct RelabelSteps {
    steps: Vec<RelabelStep>,
}

/// What the rules up to one leave of the labels.
#[derive(Debug, Serialize)]
struct RelabelStep {
    rule: Rule,
    /// No labels where they were dropped, by this rule or one before.
    output: Labels,
    keep: bool,
}

/// A rule with its defaults, as Prometheus writes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    source_labels: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    separator: String,
    regex: String,
    #[serde(skip_serializing_if = "is_zero")]
    modulus: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    target_label: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    replacement: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    action: &'static str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl From<&RelabelConfig> for Rule {
    fn from(rule: &RelabelConfig) -> Self {
        Self {
            source_labels: rule.source_labels.clone(),
            separator: rule.separator.clone(),
            regex: rule.regex.clone().unwrap_or_else(|| "(.*)".to_owned()),
            modulus: rule.modulus,
            target_label: rule.target_label.clone(),
            replacement: rule.replacement.clone(),
            action: rule.action.map(|action| action.as_str()).unwrap_or_default(),
        }
    }
}

/// What the rules of a job do to these labels, one after the other.
pub(super) fn relabel_steps(
    job: &ScrapeConfig,
    version: PrometheusVersion,
    labels: &Labels,
) -> Result<RelabelSteps, String> {
    let rules =
        Rules::compile(&job.relabel_configs, job.name_validation, version).map_err(|error| error.to_string())?;
    let mut explained = rules.explain(labels).into_iter();
    let steps = job.relabel_configs.iter().map(|rule| {
        // There are no more steps once a rule has dropped the labels.
        let output = explained.next().and_then(|step| step.after);
        RelabelStep { rule: rule.into(), keep: output.is_some(), output: output.unwrap_or_default() }
    });
    Ok(RelabelSteps { steps: steps.collect() })
}
