//! From what discovery found to targets, exactly as Prometheus does it (`scrape/target.go`, `PopulateLabels`).

use std::{collections::BTreeMap, sync::Arc};

use compact_str::CompactString;

use super::{Target, address, url};
use crate::{
    config::{PromDuration, ScrapeConfig},
    job::JobName,
    labels::{self, Labels, LabelsBuilder},
    redact::without_password,
    relabel::{BadRule, RelabelConfig, RelabeledBy, Rules, is_valid_label_name},
    semantics::{NameValidation, PrometheusVersion},
};

/// What became of one label set that discovery found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Built {
    /// A target. Where the shards relabel, what they may yet drop.
    Active {
        /// The labels before relabeling.
        discovered: Labels,
        /// The target.
        target: Target,
    },
    /// Dropped by relabeling.
    Dropped {
        /// The labels before relabeling.
        discovered: Labels,
    },
    /// Not a target that Prometheus would scrape. The other targets of its group are.
    Failed {
        /// The labels before relabeling.
        discovered: Labels,
        /// Why, in Prometheus' words.
        error: String,
    },
}

/// What of a job's config its targets are built from.
#[derive(Clone, Debug)]
pub struct TargetSettings {
    /// `job_name`
    pub job_name: JobName,
    /// `scrape_interval`
    pub scrape_interval: PromDuration,
    /// `scrape_timeout`
    pub scrape_timeout: PromDuration,
    /// `metrics_path`
    pub metrics_path: String,
    /// `scheme`
    pub scheme: String,
    /// `params`
    pub params: BTreeMap<String, Vec<String>>,
    /// `convert_classic_histograms_to_nhcb`
    pub convert_classic_histograms_to_nhcb: bool,
    /// `always_scrape_classic_histograms`
    pub always_scrape_classic_histograms: bool,
    /// `scrape_native_histograms`
    pub scrape_native_histograms: bool,
    /// Who applies `relabel_configs`.
    pub relabeled_by: RelabeledBy,
    /// `relabel_configs`
    pub relabel_configs: Vec<RelabelConfig>,
    /// `metric_name_validation_scheme`
    pub name_validation: NameValidation,
}

impl From<&ScrapeConfig> for TargetSettings {
    fn from(job: &ScrapeConfig) -> Self {
        Self {
            job_name: job.job_name.clone(),
            scrape_interval: job.scrape_interval,
            scrape_timeout: job.scrape_timeout,
            metrics_path: job.metrics_path.clone(),
            scheme: job.scheme.clone(),
            params: job.params.clone(),
            convert_classic_histograms_to_nhcb: job.convert_classic_histograms_to_nhcb,
            always_scrape_classic_histograms: job.always_scrape_classic_histograms,
            scrape_native_histograms: job.scrape_native_histograms,
            relabeled_by: job.relabeled_by.clone(),
            relabel_configs: job.relabel_configs.clone(),
            name_validation: job.name_validation,
        }
    }
}

/// Builds the targets of one job. Compile it once, use it for every label set. Cheap to clone.
///
/// Equal label sets of one job are one target in Prometheus; leaving out the second is the caller's, by
/// [`TargetId`](super::TargetId).
#[derive(Clone, Debug)]
pub struct TargetBuilder(Arc<Job>);

#[derive(Debug)]
struct Job {
    name: JobName,
    /// Labels that a target gets unless it has them.
    defaults: Vec<(CompactString, CompactString)>,
    /// The first value of each URL parameter, as a label.
    param_labels: Vec<(CompactString, CompactString)>,
    params: BTreeMap<String, Vec<String>>,
    scheme: String,
    /// None where the shards apply them.
    rules: Option<Rules>,
    version: PrometheusVersion,
}

/// Labels with a boolean, and what Prometheus calls it when it is none.
const HISTOGRAM_LABELS: [(&str, &str); 3] = [
    ("__convert_classic_histograms_to_nhcb__", "convert classic histograms to nhcb"),
    ("__always_scrape_classic_histograms__", "always scrape classic histograms"),
    ("__scrape_native_histograms__", "scrape native histograms"),
];

impl TargetBuilder {
    /// The builder of a job, given its [`ScrapeConfig`] or its [`TargetSettings`].
    ///
    /// # Errors
    /// When a relabeling rule cannot be compiled.
    pub fn new(job: impl Into<TargetSettings>, version: PrometheusVersion) -> Result<Self, BadRule> {
        let job = job.into();
        let mut defaults: Vec<(CompactString, CompactString)> = vec![
            (labels::JOB.into(), job.job_name.as_str().into()),
            (labels::SCRAPE_INTERVAL.into(), job.scrape_interval.to_string().into()),
            (labels::SCRAPE_TIMEOUT.into(), job.scrape_timeout.to_string().into()),
            (labels::METRICS_PATH.into(), job.metrics_path.into()),
            (labels::SCHEME.into(), job.scheme.as_str().into()),
        ];
        if version.has_histogram_labels() {
            let settings = [
                job.convert_classic_histograms_to_nhcb,
                job.always_scrape_classic_histograms,
                job.scrape_native_histograms,
            ];
            for ((label, _), setting) in HISTOGRAM_LABELS.into_iter().zip(settings) {
                defaults.push((label.into(), if setting { "true" } else { "false" }.into()));
            }
        }
        let param_labels = job
            .params
            .iter()
            .filter_map(|(name, values)| {
                Some((format!("{}{name}", labels::PARAM_PREFIX).into(), values.first()?.into()))
            })
            .collect();
        Ok(Self(Arc::new(Job {
            name: job.job_name,
            defaults,
            param_labels,
            params: job.params,
            scheme: job.scheme,
            rules: match job.relabeled_by {
                RelabeledBy::Coordinator => Some(Rules::compile(&job.relabel_configs, job.name_validation, version)?),
                RelabeledBy::Shards { .. } => None,
            },
            version,
        })))
    }

    /// Builds one target from its own and its group's labels; its own win.
    #[must_use]
    pub fn build(&self, target: &Labels, group: &Labels) -> Built {
        let job = &*self.0;
        let discovered = job.discovered(target, group);
        let Some(rules) = &job.rules else {
            let target = Target::of_discovered(job.name.clone(), job.without_strange_params(discovered.clone()));
            return Built::Active { discovered, target };
        };
        let mut labels = LabelsBuilder::from(&discovered);
        if !rules.apply(&mut labels) {
            return Built::Dropped { discovered };
        }
        match job.finish(labels) {
            Ok(target) => Built::Active { discovered, target },
            Err(error) => Built::Failed { discovered, error },
        }
    }
}

impl Job {
    /// The labels relabeling starts from.
    fn discovered(&self, target: &Labels, group: &Labels) -> Labels {
        let mut labels = LabelsBuilder::from(target);
        // A target's own address counts also when it is empty.
        for (name, value) in group.iter().filter(|(name, _)| *name != labels::ADDRESS) {
            labels.set_default(name, value);
        }
        for (name, value) in &self.defaults {
            labels.set_default(name.clone(), value.clone());
        }
        for (name, value) in &self.param_labels {
            if self.version.param_labels_win() {
                labels.set_default(name.clone(), value.clone());
            } else {
                labels.set(name.clone(), value.clone());
            }
        }
        labels.build()
    }

    /// The target of relabeled labels.
    fn finish(&self, mut labels: LabelsBuilder) -> Result<Target, String> {
        let address = labels.get(labels::ADDRESS).ok_or("no address")?;
        let address = if self.version.appends_default_port() {
            let scheme = labels.get(labels::SCHEME).unwrap_or_default();
            // Prometheus names the job's scheme here, even where a label overrides it.
            address::with_default_port(address, scheme).ok_or_else(|| format!("invalid scheme: {:?}", self.scheme))?
        } else {
            CompactString::from(address)
        };
        if address.contains('/') {
            return Err(format!("{:?} is not a valid hostname", without_password(&address)));
        }
        check_times(&labels)?;
        if self.version.has_histogram_labels() {
            check_histogram_labels(&labels)?;
        }
        labels.retain(|name, _| !name.starts_with(labels::META_PREFIX));
        labels.set_default(labels::INSTANCE, address.clone());
        labels.set(labels::ADDRESS, address);

        let all = labels.clone().build();
        let url = url::of_target(&all, &self.params);
        let labels = self.without_strange_params(labels.build());
        Ok(Target::new(self.name.clone(), labels, url))
    }

    /// `__param_match[]` is no name that a 2.x server takes from its discovery: the file with it would be refused whole.
    /// It sets the label from `params` itself, which win there.
    fn without_strange_params(&self, labels: Labels) -> Labels {
        let is_strange =
            |name: &str| name.starts_with(labels::PARAM_PREFIX) && !is_valid_label_name(name, NameValidation::Legacy);
        if self.version.param_labels_win() || !labels.iter().any(|(name, _)| is_strange(name)) {
            return labels;
        }
        labels.iter().filter(|(name, _)| !is_strange(name)).collect()
    }
}

fn check_times(labels: &LabelsBuilder) -> Result<(), String> {
    let parse = |label, what| {
        let text = labels.get(label).unwrap_or_default();
        let duration: PromDuration = text.parse().map_err(|e| format!("error parsing scrape {what}: {e}"))?;
        if duration.is_zero() { Err(format!("scrape {what} cannot be 0")) } else { Ok((duration, text)) }
    };
    let (interval, interval_text) = parse(labels::SCRAPE_INTERVAL, "interval")?;
    let (timeout, timeout_text) = parse(labels::SCRAPE_TIMEOUT, "timeout")?;
    if timeout > interval {
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout_text:?} > {interval_text:?})"
        ));
    }
    Ok(())
}

fn check_histogram_labels(labels: &LabelsBuilder) -> Result<(), String> {
    /// What Go's `strconv.ParseBool` takes.
    const BOOLEANS: [&str; 12] = ["1", "t", "T", "true", "TRUE", "True", "0", "f", "F", "false", "FALSE", "False"];
    for (label, what) in HISTOGRAM_LABELS {
        if let Some(value) = labels.get(label).filter(|value| !BOOLEANS.contains(value)) {
            return Err(format!("error parsing {what}: strconv.ParseBool: parsing {value:?}: invalid syntax"));
        }
    }
    Ok(())
}
